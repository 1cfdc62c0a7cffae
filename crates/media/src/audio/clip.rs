//! Sound to be played: WAV files, Opus in Ogg, and raw G.711.
//!
//! Reading is pure; a file's bytes are foreign bytes. What was read is kept while somebody
//! plays it, so that a hundred listeners of the same music share one copy.

mod opus;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::codec::{alaw_decode, ulaw_decode};
use crate::limits::{CLIP_BYTES_MAX, CLIP_SAMPLES_MAX, CLIPS_MAX};

/// Samples and their rate.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    /// Mono.
    pub samples: Box<[i16]>,
    /// 8, 16 or 48 kHz.
    pub rate_hz: u32,
}

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] std::io::Error),
    /// More bytes than allowed, or more sound.
    #[error("it is longer than {CLIP_BYTES_MAX} bytes or {CLIP_SAMPLES_MAX} samples")]
    TooLong,
    /// Outside the folder of prompts, or there is none.
    #[error("it is not below the folder media.prompts")]
    Elsewhere,
    /// None of the forms that are played.
    #[error("it is neither WAV nor Opus in Ogg nor raw G.711")]
    Unknown,
    /// A form of WAV that is not read.
    #[error(
        "only PCM of 16 bits and G.711 at 8, 16 or 48 kHz and Opus are played, with one or two \
         channels"
    )]
    Unsupported,
}

/// How samples are written in a WAV file.
#[derive(Clone, Copy)]
enum Form {
    Pcm16,
    Alaw,
    Ulaw,
}

impl Clip {
    /// How long, ms.
    pub fn lasts_ms(&self) -> u64 {
        self.samples.len() as u64 * 1_000 / u64::from(self.rate_hz)
    }

    /// Reads a file that says itself what it is.
    ///
    /// # Errors
    /// See [`Clip::parse_wav`] and [`Clip::parse_ogg`].
    pub fn parse(bytes: &[u8]) -> Result<Clip, ClipError> {
        if bytes.starts_with(b"OggS") {
            Clip::parse_ogg(bytes)
        } else {
            Clip::parse_wav(bytes)
        }
    }

    /// Reads a WAV file.
    ///
    /// # Errors
    /// What is no WAV file, and forms of it that are not played.
    pub fn parse_wav(bytes: &[u8]) -> Result<Clip, ClipError> {
        let body = bytes.strip_prefix(b"RIFF").and_then(|rest| rest.get(4..));
        let mut rest = body
            .and_then(|rest| rest.strip_prefix(b"WAVE"))
            .ok_or(ClipError::Unknown)?;
        let mut format = None;
        while let Some((head, after)) = rest.split_at_checked(8) {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            // A file that is still written says nothing or too much: what is there counts.
            let chunk = &after[..length.min(after.len())];
            match &head[..4] {
                b"fmt " => format = Some(WavFormat::parse(chunk)?),
                b"data" => {
                    let format = format.ok_or(ClipError::Unsupported)?;
                    let unknown = matches!(length, 0 | 0xffff_ffff);
                    return Ok(format.read(if unknown { after } else { chunk }));
                }
                _ => {}
            }
            // Chunks begin at even places.
            rest = after
                .get(length.saturating_add(length % 2)..)
                .unwrap_or_default();
        }
        Err(ClipError::Unknown)
    }

    /// Reads a file by what its name says it holds: raw G.711 (`.ul`, `.ulaw`, `.pcmu`, `.al`,
    /// `.alaw`, `.pcma`), else WAV.
    fn parse_named(path: &Path, bytes: &[u8]) -> Result<Clip, ClipError> {
        let extension = path
            .extension()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let form = match extension {
            "ul" | "ulaw" | "pcmu" => Form::Ulaw,
            "al" | "alaw" | "pcma" => Form::Alaw,
            _ => return Clip::parse(bytes),
        };
        let format = WavFormat {
            form,
            channels: 1,
            rate_hz: 8_000,
        };
        Ok(format.read(bytes))
    }
}

struct WavFormat {
    form: Form,
    channels: usize,
    rate_hz: u32,
}

