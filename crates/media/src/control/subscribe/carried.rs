//! Subscriptions that go on at another engine: from the same ports, to the same place.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Control;
use crate::address::RawAddress;
use crate::call::{Call, Line, Subscribed, Subscription};
use crate::flow::CopyTo;
use crate::limits::{LEGS_MAX, MEDIA_LINES_MAX};
use crate::sdp::Takes;
use crate::worker::Worker;

/// A subscription written down.
#[derive(Serialize, Deserialize)]
pub struct SubscriptionState {
    tag: Arc<str>,
    lines: Vec<SubscribedState>,
}

#[derive(Serialize, Deserialize)]
struct SubscribedState {
    from: Arc<str>,
    /// Which dialogue of the call, which line of that and which side of this one.
    at: (usize, usize, usize),
    local: SocketAddr,
    offered: Takes,
    /// Where the copies go and the payload types that are taken there; none before the answer.
    to: Option<(SocketAddr, Vec<u8>)>,
}

impl SubscriptionState {
    /// What another engine needs to go on with a subscription of this call.
    pub fn of(subscription: &Subscription, call: &Call, workers: &[Worker]) -> SubscriptionState {
        let line = |one: &Subscribed| {
            let lines = |n: usize| call.dialogues[n].lines.iter();
            let is_its = |line: &Line| (line.worker, line.key) == (one.worker, one.key);
            let is_meant = |n: usize| lines(n).position(is_its);
            let mut places = (0..call.dialogues.len()).map(|n| Some((n, is_meant(n)?, one.side)));
            let table = workers[one.worker].table();
            let copied = table.get(one.key)?.copy_of(one.side, &subscription.tag);
            Some(SubscribedState {
                from: Arc::clone(&one.from),
                at: places.find_map(|place| place)?,
                local: one.local,
                offered: one.offered.clone(),
                to: copied.and_then(|copy| Some((copy.to.to_std()?, listed(copy.takes)))),
            })
        };
        SubscriptionState {
            tag: Arc::clone(&subscription.tag),
            lines: subscription.lines.iter().filter_map(line).collect(),
        }
    }
}

impl Control {
    /// Goes on with subscriptions that another engine had; those from an address that does not move
    /// end.
    pub(crate) fn resume_subscriptions(&mut self, call: &mut Call, all: Vec<SubscriptionState>) {
        for state in all.into_iter().take(LEGS_MAX) {
            let tag = state.tag;
            let states = state.lines.into_iter().take(MEDIA_LINES_MAX);
            let mut lines = Vec::new();
            let mut is_whole = true;
            for state in states {
                match self.resumed(call, &tag, state) {
                    Some(line) => lines.push(line),
                    None => is_whole = false,
                }
            }
            let subscription = Subscription { tag, lines };
            if is_whole {
                call.subscriptions.push(subscription);
            } else {
                tracing::warn!(call_id = &*call.id, "copies of a call end with its move");
                self.free_subscription(subscription);
            }
        }
    }

    fn resumed(
        &mut self,
        call: &Call,
        tag: &Arc<str>,
        state: SubscribedState,
    ) -> Option<Subscribed> {
        let (dialogue, line, side) = state.at;
        let line = call.dialogues.get(dialogue)?.lines.get(line)?;
        if !self.floats(state.local.ip()) || side > 1 {
            return None;
        }
        let ports = Arc::new(self.take_exactly(state.local).ok()?);
        if let Some((to, types)) = state.to {
            let known = types.into_iter().filter(|number| *number < 128);
            let copy = CopyTo {
                tag: Arc::clone(tag),
                ports: Arc::clone(&ports),
                to: RawAddress::from(to),
                takes: known.fold(0, |mask, number| mask | 1 << number),
            };
            if let Some(flow) = self.workers[line.worker].table().get_mut(line.key) {
                flow.copy(side, copy);
            }
        }
        Some(Subscribed {
            from: state.from,
            worker: line.worker,
            key: line.key,
            side,
            local: state.local,
            ports: Some(ports),
            offered: state.offered,
        })
    }
}

/// The numbers of a mask's bits.
fn listed(mask: u128) -> Vec<u8> {
    (0..128).filter(|number| mask >> number & 1 != 0).collect()
}
