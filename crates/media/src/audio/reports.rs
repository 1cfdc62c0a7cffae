//! RTCP beside a stream whose packets are changed: sources and times have to agree with them.
//!
//! Pure; RFC 3550 section 6. Only what names a source is changed, in place.

/// What stands for what in the reports that go to a party.
#[derive(Clone, Copy, Default)]
pub struct Renaming<'a> {
    /// The relayed source and what the party knows it as.
    pub sender: Option<(u32, u32)>,
    /// Its media time as the party knows it.
    pub time: Option<&'a dyn Fn(u32) -> u32>,
    /// A source the reporter knows, and what the party that gets the report calls it.
    pub reported: Option<(u32, u32)>,
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// Changes all reports of a compound packet.
pub fn rename(packet: &mut [u8], renaming: Renaming<'_>) {
    let mut rest = packet;
    while let Some(head) = rest.first_chunk::<4>() {
        let (count, kind) = (usize::from(head[0] & 0x1f), head[1]);
        let bytes = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        let Some((report, after)) = rest.split_at_mut_checked(bytes) else {
            return;
        };
        match kind {
            SENDER_REPORT => {
                if rename_sender(report, 4, renaming)
                    && let (Some(time), Some(convert)) = (word(report, 16), renaming.time)
                {
                    put(report, 16, convert(time));
                }
                rename_blocks(report, 28, count, renaming);
            }
            RECEIVER_REPORT => {
                rename_sender(report, 4, renaming);
                rename_blocks(report, 8, count, renaming);
            }
            // The descriptions of further sources are of no use to anybody here.
            DESCRIPTION | BYE => {
                rename_sender(report, 4, renaming);
            }
            _ => {}
        }
        rest = after;
    }
}

fn rename_sender(report: &mut [u8], at: usize, renaming: Renaming<'_>) -> bool {
    let known = renaming
        .sender
        .filter(|(source, _)| word(report, at) == Some(*source));
    if let Some((_, name)) = known {
        put(report, at, name);
    }
    known.is_some()
}

fn rename_blocks(report: &mut [u8], first: usize, count: usize, renaming: Renaming<'_>) {
    let Some((source, name)) = renaming.reported else {
        return;
    };
    for at in (0..count).map(|n| first + n * 24) {
        if word(report, at) == Some(source) {
            put(report, at, name);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_be_bytes(*word))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(room) = bytes.get_mut(at..at + 4) {
        room.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RENAMING: Renaming<'_> = Renaming {
        sender: Some((7, 70)),
        time: Some(&|time| time.wrapping_add(1_000)),
        reported: Some((80, 8)),
    };

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn sources_and_times_are_changed_and_the_rest_is_not() {
        // A sender report with one block, then a description.
        let report = |sender: u32, time: u32, reported: u32| {
            let mut all = vec![
                0x81c8_000c,
                sender,
                1,
                2,
                time,
                5,
                6,
                reported,
                1,
                2,
                3,
                4,
                5,
            ];
            all.extend([0x81ca_0001, sender]);
            words(&all)
        };
        let mut packet = report(7, 500, 80);
        rename(&mut packet, RENAMING);
        assert_eq!(packet, report(70, 1_500, 8));
        let mut other = report(9, 500, 81);
        rename(&mut other, RENAMING);
        assert_eq!(other, report(9, 500, 81));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
            kind in 200_u8..204,
            length in 0_u8..30,
        ) {
            rename(&mut bytes.clone(), RENAMING);
            if let Some(head) = bytes.first_chunk_mut::<4>() {
                *head = [0x81, kind, 0, length];
            }
            rename(&mut bytes, RENAMING);
        }
    }
}
