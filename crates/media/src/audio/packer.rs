//! Sound in packets of one length, brought to packets of another.
//!
//! Pure. A packet goes out as soon as it is full, so nothing waits longer than it has to. Where
//! something is missing, what is held goes out at once, shorter than the others: the gap stays
//! where it was.

/// More than this held means that nobody takes it, ms.
const HELD_MS_MAX: usize = 240;

/// Bytes or samples on their way.
pub struct Packer<T> {
    held: Vec<T>,
    /// Media time of the first of them.
    at: u32,
    /// How many go out before a gap, and the media time behind it.
    gap: Option<(usize, u32)>,
    per_ms: usize,
    units_per_ms: u32,
    packet: usize,
}

impl<T: Copy> Packer<T> {
    /// For packets of so many milliseconds. A millisecond is `per_ms` bytes or samples, and
    /// `units_per_ms` of the clock of RTP.
    pub fn new(packet_ms: u32, per_ms: usize, units_per_ms: u32) -> Packer<T> {
        Packer {
            held: Vec::with_capacity(per_ms * HELD_MS_MAX),
            at: 0,
            gap: None,
            per_ms,
            units_per_ms,
            packet: per_ms * packet_ms as usize,
        }
    }

    fn units(&self, count: usize) -> u32 {
        (count * self.units_per_ms as usize / self.per_ms) as u32
    }

    /// Takes the content of a packet that has this media time.
    pub fn put(&mut self, timestamp: u32, content: &[T]) {
        if self.gap.is_some() || self.held.len() + content.len() > self.per_ms * HELD_MS_MAX {
            // What went before was not fetched.
            self.clear();
        }
        let expected = self.at.wrapping_add(self.units(self.held.len()));
        if self.held.is_empty() {
            self.at = timestamp;
        } else if expected != timestamp {
            self.gap = Some((self.held.len(), timestamp));
        }
        let room = self.per_ms * HELD_MS_MAX - self.held.len();
        self.held.extend(content.iter().take(room));
    }

    /// The next packet, when there is one: its media time and its content.
    pub fn next<R>(&mut self, take: impl FnOnce(u32, &[T]) -> R) -> Option<R> {
        let (count, at) = match self.gap.take() {
            Some((count, behind)) => (count, behind),
            None if self.held.len() >= self.packet => {
                (self.packet, self.at.wrapping_add(self.units(self.packet)))
            }
            None => return None,
        };
        let taken = take(self.at, &self.held[..count]);
        self.held.drain(..count);
        self.at = at;
        Some(taken)
    }

    /// Forgets what is held.
    pub fn clear(&mut self) {
        self.held.clear();
        self.gap = None;
    }
}

/// Numbers of packets that are more or fewer than those that came.
pub struct Numbers {
    ssrc: u32,
    /// Of the newest packet that came.
    newest: u16,
    /// Of the next packet that goes out.
    next: u16,
}

/// A jump of this many packets is a restart (RFC 3550 A.1: `MAX_DROPOUT`).
const DROPOUT_MAX: u16 = 3_000;

impl Numbers {
    /// From this packet on, which is still to be counted.
    pub fn from(ssrc: u32, sequence: u16) -> Numbers {
        Numbers {
            ssrc,
            newest: sequence.wrapping_sub(1),
            next: sequence,
        }
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A packet came, with `came_ms` of sound; `packet_ms` is what goes out. Those missing before
    /// it are missing behind us as well. False for one that is late: others have gone out.
    pub fn take(&mut self, sequence: u16, came_ms: u32, packet_ms: u32) -> bool {
        let step = sequence.wrapping_sub(self.newest);
        if step == 0 || step > u16::MAX - DROPOUT_MAX {
            return false;
        }
        self.newest = sequence;
        if step > 1 && step <= DROPOUT_MAX {
            let lost_ms = u32::from(step - 1) * came_ms;
            let lost = (lost_ms / packet_ms.max(1)).max(1);
            self.next = self.next.wrapping_add(lost as u16);
        }
        true
    }

    /// The number of a packet that goes out.
    pub fn give(&mut self) -> u16 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(packer: &mut Packer<u8>) -> Vec<(u32, Vec<u8>)> {
        std::iter::from_fn(|| packer.next(|at, bytes| (at, bytes.to_vec()))).collect()
    }

    #[test]
    fn a_packet_goes_out_once_it_is_full_and_long_ones_are_cut() {
        let mut packer = Packer::new(30, 8, 8);
        packer.put(1_000, &[1; 160]);
        assert_eq!(all(&mut packer), []);
        packer.put(1_160, &[2; 160]);
        let out = all(&mut packer);
        assert_eq!((out.len(), out[0].0, out[0].1.len()), (1, 1_000, 240));
        assert_eq!(out[0].1[159..161], [1, 2]);
        let mut packer = Packer::new(10, 8, 8);
        packer.put(u32::MAX - 79, &[1; 240]);
        let times: Vec<u32> = all(&mut packer).iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [u32::MAX - 79, 0, 80]);
    }

    #[test]
    fn a_gap_stays_where_it_was() {
        let mut packer = Packer::new(40, 8, 8);
        packer.put(0, &[1; 160]);
        assert_eq!(all(&mut packer), []);
        packer.put(320, &[2; 160]);
        assert_eq!(all(&mut packer), [(0, vec![1; 160])]);
        packer.put(480, &[3; 160]);
        assert_eq!(all(&mut packer)[0].0, 320);
    }

    #[test]
    fn what_is_missing_is_missing_in_the_new_numbers_too() {
        let mut numbers = Numbers::from(1, 100);
        assert!(numbers.take(100, 20, 10));
        assert_eq!((numbers.give(), numbers.give()), (100, 101));
        assert!(!numbers.take(100, 20, 10), "a double");
        assert!(!numbers.take(99, 20, 10), "late");
        assert!(numbers.take(103, 20, 10));
        assert_eq!(numbers.give(), 106);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_moved(
            lengths in prop::collection::vec(1_usize..61, 1..50),
            packet in 0_usize..5,
        ) {
            let mut packer = Packer::new([10, 20, 30, 40, 60][packet], 8, 8);
            let mut sent = 0_u32;
            let mut heard = 0_u32;
            for ms in lengths {
                let bytes: Vec<u8> = (sent..).map(|n| (n % 251) as u8).take(ms * 8).collect();
                packer.put(sent, &bytes);
                sent += bytes.len() as u32;
                for (at, bytes) in all(&mut packer) {
                    prop_assert_eq!(at, heard);
                    for byte in bytes {
                        prop_assert_eq!(u32::from(byte), heard % 251);
                        heard += 1;
                    }
                }
            }
            prop_assert!(sent - heard < 480);
        }
    }
}
