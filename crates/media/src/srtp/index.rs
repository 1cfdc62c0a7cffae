//! The 48-bit index of RTP packets and what was seen already (RFC 3711 section 3.3).

/// Packets behind the newest one whose repetition is noticed.
const WINDOW: u64 = 128;

/// The newest index of a source and which of those before it were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    newest: Option<u64>,
    /// Bit n: the packet n before the newest was seen.
    seen: u128,
}

impl Window {
    /// A window that begins behind a known index.
    pub fn at(newest: u64) -> Window {
        Window {
            newest: Some(newest),
            seen: 1,
        }
    }

    /// The newest index; none before the first packet.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The index that a sequence number most likely means (appendix A).
    pub fn guess(&self, sequence: u16) -> u64 {
        let Some(newest) = self.newest else {
            return u64::from(sequence);
        };
        let (rollover, last) = (newest >> 16, (newest & 0xffff) as u16);
        let ahead = i32::from(sequence) - i32::from(last);
        let rollover = if ahead < -0x8000 {
            rollover + 1
        } else if ahead > 0x8000 {
            // A stream that began shortly before its first wrap.
            rollover.saturating_sub(1)
        } else {
            rollover
        };
        rollover << 16 | u64::from(sequence)
    }

    /// Whether an index is neither known nor too old to know.
    pub fn is_new(&self, index: u64) -> bool {
        match self.newest {
            Some(newest) if index <= newest => {
                let behind = newest - index;
                behind < WINDOW && self.seen >> behind & 1 == 0
            }
            _ => true,
        }
    }

    /// Notes a packet that was found genuine.
    pub fn note(&mut self, index: u64) {
        match self.newest {
            Some(newest) if index <= newest => {
                let behind = newest - index;
                if behind < WINDOW {
                    self.seen |= 1 << behind;
                }
            }
            Some(newest) => {
                let step = index - newest;
                self.seen = if step < WINDOW { self.seen << step } else { 0 } | 1;
                self.newest = Some(index);
            }
            None => *self = Window::at(index),
        }
    }
}

/// The roll-over counter of an index, as it stands beside a packet.
pub fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_count_goes_on_over_the_wrap_and_late_packets_keep_theirs() {
        let mut window = Window::default();
        for (sequence, index) in [
            (65_534_u16, 65_534_u64),
            (65_535, 65_535),
            (1, 65_537),
            (0, 65_536),
            (65_533, 65_533),
            (2, 65_538),
        ] {
            assert_eq!(window.guess(sequence), index);
            assert!(window.is_new(index));
            window.note(index);
            assert!(!window.is_new(index));
        }
        assert!(!window.is_new(65_538 - WINDOW));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(
            order in prop::collection::vec(0_u64..400, 1..300), base in 65_300_u64..65_700
        ) {
            let (mut window, mut taken) = (Window::at(base), std::collections::BTreeSet::new());
            for step in order {
                let index = base + 1 + step;
                if window.is_new(index) {
                    prop_assert!(taken.insert(index));
                    window.note(index);
                } else {
                    let newest = window.newest.unwrap_or_default();
                    prop_assert!(taken.contains(&index) || newest - index >= WINDOW);
                }
            }
        }
    }
}
