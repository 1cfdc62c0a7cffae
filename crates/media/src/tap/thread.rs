//! The thread of taps: packets become even frames, and those of a tick become one batch.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::{Order, Said, TapCounts, TapSink, batch};
use crate::epoll::monotonic_ns;
use crate::limits::{TAP_BEHIND_MS_MAX, TAP_EVERY_MS, TAP_QUEUE_MAX};
use crate::mix::FRAME_MS;
use crate::mix::ear::Ear;

const TICK_NS: u64 = TAP_EVERY_MS * 1_000_000;

/// A party that is listened to.
struct Listening {
    ear: Ear,
    /// Samples of a tick.
    chunk: Box<[i16]>,
    /// Samples since the tap began, heard or not.
    position: u64,
}

impl Listening {
    fn new(rate_hz: u32) -> Listening {
        let samples = u64::from(rate_hz) * TAP_EVERY_MS / 1_000;
        Listening {
            ear: Ear::new(rate_hz),
            chunk: vec![0; samples as usize].into(),
            position: 0,
        }
    }

    /// Hears the next tick; whether there was anything in it.
    fn hear(&mut self) -> bool {
        let frames = TAP_EVERY_MS as usize / FRAME_MS as usize;
        let samples = self.chunk.len() / frames;
        let mut heard = false;
        for frame in self.chunk.chunks_mut(samples) {
            heard |= self.ear.next(frame);
        }
        heard
    }
}

/// All taps.
#[derive(Default)]
struct Listener {
    taps: BTreeMap<u32, Listening>,
    /// Taps whose end is to be told.
    ended: Vec<(u32, u64)>,
    due_ns: u64,
}

/// Serves until it is told to stop.
pub(super) fn run(
    packets: &Receiver<Said>,
    orders: &Receiver<Order>,
    sink: &TapSink,
    counts: &TapCounts,
) {
    let mut listener = Listener::default();
    loop {
        let order = if listener.is_idle() {
            orders.recv().map_err(RecvTimeoutError::from)
        } else {
            let wait_ns = listener.due_ns.saturating_sub(monotonic_ns());
            orders.recv_timeout(Duration::from_nanos(wait_ns))
        };
        match order {
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(order) => listener.carry_out(order, monotonic_ns()),
            Err(RecvTimeoutError::Timeout) => {
                // Packets are taken before orders: the order that began a tap came before them.
                let said: Vec<Said> = packets.try_iter().take(TAP_QUEUE_MAX).collect();
                for order in orders.try_iter() {
                    if matches!(order, Order::Stop) {
                        return;
                    }
                    listener.carry_out(order, monotonic_ns());
                }
                said.iter().for_each(|one| listener.take(one));
                listener.tick(monotonic_ns(), sink, counts);
            }
        }
    }
}

impl Listener {
    fn is_idle(&self) -> bool {
        self.taps.is_empty() && self.ended.is_empty()
    }

    fn carry_out(&mut self, order: Order, now_ns: u64) {
        if self.is_idle() {
            self.due_ns = now_ns + TICK_NS;
        }
        match order {
            Order::Begin(id, rate_hz) => {
                self.taps.insert(id, Listening::new(rate_hz));
            }
            Order::End(id) => {
                let tap = self.taps.remove(&id);
                self.ended.extend(tap.map(|tap| (id, tap.position)));
            }
            Order::Stop => {}
        }
    }

    fn take(&mut self, said: &Said) {
        if let Some(tap) = self.taps.get_mut(&said.tap) {
            tap.ear.put(&said.header, said.coding, &said.payload);
        }
    }

    /// Gives out what is due.
    fn tick(&mut self, now_ns: u64, sink: &TapSink, counts: &TapCounts) {
        let behind_ns = now_ns.saturating_sub(self.due_ns);
        if behind_ns > TAP_BEHIND_MS_MAX * 1_000_000 {
            let ticks = behind_ns / TICK_NS;
            for tap in self.taps.values_mut() {
                tap.position += ticks * tap.chunk.len() as u64;
            }
            self.due_ns += ticks * TICK_NS;
        }
        while self.due_ns <= now_ns {
            self.due_ns += TICK_NS;
            let mut out = Vec::new();
            for (id, tap) in &mut self.taps {
                if tap.hear() {
                    batch::put(&mut out, *id, tap.position, &tap.chunk);
                }
                tap.position += tap.chunk.len() as u64;
            }
            for (id, position) in &self.ended {
                batch::put(&mut out, *id, *position, &[]);
            }
            if out.is_empty() || sink(out) {
                self.ended.clear();
            } else {
                // Sound is lost; that a tap has ended is told again.
                counts.refused.add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::codec::Codec;
    use crate::packet::RtpHeader;
    use crate::sdp::Coding;

    fn said(sequence: u16) -> Said {
        Said {
            tap: 1,
            header: RtpHeader {
                payload_type: 0,
                sequence,
                timestamp: u32::from(sequence) * 160,
                ssrc: 9,
                payload_at: 12,
            },
            coding: Some(Coding::Audio(Codec::Pcmu)),
            payload: vec![crate::codec::ulaw_encode(1_000); 160].into(),
        }
    }

    /// Ticks of a listener with one tap whose consumer takes everything or nothing.
    fn ticks(takes: &Arc<AtomicBool>) -> (Listener, TapSink, Receiver<Vec<u8>>) {
        let (sender, batches) = channel();
        let takes = Arc::clone(takes);
        let sink: TapSink = Box::new(move |batch| {
            let taken = takes.load(Ordering::Relaxed);
            taken && sender.send(batch).is_ok()
        });
        let mut listener = Listener::default();
        listener.carry_out(Order::Begin(1, 8_000), 0);
        (listener, sink, batches)
    }

    #[test]
    fn a_tick_is_one_chunk_of_even_sound_and_silence_is_none() {
        let (mut listener, sink, batches) = ticks(&Arc::new(AtomicBool::new(true)));
        let counts = TapCounts::default();
        listener.take(&said(1));
        listener.take(&said(2));
        listener.tick(TICK_NS, &sink, &counts);
        let batch = batches.try_recv().expect("a batch");
        assert_eq!(batch.len(), batch::HEAD_BYTES + 640);
        assert_eq!(batch[4..16], [64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // What follows is made up for a while, and then there is nothing.
        listener.tick(10 * TICK_NS, &sink, &counts);
        assert!(batches.try_iter().count() < 4);
        assert_eq!(listener.taps[&1].position, 3_200);
    }

    #[test]
    fn a_consumer_that_is_too_slow_loses_sound_and_hears_of_the_end() {
        let takes = Arc::new(AtomicBool::new(false));
        let (mut listener, sink, batches) = ticks(&takes);
        let counts = TapCounts::default();
        listener.take(&said(1));
        listener.take(&said(2));
        listener.tick(TICK_NS, &sink, &counts);
        listener.carry_out(Order::End(1), TICK_NS);
        listener.tick(2 * TICK_NS, &sink, &counts);
        assert_eq!(counts.refused.get(), 2);
        takes.store(true, Ordering::Relaxed);
        listener.tick(3 * TICK_NS, &sink, &counts);
        let end = batches.try_recv().expect("the end");
        assert_eq!(end[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(listener.is_idle());
    }
}
