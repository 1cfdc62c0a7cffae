//! Ogg (RFC 3533) as far as Opus in it needs it (RFC 7845): one stream, written page by page.
//!
//! Pure. A page stands for itself: a file that was cut off plays up to its last whole page.
//!
//! # Layout
//! - here: pages. `opus`: the heads of a stream of Opus.

pub mod opus;

/// Bytes of a page before its table of segments.
const HEAD_BYTES: usize = 27;

/// Most segments of a page, and most bytes of a segment.
const SEGMENTS_MAX: usize = 255;
const SEGMENT_BYTES: usize = 255;

/// First and last page of a stream.
pub const FIRST: u8 = 2;
/// See [`FIRST`].
pub const LAST: u8 = 4;
/// The page begins within a packet.
const CONTINUED: u8 = 1;

/// The checksum of a page: polynomial 0x04c11db7, not reflected, from 0.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(0, |sum, byte| {
        let place = (sum >> 24) as u8 ^ byte;
        sum << 8 ^ TABLE[usize::from(place)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum >> 31 == 1 {
                sum << 1 ^ 0x04c1_1db7
            } else {
                sum << 1
            };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// Packets of one stream on their way into pages.
pub struct Pages {
    serial: u32,
    number: u32,
    lengths: Vec<u8>,
    content: Vec<u8>,
}

impl Pages {
    /// A stream with this number.
    pub fn new(serial: u32) -> Pages {
        Pages {
            serial,
            number: 0,
            lengths: Vec::with_capacity(SEGMENTS_MAX),
            content: Vec::new(),
        }
    }

    /// Puts a packet into the page at hand; false when the page has no room for it.
    pub fn put(&mut self, packet: &[u8]) -> bool {
        // The last segment of a packet is shorter than the others, perhaps empty.
        let segments = packet.len() / SEGMENT_BYTES + 1;
        if self.lengths.len() + segments > SEGMENTS_MAX {
            return false;
        }
        let whole = std::iter::repeat_n(SEGMENT_BYTES as u8, segments - 1);
        self.lengths.extend(whole);
        self.lengths.push((packet.len() % SEGMENT_BYTES) as u8);
        self.content.extend_from_slice(packet);
        true
    }

    /// Nothing waits for its page.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Ends the page at hand and writes it behind `out`. `granule`: the time at its end.
    pub fn end(&mut self, kind: u8, granule: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(b"OggS\0");
        out.push(kind);
        out.extend_from_slice(&granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.lengths.len() as u8);
        out.append(&mut self.lengths);
        out.append(&mut self.content);
        let sum = checksum(&out[begin..]);
        out[begin + 22..begin + 26].copy_from_slice(&sum.to_le_bytes());
        self.number = self.number.wrapping_add(1);
    }
}

/// A page as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    kind: u8,
    granule: u64,
    serial: u32,
    lengths: &'a [u8],
    content: &'a [u8],
}

/// Reads the page at the beginning; and what is behind it. None for anything else.
fn read_page(bytes: &[u8]) -> Option<(Page<'_>, &[u8])> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let rest = &bytes[HEAD_BYTES..];
    let (lengths, rest) = rest.split_at_checked(usize::from(head[26]))?;
    let length = lengths.iter().map(|length| usize::from(*length)).sum();
    let (content, rest) = rest.split_at_checked(length)?;
    if !head.starts_with(b"OggS\0") {
        return None;
    }
    let mut plain = bytes[..HEAD_BYTES + lengths.len() + length].to_vec();
    plain[22..26].fill(0);
    let page = Page {
        kind: head[5],
        granule: u64::from(number(6)) | u64::from(number(10)) << 32,
        serial: number(14),
        lengths,
        content,
    };
    (checksum(&plain) == number(22)).then_some((page, rest))
}

/// Reads the packets of the first stream, up to the first damaged page; the last one that ends on
/// a page with the time at its end.
pub fn packets(bytes: &[u8], mut take: impl FnMut(&[u8], Option<u64>)) {
    let mut rest = bytes;
    let mut stream = None;
    let mut packet = Vec::new();
    let mut broken = false;
    while let Some((page, behind)) = read_page(rest) {
        rest = behind;
        // Other streams beside it are no concern of ours; one behind it is another piece.
        if *stream.get_or_insert(page.serial) != page.serial {
            continue;
        }
        // The beginning of a packet may be missing, and so may its end.
        broken = page.kind & CONTINUED != 0 && (broken || packet.is_empty());
        if page.kind & CONTINUED == 0 {
            packet.clear();
        }
        let last = page
            .lengths
            .iter()
            .rposition(|length| usize::from(*length) < SEGMENT_BYTES);
        let mut at = 0;
        for (n, length) in page.lengths.iter().enumerate() {
            let next = at + usize::from(*length);
            packet.extend_from_slice(&page.content[at..next]);
            at = next;
            if usize::from(*length) < SEGMENT_BYTES {
                if !broken {
                    take(&packet, (last == Some(n)).then_some(page.granule));
                }
                packet.clear();
                broken = false;
            }
        }
        if page.kind & LAST != 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<(Vec<u8>, Option<u64>)> {
        let mut all = Vec::new();
        packets(bytes, |packet, granule| {
            all.push((packet.to_vec(), granule))
        });
        all
    }

    #[test]
    fn the_checksum_is_that_of_other_programs() {
        // CRC-32/MPEG-2 without its start value, of "123456789".
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }

    proptest! {
        #[test]
        fn packets_come_back_and_a_cut_file_keeps_its_whole_pages(
            sizes in prop::collection::vec(prop::collection::vec(0_usize..900, 1..20), 1..6),
            cut in 0_usize..2_000,
        ) {
            let mut pages = Pages::new(7);
            let (mut bytes, mut expected, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            for (n, page) in sizes.iter().enumerate() {
                for (k, size) in page.iter().enumerate() {
                    let packet = vec![(n * 31 + k) as u8; *size];
                    if pages.put(&packet) {
                        expected.push((packet, None));
                    }
                }
                let granule = n as u64 * 960;
                expected.last_mut().expect("a packet").1 = Some(granule);
                pages.end(if n == 0 { FIRST } else { 0 }, granule, &mut bytes);
                ends.push((bytes.len(), expected.len()));
            }
            prop_assert_eq!(&read(&bytes), &expected);
            let left = bytes.len().saturating_sub(cut);
            let whole = ends.iter().rev().find(|(end, _)| *end <= left).map_or(0, |(_, n)| *n);
            prop_assert_eq!(&read(&bytes[..left])[..], &expected[..whole]);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), place in 0_usize..100, value: u8,
        ) {
            read(&bytes);
            let mut page = Vec::new();
            let mut pages = Pages::new(1);
            pages.put(&bytes);
            pages.end(FIRST, 1, &mut page);
            if let Some(byte) = page.get_mut(place) {
                *byte = value;
            }
            read(&page);
        }
    }
}
