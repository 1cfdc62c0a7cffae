//! A buffer that gives packets out evenly and in order, however they come in.
//!
//! Pure: the caller asks for a packet at its own pace. It begins when as many packets are there as
//! the network makes necessary, grows when packets come too late, and shrinks when it held more
//! than needed for a while. Memory is taken once, but for long payloads.

/// Packets it can hold; at 20 ms more than a second.
const SLOTS: u16 = 64;

/// Most packets that are waited for before the first one is given out: 200 ms at 20 ms.
const DEPTH_MAX: u16 = 10;

/// Packets given out, without one that was late, before the buffer may shrink: 5 s at 20 ms.
const CALM: u32 = 250;

/// Packets one behind the other that were all given out before, after which a sender has begun anew
/// even if it says the same again: the network repeats no second without anything new in between.
const REPEATED_MAX: u16 = 16;

/// Room for a payload that is taken at once; few streams ever need more.
const PAYLOAD_BYTES_USUAL: usize = 160;

/// Longest payload, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1_500;

#[derive(Default)]
struct Slot {
    sequence: Option<u16>,
    /// The number that was given out from here last: a double of it is no late packet.
    given: Option<u16>,
    timestamp: u32,
    payload: Vec<u8>,
    /// No sound, but what stands for it.
    aside: bool,
}