impl WavFormat {
    fn parse(chunk: &[u8]) -> Result<WavFormat, ClipError> {
        let number = |at: usize| {
            chunk
                .get(at..at + 2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        let rate = |at: usize| Some(u32::from(number(at)?) | u32::from(number(at + 2)?) << 16);
        // The form of an extensible format stands first in its identifier.
        let tag = match number(0) {
            Some(0xfffe) => number(24),
            tag => tag,
        };
        let form = match (tag, number(14)) {
            (Some(1), Some(16)) => Form::Pcm16,
            (Some(6), Some(8)) => Form::Alaw,
            (Some(7), Some(8)) => Form::Ulaw,
            _ => return Err(ClipError::Unsupported),
        };
        let channels = number(2)
            .filter(|count| matches!(count, 1 | 2))
            .map(usize::from);
        let rate_hz = rate(4).filter(|hz| matches!(hz, 8_000 | 16_000 | 48_000));
        let (Some(channels), Some(rate_hz)) = (channels, rate_hz) else {
            return Err(ClipError::Unsupported);
        };
        Ok(WavFormat {
            form,
            channels,
            rate_hz,
        })
    }

    fn read(&self, data: &[u8]) -> Clip {
        let pcm = |bytes: &[u8; 2]| i16::from_le_bytes(*bytes);
        let samples: Vec<i16> = match self.form {
            Form::Pcm16 => data.as_chunks::<2>().0.iter().map(pcm).collect(),
            Form::Alaw => data.iter().map(|code| alaw_decode(*code)).collect(),
            Form::Ulaw => data.iter().map(|code| ulaw_decode(*code)).collect(),
        };
        let middle = |pair: &[i16; 2]| i32::midpoint(pair[0].into(), pair[1].into()) as i16;
        let samples = match self.channels {
            2 => samples.as_chunks::<2>().0.iter().map(middle).collect(),
            _ => samples.into(),
        };
        Clip {
            samples,
            rate_hz: self.rate_hz,
        }
    }
}

/// What tells whether a file is still the one that was read.
type Version = (Option<SystemTime>, u64);

/// The clips that are played now.
#[derive(Default)]
pub struct Clips {
    /// What is not below is not read: names come over the network.
    folder: Option<PathBuf>,
    known: HashMap<PathBuf, (Version, Weak<Clip>)>,
}

impl Clips {
    /// No clips yet; files are read below `folder` alone.
    pub fn below(folder: Option<PathBuf>) -> Clips {
        let known = HashMap::new();
        Clips { folder, known }
    }

    /// Reads a file, or takes what was read before; nobody waits meanwhile.
    ///
    /// # Errors
    /// See [`ClipError`].
    pub fn load(clips: &Mutex<Clips>, name: &Path) -> Result<Arc<Clip>, ClipError> {
        let folder = clips.lock().folder.clone().ok_or(ClipError::Elsewhere)?;
        let path = &path_below(&folder, name)?;
        // Before it is opened: to open a pipe is to wait for its writer.
        if !path.metadata()?.is_file() {
            return Err(ClipError::Unknown);
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        let version = (about.modified().ok(), about.len());
        if let Some(clip) = clips.lock().find(path, version) {
            return Ok(clip);
        }
        if about.len() > CLIP_BYTES_MAX {
            return Err(ClipError::TooLong);
        }
        let mut bytes = Vec::new();
        // It may grow while it is read.
        file.take(CLIP_BYTES_MAX).read_to_end(&mut bytes)?;
        let clip = Arc::new(Clip::parse_named(path, &bytes)?);
        clips.lock().note(path, version, &clip);
        Ok(clip)
    }

    fn find(&self, path: &Path, version: Version) -> Option<Arc<Clip>> {
        let (known, clip) = self.known.get(path)?;
        clip.upgrade().filter(|_| *known == version)
    }

    fn note(&mut self, path: &Path, version: Version, clip: &Arc<Clip>) {
        if self.known.len() >= CLIPS_MAX {
            self.known.retain(|_, (_, clip)| clip.strong_count() > 0);
        }
        if self.known.len() < CLIPS_MAX {
            self.known
                .insert(path.into(), (version, Arc::downgrade(clip)));
        }
    }
}

/// The file that `name` means, relative or not, when it really is below `folder`. What is said
/// about others is the same whether they exist or not.
fn path_below(folder: &Path, name: &Path) -> Result<PathBuf, ClipError> {
    let path = folder.join(name);
    let climbs = path
        .components()
        .any(|part| matches!(part, Component::ParentDir));
    if climbs || !path.starts_with(folder) {
        return Err(ClipError::Elsewhere);
    }
    let path = path.canonicalize()?;
    if path.starts_with(folder.canonicalize()?) {
        Ok(path)
    } else {
        Err(ClipError::Elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::wav::head as wav_head;
    use proptest::prelude::*;

    fn wav(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
        let mut bytes = wav_head(rate_hz, samples.len() as u32 * 2).to_vec();
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_wav_file_is_read() {
        let clip = Clip::parse_wav(&wav(16_000, &[1, -2, 3])).expect("a clip");
        assert_eq!((&clip.samples[..], clip.rate_hz), (&[1, -2, 3][..], 16_000));
        assert_eq!(
            Clip::parse_wav(&wav(8_000, &[0; 16_000]))
                .expect("a clip")
                .lasts_ms(),
            2_000
        );
    }

    #[test]
    fn two_channels_become_one_and_chunks_before_the_data_are_passed_over() {
        let mut bytes = wav(8_000, &[10, 20, -10, -20]);
        bytes[22] = 2;
        let extra = b"LIST\x03\0\0\0abc\0";
        bytes.splice(36..36, extra.iter().copied());
        let clip = Clip::parse_wav(&bytes).expect("a clip");
        assert_eq!(&clip.samples[..], [15, -15]);
    }

    #[test]
    fn what_is_not_played_is_refused() {
        let refused = |bytes: &[u8]| Clip::parse_wav(bytes).expect_err("refused").to_string();
        assert_eq!(refused(b"hello"), ClipError::Unknown.to_string());
        assert_eq!(
            refused(&wav(44_100, &[0])),
            ClipError::Unsupported.to_string()
        );
        let mut bits = wav(8_000, &[0]);
        bits[34] = 24;
        assert_eq!(refused(&bits), ClipError::Unsupported.to_string());
    }

    #[test]
    fn a_file_is_read_once_while_it_is_played_and_again_when_it_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hello.ul");
        std::fs::write(&path, [0xff; 800]).expect("write");
        let clips = Mutex::new(Clips::below(Some(folder.path().into())));
        let load = |path: &Path| Clips::load(&clips, path);
        let first = load(&path).expect("a clip");
        assert_eq!((first.samples.len(), first.samples[0]), (800, 0));
        assert!(Arc::ptr_eq(&first, &load(&path).expect("a clip")));
        std::fs::write(&path, [0xff; 900]).expect("write");
        assert_eq!(
            load(Path::new("hello.ul")).expect("a clip").samples.len(),
            900
        );
        assert!(load(&folder.path().join("none.wav")).is_err());
        assert!(load(folder.path()).is_err());
    }

    #[test]
    fn only_files_below_the_folder_are_read() {
        let [prompts, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let secret = other.path().join("secret.ul");
        std::fs::write(&secret, [0xff; 800]).expect("write");
        std::os::unix::fs::symlink(&secret, prompts.path().join("link.ul")).expect("link");
        let clips = Mutex::new(Clips::below(Some(prompts.path().into())));
        let around = Path::new("../").join(other.path().file_name().expect("a name"));
        let absent = other.path().join("absent.ul");
        let link = PathBuf::from("link.ul");
        for name in [secret.clone(), absent, around.join("secret.ul"), link] {
            let refused = Clips::load(&clips, &name);
            assert!(matches!(refused, Err(ClipError::Elsewhere)), "{name:?}");
        }
        let none = Clips::load(&Mutex::default(), &secret);
        assert!(matches!(none, Err(ClipError::Elsewhere)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            real in any::<bool>(),
            places in prop::collection::vec((0_usize..80, any::<u8>()), 0..6),
        ) {
            if real {
                bytes = wav(8_000, &[7; 50]);
                places.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            }
            let _ = Clip::parse_wav(&bytes);
        }
    }
}
