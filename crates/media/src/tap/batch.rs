//! The bytes of a batch: chunks of samples, one behind the other, little-endian.
//!
//! ```text
//!   0      4         8           16
//!   | tap  | samples | position  | samples of 16 bits ...
//! ```
//!
//! `position` is where the chunk begins, in samples since the tap began: what is missing between
//! two chunks was silence or was lost. A chunk without samples is the last one of its tap.

/// Bytes before the samples.
pub const HEAD_BYTES: usize = 16;

/// A chunk of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Number of the tap.
    pub tap: u32,
    /// Where it begins, samples since the tap began.
    pub position: u64,
    /// Samples of 16 bits, little-endian; none: the tap has ended.
    pub samples: &'a [u8],
}

/// Puts a chunk behind those that are there.
pub fn put(batch: &mut Vec<u8>, tap: u32, position: u64, samples: &[i16]) {
    batch.extend(tap.to_le_bytes());
    batch.extend((samples.len() as u32).to_le_bytes());
    batch.extend(position.to_le_bytes());
    batch.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
}

/// The chunks of a batch.
pub fn chunks(mut batch: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (head, behind) = batch.split_first_chunk::<HEAD_BYTES>()?;
        let number = |at: usize| {
            let four = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            u32::from_le_bytes(four)
        };
        let bytes = 2 * number(4) as usize;
        let (samples, next) = behind.split_at_checked(bytes)?;
        batch = next;
        Some(Chunk {
            tap: number(0),
            position: u64::from(number(12)) << 32 | u64::from(number(8)),
            samples,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_whose_it_is_and_where_it_begins() {
        let mut batch = Vec::new();
        put(&mut batch, 7, 320, &[1, -2]);
        put(&mut batch, 8, 5 << 32, &[]);
        assert_eq!(batch.len(), 2 * HEAD_BYTES + 4);
        let first = [
            7, 0, 0, 0, 2, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 1, 0, 254, 255,
        ];
        assert_eq!(batch[..20], first);
        let read: Vec<Chunk<'_>> = chunks(&batch).collect();
        let chunk = |tap, position, samples| Chunk {
            tap,
            position,
            samples,
        };
        assert_eq!(
            read,
            [
                chunk(7, 320, &[1, 0, 254, 255][..]),
                chunk(8, 5 << 32, &[][..])
            ]
        );
        assert_eq!(chunks(&batch[..18]).count(), 0, "a chunk that is cut off");
    }
}