/// What is to be played now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played<'a> {
    /// This payload, with its timestamp.
    Packet(u32, &'a [u8]),
    /// This payload, which is no sound but says what is to be heard (comfort noise).
    Aside(&'a [u8]),
    /// A packet is missing though later ones are there: to be concealed.
    Lost,
    /// There is nothing yet, or nothing any more.
    Nothing,
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets that came after their time.
    pub late: u64,
    /// Gaps that were given out.
    pub lost: u64,
    /// Packets left out to make the buffer shorter.
    pub skipped: u64,
}

/// The buffer of one stream.
pub struct JitterBuffer {
    slots: Box<[Slot]>,
    /// Number to be given out next; none before the first packet.
    next: Option<u16>,
    /// Highest number that is there.
    newest: u16,
    /// Waits until it is deep enough.
    filling: bool,
    /// Something was given out since the stream began.
    begun: bool,
    /// Packets to wait for.
    depth: u16,
    calm: u32,
    /// Least that was there in the calm time.
    spare: u16,
    /// The newest packet that was given out before, and how many stood before it in a row.
    repeated: (u16, u16),
    counts: JitterCounts,
}

impl Default for JitterBuffer {
    fn default() -> JitterBuffer {
        let slot = |_| Slot {
            payload: Vec::with_capacity(PAYLOAD_BYTES_USUAL),
            ..Slot::default()
        };
        JitterBuffer {
            slots: (0..SLOTS).map(slot).collect(),
            next: None,
            newest: 0,
            filling: true,
            begun: false,
            depth: 1,
            calm: 0,
            spare: u16::MAX,
            repeated: (0, 0),
            counts: JitterCounts::default(),
        }
    }
}

impl JitterBuffer {
    /// The counters.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Packets that are waited for before the first one is given out.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Takes a packet; what is too long is no sound.
    pub fn put(&mut self, sequence: u16, timestamp: u32, payload: &[u8]) {
        self.put_in(sequence, timestamp, payload, false);
    }

    /// Takes a packet that is given out as [`Played::Aside`].
    pub fn put_aside(&mut self, sequence: u16, timestamp: u32, payload: &[u8]) {
        self.put_in(sequence, timestamp, payload, true);
    }

    fn put_in(&mut self, sequence: u16, timestamp: u32, payload: &[u8], aside: bool) {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return;
        }
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next);
        if ahead >= 0x8000 {
            let behind = next.wrapping_sub(sequence);
            if self.slots[usize::from(sequence % SLOTS)].given == Some(sequence) {
                if !self.says_another(sequence, timestamp, payload) {
                    return;
                }
                self.restart(sequence);
            } else if !self.begun && self.newest.wrapping_sub(sequence) < SLOTS {
                // Nothing was given out yet: it begins earlier.
                self.next = Some(sequence);
            } else if behind < SLOTS {
                self.counts.late += 1;
                self.depth = (self.depth + 1).min(DEPTH_MAX);
                (self.calm, self.spare) = (0, u16::MAX);
                return;
            } else {
                self.restart(sequence);
            }
        } else if ahead >= SLOTS {
            self.restart(sequence);
        }
        self.repeated.1 = 0;
        let highest = sequence.wrapping_sub(self.newest) < 0x8000;
        if highest || self.held() == 0 {
            self.newest = sequence;
        }
        let slot = &mut self.slots[usize::from(sequence % SLOTS)];
        if slot.sequence != Some(sequence) {
            (slot.sequence, slot.timestamp) = (Some(sequence), timestamp);
            slot.aside = aside;
            slot.payload.clear();
            slot.payload.extend_from_slice(payload);
        }
    }

    /// Whether a number that was given out before stands for something else now: its sender has
    /// begun anew a little way back. Else the network has doubled a packet.
    fn says_another(&mut self, sequence: u16, timestamp: u32, payload: &[u8]) -> bool {
        let slot = &self.slots[usize::from(sequence % SLOTS)];
        if slot.sequence.is_some() {
            // Its place was taken by a later packet: nobody knows.
            return false;
        }
        let (newest, count) = self.repeated;
        let row = if sequence == newest.wrapping_add(1) {
            count + 1
        } else {
            1
        };
        self.repeated = (sequence, row);
        row >= REPEATED_MAX || slot.timestamp != timestamp || slot.payload != payload
    }

    /// Gives out what is to be played now.
    pub fn take(&mut self) -> Played<'_> {
        let Some(mut next) = self.next else {
            return Played::Nothing;
        };
        let held = self.held();
        if held == 0 || (self.filling && held < self.depth) {
            // Ran dry: what comes next is waited for again.
            self.filling = true;
            return Played::Nothing;
        }
        (self.filling, self.begun) = (false, true);
        if self.may_skip(held) {
            self.counts.skipped += 1;
            self.slots[usize::from(next % SLOTS)].sequence = None;
            next = next.wrapping_add(1);
        }
        self.next = Some(next.wrapping_add(1));
        let slot = &mut self.slots[usize::from(next % SLOTS)];
        if slot.sequence.take() == Some(next) {
            slot.given = Some(next);
            if slot.aside {
                return Played::Aside(&slot.payload);
            }
            return Played::Packet(slot.timestamp, &slot.payload);
        }
        self.counts.lost += 1;
        Played::Lost
    }

    /// Packets from the next to the newest one, with the missing ones between them.
    fn held(&self) -> u16 {
        let Some(next) = self.next else { return 0 };
        let newest = self.slots[usize::from(self.newest % SLOTS)].sequence == Some(self.newest);
        let span = self.newest.wrapping_sub(next).wrapping_add(1);
        if newest && span <= SLOTS { span } else { 0 }
    }

    /// After a calm time in which more was there than needed, one packet is left out.
    fn may_skip(&mut self, held: u16) -> bool {
        self.spare = self.spare.min(held);
        self.calm += 1;
        if self.calm < CALM {
            return false;
        }
        let skip = self.spare > self.depth;
        if self.depth > 1 {
            self.depth -= 1;
        }
        (self.calm, self.spare) = (0, u16::MAX);
        skip
    }

    /// The stream has made a jump.
    fn restart(&mut self, sequence: u16) {
        for slot in &mut self.slots {
            (slot.sequence, slot.given) = (None, None);
        }
        (self.next, self.newest) = (Some(sequence), sequence);
        (self.filling, self.begun) = (true, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(played: Played<'_>) -> Option<u16> {
        match played {
            Played::Packet(timestamp, payload) => {
                assert_eq!(payload, timestamp.to_be_bytes());
                Some(timestamp as u16)
            }
            _ => None,
        }
    }

    fn put(buffer: &mut JitterBuffer, sequence: u16) {
        buffer.put(
            sequence,
            sequence.into(),
            &u32::from(sequence).to_be_bytes(),
        );
    }

    #[test]
    fn an_even_stream_is_given_out_at_once() {
        let mut buffer = JitterBuffer::default();
        assert_eq!(buffer.take(), Played::Nothing);
        for sequence in (65_500..=u16::MAX).chain(0..100) {
            put(&mut buffer, sequence);
            assert_eq!(number(buffer.take()), Some(sequence));
        }
        assert_eq!(buffer.counts(), JitterCounts::default());
    }

    #[test]
    fn a_lost_packet_is_a_gap_and_a_late_one_makes_the_buffer_deeper() {
        let mut buffer = JitterBuffer::default();
        put(&mut buffer, 1);
        assert_eq!(number(buffer.take()), Some(1));
        put(&mut buffer, 3);
        assert_eq!(buffer.take(), Played::Lost);
        put(&mut buffer, 2);
        assert_eq!(
            (buffer.counts().late, buffer.counts().lost, buffer.depth()),
            (1, 1, 2)
        );
        assert_eq!(number(buffer.take()), Some(3));
        // Dry: two packets are waited for now.
        assert_eq!(buffer.take(), Played::Nothing);
        put(&mut buffer, 4);
        assert_eq!(buffer.take(), Played::Nothing);
        put(&mut buffer, 5);
        assert_eq!(number(buffer.take()), Some(4));
    }

    #[test]
    fn a_jump_begins_anew() {
        let mut buffer = JitterBuffer::default();
        put(&mut buffer, 1);
        put(&mut buffer, 40_000);
        assert_eq!(number(buffer.take()), Some(40_000));
        put(&mut buffer, 100);
        assert_eq!(number(buffer.take()), Some(100));
    }

    #[test]
    fn a_sender_that_begins_anew_a_little_way_back_is_heard_at_once() {
        let mut buffer = JitterBuffer::default();
        for sequence in 100..150 {
            put(&mut buffer, sequence);
            assert_eq!(number(buffer.take()), Some(sequence));
        }
        for sequence in 120..160_u16 {
            let timestamp = 0x1_0000 | u32::from(sequence);
            buffer.put(sequence, timestamp, &timestamp.to_be_bytes());
            assert_eq!(number(buffer.take()), Some(sequence));
        }
        assert_eq!(buffer.counts(), JitterCounts::default());
    }

    #[test]
    fn a_sender_that_says_the_same_again_is_heard_after_a_third_of_a_second() {
        let mut buffer = JitterBuffer::default();
        let mut heard = 0;
        for sequence in (100..150).chain(100..150) {
            put(&mut buffer, sequence);
            heard += u16::from(number(buffer.take()).is_some());
        }
        assert_eq!(heard, 100 - (REPEATED_MAX - 1));
    }

    #[test]
    fn what_is_deeper_than_needed_becomes_shorter() {
        let mut buffer = JitterBuffer::default();
        (0..10).for_each(|sequence| put(&mut buffer, sequence));
        let mut last = 0;
        for sequence in 10..5_000 {
            put(&mut buffer, sequence);
            last = number(buffer.take()).unwrap_or(last);
        }
        assert!(4_999 - last <= 2, "{last}");
        assert!(buffer.counts().skipped >= 8 && buffer.counts().lost == 0);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_in_order_and_never_double(
            steps in prop::collection::vec((0_i32..12, 0_u8..4, any::<bool>()), 1..500),
        ) {
            let mut buffer = JitterBuffer::default();
            let (mut sent, mut last) = (1_000_i32, None);
            for (jitter, takes, double) in steps {
                sent += 1;
                let sequence = (sent - jitter) as u16;
                put(&mut buffer, sequence);
                if double {
                    put(&mut buffer, sequence);
                }
                for _ in 0..takes {
                    if let Some(number) = number(buffer.take()) {
                        prop_assert!(last.is_none_or(|last| number > last), "{number} {last:?}");
                        last = Some(number);
                    }
                }
            }
        }

        #[test]
        fn swaps_that_it_waits_for_lose_nothing(
            swaps in prop::collection::vec(any::<bool>(), 300),
        ) {
            let mut sequence: Vec<u16> = (0..300).collect();
            for (pair, swap) in sequence.chunks_exact_mut(2).zip(swaps) {
                if swap {
                    pair.swap(0, 1);
                }
            }
            let mut buffer = JitterBuffer::default();
            let mut heard = Vec::new();
            for pair in sequence.chunks_exact(2) {
                pair.iter().for_each(|number| put(&mut buffer, *number));
                heard.extend(number(buffer.take()));
                heard.extend(number(buffer.take()));
            }
            prop_assert_eq!(heard, (0..300).collect::<Vec<u16>>());
        }

        #[test]
        fn nothing_makes_it_panic(
            packets in prop::collection::vec((any::<u16>(), 0_usize..2_000, 0_u8..3), 0..300),
        ) {
            let mut buffer = JitterBuffer::default();
            for (sequence, length, takes) in packets {
                buffer.put(sequence, 0, &vec![0; length]);
                (0..takes).for_each(|_| {
                    buffer.take();
                });
            }
        }
    }
}
