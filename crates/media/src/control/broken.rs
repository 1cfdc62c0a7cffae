//! Calls and rooms whose worker has panicked.

use std::sync::Arc;

use super::Control;
use crate::MediaEvent;
use crate::mix::room::{Left, left};

impl Control {
    /// Ends what workers lost since the last time: what is to be told, and how many calls.
    pub fn end_broken(&mut self) -> (Vec<MediaEvent>, u64) {
        let mut told = Vec::new();
        let mut calls = 0;
        for worker in 0..self.workers.len() {
            let broken = self.workers[worker].table().take_broken();
            if broken.is_empty() {
                continue;
            }
            let parties = broken.parties.iter();
            told.extend(parties.map(|(room, who)| left(room, who, Left::Closed)));
            self.forget_rooms(worker);
            let is_lost = |line: &crate::call::Line| {
                line.worker == worker && broken.flows.contains(&line.key)
            };
            let lost = self.calls.values().filter(|call| call.lines().any(is_lost));
            let lost: Vec<Arc<str>> = lost.map(|call| Arc::clone(&call.id)).collect();
            for id in lost {
                self.remove(&id);
                let call_id = id.to_string();
                told.push(MediaEvent::Lost { call_id });
                calls += 1;
            }
        }
        (told, calls)
    }
}
