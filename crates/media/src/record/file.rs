//! A file of a recording, in the format of all of them.

use std::io;
use std::path::{Path, PathBuf};

use super::ogg::Ogg;
use super::wav::Wav;

/// How recordings are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RecordingFormat {
    /// 16-bit samples: 58 or 115 MB an hour.
    #[default]
    Wav,
    /// Opus in Ogg at 24 kbit/s: 11 MB an hour.
    Opus,
}

impl RecordingFormat {
    /// What the names of its files end with.
    fn extension(self) -> &'static str {
        match self {
            RecordingFormat::Wav => "wav",
            RecordingFormat::Opus => "opus",
        }
    }
}

/// A file that grows.
pub enum Sheet {
    /// WAV.
    Wav(Wav),
    /// Opus in Ogg.
    Ogg(Box<Ogg>),
}

impl Sheet {
    /// A new, empty file of a party, or of all.
    pub fn create(
        base: &Path,
        part: &str,
        format: RecordingFormat,
        rate_hz: u32,
    ) -> io::Result<Sheet> {
        let mut name = base.as_os_str().to_owned();
        name.push(format!("-{part}.{}", format.extension()));
        let path = PathBuf::from(name);
        Ok(match format {
            RecordingFormat::Wav => Sheet::Wav(Wav::create(&path, rate_hz)?),
            RecordingFormat::Opus => Sheet::Ogg(Box::new(Ogg::create(&path, rate_hz)?)),
        })
    }

    /// Writes samples behind those that are there; afterwards the file plays up to them.
    pub fn append(&mut self, samples: &[i16]) -> io::Result<()> {
        match self {
            Sheet::Wav(wav) => wav.append(samples),
            Sheet::Ogg(ogg) => ogg.append(samples),
        }
    }

    /// This is all.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Sheet::Wav(_) => Ok(()),
            Sheet::Ogg(ogg) => ogg.finish(),
        }
    }
}
