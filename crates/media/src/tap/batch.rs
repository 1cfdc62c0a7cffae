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
#[cfg(test)]
pub const HEAD_BYTES: usize = 16;

/// Puts a chunk behind those that are there.
pub fn put(batch: &mut Vec<u8>, tap: u32, position: u64, samples: &[i16]) {
    batch.extend(tap.to_le_bytes());
    batch.extend((samples.len() as u32).to_le_bytes());
    batch.extend(position.to_le_bytes());
    batch.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_whose_it_is_and_where_it_begins() {
        let mut batch = Vec::new();
        put(&mut batch, 7, 320, &[1, -2]);
        put(&mut batch, 8, 0, &[]);
        assert_eq!(batch.len(), 2 * HEAD_BYTES + 4);
        let first = [
            7, 0, 0, 0, 2, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 1, 0, 254, 255,
        ];
        assert_eq!(batch[..20], first);
    }
}
