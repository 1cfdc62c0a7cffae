//! A recording that goes on at another engine, in further files.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{RecordError, Recorder, Recording, RecordingFormat, plain};

/// Longest beginning of file names that a name makes, bytes.
const NAME_BYTES_MAX: usize = 100;

/// The same with what makes it unique.
const STEM_BYTES_MAX: usize = NAME_BYTES_MAX + 9;

/// A recording as another engine goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingState {
    /// What the names of the files of all its parts begin with.
    stem: String,
    /// Which part this is, from 1.
    part: u32,
    /// How it is written.
    pub(super) format: RecordingFormat,
    /// Sound above 4 kHz is kept.
    wide: bool,
    /// What comes is left out.
    pub(super) paused: bool,
}

impl RecordingState {
    /// The first part of a recording with this name.
    pub(super) fn new(name: &str, format: RecordingFormat, wide: bool) -> RecordingState {
        let name = plain(name, NAME_BYTES_MAX);
        RecordingState {
            stem: format!("{name}-{:08x}", rand::random::<u32>()),
            part: 1,
            format,
            wide,
            paused: false,
        }
    }

    /// The part behind this one; its stem may be anybody's text.
    fn next(&self) -> RecordingState {
        RecordingState {
            stem: plain(&self.stem, STEM_BYTES_MAX),
            part: self.part.saturating_add(1),
            ..*self
        }
    }

    /// Samples a second.
    pub(super) fn rate_hz(&self) -> u32 {
        if self.wide { 16_000 } else { 8_000 }
    }

    /// What the names of this part's files begin with. Later parts sort behind all files of earlier
    /// ones, and two engines that go on with the same part differ in the second of their beginning.
    pub(super) fn part_name(&self) -> String {
        let RecordingState { stem, part, .. } = self;
        if *part == 1 {
            return stem.clone();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        format!("{stem}-part{part:02}-{seconds:010}")
    }

    /// Whether what comes is left out.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

impl Recorder {
    /// Goes on with the recording of a call that another engine has begun: in files of its own,
    /// paused if it was. Those of the other engine are left as they are.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn go_on(&mut self, state: &RecordingState, now_ns: u64) -> Result<Recording, RecordError> {
        let paused = state.paused;
        let next = RecordingState {
            paused: false,
            ..state.next()
        };
        let mut recording = self.begin(next, true, now_ns)?;
        if paused {
            recording.pause(now_ns);
        }
        Ok(recording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_parts_sort_behind_all_files_of_earlier_ones_and_stay_in_the_folder() {
        let first = RecordingState::new("../a/b", RecordingFormat::Wav, true);
        assert!(first.stem.starts_with("___a_b-"), "{}", first.stem);
        let mut names = Vec::new();
        let mut state = first;
        for _ in 0..12 {
            let part = state.part_name();
            names.extend(["0", "1", "mix"].map(|party| format!("{part}-{party}.wav")));
            state = state.next();
        }
        assert!(names.is_sorted(), "{names:?}");
        state.stem = "../../etc/passwd".into();
        assert!(
            state
                .next()
                .part_name()
                .starts_with("______etc_passwd-part14-")
        );
    }
}
