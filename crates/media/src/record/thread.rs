//! The thread that writes recordings: takes packets as they come, writes each file once a second.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::session::Session;
use super::{Heard, Order, RecordCounts};
use crate::epoll::monotonic_ns;
use crate::limits::RECORD_WRITE_EVERY_MS;

/// How long orders wait at most, when no packets come.
const WAIT: Duration = Duration::from_millis(50);

/// Packets taken before orders and the clock are looked at.
const BATCH: usize = 256;

struct Sessions<'a> {
    all: HashMap<u64, Box<Session>>,
    counts: &'a RecordCounts,
}

/// Serves until it is told to stop.
pub(super) fn run(packets: &Receiver<Heard>, orders: &Receiver<Order>, counts: &RecordCounts) {
    let all = HashMap::new();
    let mut sessions = Sessions { all, counts };
    let mut next_ns = monotonic_ns();
    loop {
        let first = match packets.recv_timeout(WAIT) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return sessions.stop(),
        };
        // Packets are taken before orders: the order that begins a recording came before them.
        let batch: Vec<Heard> = first
            .into_iter()
            .chain(packets.try_iter().take(BATCH))
            .collect();
        let mut pending: Vec<Order> = orders.try_iter().collect();
        for order in pending.extract_if(.., |order| matches!(order, Order::Start(_))) {
            sessions.carry_out(order);
        }
        batch.iter().for_each(|heard| sessions.put(heard));
        if !pending.is_empty() {
            // The others only after the packets that were there before them.
            packets.try_iter().for_each(|heard| sessions.put(&heard));
        }
        for order in pending {
            if matches!(order, Order::StopAll) {
                return sessions.stop();
            }
            sessions.carry_out(order);
        }
        let now_ns = monotonic_ns();
        if now_ns >= next_ns {
            next_ns = now_ns + RECORD_WRITE_EVERY_MS * 1_000_000;
            sessions.write(now_ns);
        }
    }
}

impl Sessions<'_> {
    fn put(&mut self, heard: &Heard) {
        self.on(heard.session, |session| session.put(heard));
    }

    fn write(&mut self, now_ns: u64) {
        let ids: Vec<u64> = self.all.keys().copied().collect();
        ids.into_iter()
            .for_each(|id| self.on(id, |session| session.write(now_ns, false)));
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Start(session) => {
                self.all.insert(session.id, session);
            }
            Order::Pause(id, now_ns) => self.on(id, |session| session.pause(now_ns)),
            Order::Resume(id, now_ns) => self.on(id, |session| {
                session.resume(now_ns);
                Ok(())
            }),
            Order::Stop(id) => {
                self.on(id, |session| session.finish(monotonic_ns()));
                if self.all.remove(&id).is_some() {
                    self.counts.running.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Order::StopAll => {}
        }
    }

    fn stop(&mut self) {
        let ids: Vec<u64> = self.all.keys().copied().collect();
        ids.into_iter()
            .for_each(|id| self.carry_out(Order::Stop(id)));
    }

    /// A file that cannot be written on ends its recording, not the thread.
    fn on(&mut self, id: u64, act: impl FnOnce(&mut Session) -> io::Result<()>) {
        let Some(session) = self.all.get_mut(&id) else {
            return;
        };
        if let Err(error) = act(session) {
            tracing::error!(%error, recording = id, "cannot write a recording; it ends here");
            session.failed = true;
            self.counts.failed.add(1);
        }
    }
}
