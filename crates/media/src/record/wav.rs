//! A WAV file that is whole whenever its head was written: mono, 16 bits.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the head.
pub const HEAD_BYTES: u32 = 44;

/// The head of a file with this much behind it.
pub fn head(rate_hz: u32, data_bytes: u32) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RIFF");
    put(4, &data_bytes.saturating_add(HEAD_BYTES - 8).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16_u32.to_le_bytes());
    put(20, &1_u16.to_le_bytes());
    put(22, &1_u16.to_le_bytes());
    put(24, &rate_hz.to_le_bytes());
    put(28, &(rate_hz * 2).to_le_bytes());
    put(32, &2_u16.to_le_bytes());
    put(34, &16_u16.to_le_bytes());
    put(36, b"data");
    put(40, &data_bytes.to_le_bytes());
    head
}

/// A file that grows.
pub struct Wav {
    file: File,
    rate_hz: u32,
    data_bytes: u32,
    bytes: Vec<u8>,
}

impl Wav {
    /// A new, empty file; readable by its owner alone, for it holds what people said.
    pub fn create(path: &Path, rate_hz: u32) -> io::Result<Wav> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&head(rate_hz, 0))?;
        Ok(Wav {
            file,
            rate_hz,
            data_bytes: 0,
            bytes: Vec::new(),
        })
    }

    /// Writes samples behind those that are there, then says so in the head. What the format
    /// cannot say any more (4 GiB: 37 hours at 16 kHz) is left out.
    pub fn append(&mut self, samples: &[i16]) -> io::Result<()> {
        let bytes = samples.len() as u32 * 2;
        let Some(total) = self.data_bytes.checked_add(bytes + HEAD_BYTES) else {
            return Ok(());
        };
        self.bytes.clear();
        self.bytes
            .extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.file.write_all(&self.bytes)?;
        self.data_bytes = total - HEAD_BYTES;
        self.file
            .write_all_at(&head(self.rate_hz, self.data_bytes), 0)
    }
}
