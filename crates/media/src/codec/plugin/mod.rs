//! Codecs of shared libraries (`media.codecs`): G.729, AMR and what else is not brought along.
//!
//! Owner of the list of such codecs, one for the process: libraries are loaded at the start and
//! stay. `ffi` is the border; here is judged what a library says.

mod ffi;

use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use super::Coder;
use crate::limits::PLUGGED_CODECS_MAX;

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 32;

/// A codec of a library, by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluggedCodec(u8);

/// By its name and clock: another engine may have it at another place.
impl serde::Serialize for PluggedCodec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = ENTRIES.read();
        let entry = &entries[usize::from(self.0)];
        (&entry.name, entry.clock_hz).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for PluggedCodec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, clock_hz) = <(String, u32)>::deserialize(deserializer)?;
        let entries = ENTRIES.read();
        let is_it = |entry: &Entry| entry.name == name && entry.clock_hz == clock_hz;
        let place = entries.iter().position(is_it);
        let place = place.and_then(|place| u8::try_from(place).ok());
        let missing = || serde::de::Error::custom(format!("no library has the codec {name}"));
        place.map(PluggedCodec).ok_or_else(missing)
    }
}

/// What is known of it.
struct Entry {
    library: PathBuf,
    name: String,
    fmtp: Option<String>,
    clock_hz: u32,
    rate_hz: u32,
    frame_ms: u32,
    payload_type: Option<u8>,
    functions: ffi::Functions,
}

static ENTRIES: RwLock<Vec<Entry>> = RwLock::new(Vec::new());

/// Why a library cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", library.display())]
pub struct PluginError {
    library: PathBuf,
    reason: String,
}

/// Loads libraries. One that was loaded before is left as it is.
///
/// # Errors
/// The first one that cannot be used; those before it are loaded.
pub fn load(libraries: &[PathBuf]) -> Result<(), PluginError> {
    libraries.iter().try_for_each(|library| {
        load_one(library).map_err(|reason| PluginError {
            library: library.clone(),
            reason,
        })
    })
}

fn load_one(library: &Path) -> Result<(), String> {
    if !library.is_absolute() {
        return Err("name it by its whole path".into());
    }
    let mut entries = ENTRIES.write();
    if entries.iter().any(|entry| entry.library == library) {
        return Ok(());
    }
    let mut new = Vec::new();
    for said in ffi::load(library)? {
        let entry = judge(library, said)?;
        let twin = |known: &Entry| {
            known.name.eq_ignore_ascii_case(&entry.name) && known.clock_hz == entry.clock_hz
        };
        if entries.iter().chain(&new).any(twin) {
            return Err(format!("another library has the codec {}", entry.name));
        }
        new.push(entry);
    }
    if new.is_empty() {
        return Err("it has no codecs".into());
    }
    if entries.len() + new.len() > PLUGGED_CODECS_MAX {
        return Err(format!("there are more than {PLUGGED_CODECS_MAX} codecs"));
    }
    for entry in &new {
        tracing::info!(library = %library.display(), codec = entry.name, "loaded a codec");
    }
    entries.extend(new);
    Ok(())
}

fn judge(library: &Path, said: ffi::Said) -> Result<Entry, String> {
    let name = said.name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err("a codec has no name that can stand in a=rtpmap".into());
    }
    let bad = |what: &str| Err(format!("the codec {name} has {what}"));
    if super::is_built_in(&name) {
        return bad("the name of one that is built in");
    }
    if !matches!(said.rate_hz, 8_000 | 16_000 | 48_000) {
        return bad("samples of another rate than 8000, 16000 or 48000 Hz");
    }
    if !(1_000..=192_000).contains(&said.clock_hz) || !said.clock_hz.is_multiple_of(1_000) {
        return bad("a clock that is no whole number of kHz");
    }
    if !(1..=60).contains(&said.frame_ms) {
        return bad("frames of no length between 1 and 60 ms");
    }
    if said
        .fmtp
        .as_ref()
        .is_some_and(|text| text.contains(['\r', '\n']))
    {
        return bad("more than one line for a=fmtp");
    }
    let Some(functions) = said.functions else {
        return bad("no open, close, decode or encode");
    };
    Ok(Entry {
        library: library.to_owned(),
        fmtp: said.fmtp,
        clock_hz: said.clock_hz,
        rate_hz: said.rate_hz,
        frame_ms: said.frame_ms,
        payload_type: u8::try_from(said.payload_type)
            .ok()
            .filter(|number| *number < 96),
        functions,
        name,
    })
}

fn position(is_meant: impl FnMut(&Entry) -> bool) -> Option<PluggedCodec> {
    let at = ENTRIES.read().iter().position(is_meant)?;
    u8::try_from(at).ok().map(PluggedCodec)
}

impl PluggedCodec {
    /// By its name and clock.
    pub fn find(name: &str, clock_hz: u32) -> Option<PluggedCodec> {
        position(|entry| entry.name.eq_ignore_ascii_case(name) && entry.clock_hz == clock_hz)
    }

    /// By its name alone.
    pub fn named(name: &str) -> Option<PluggedCodec> {
        position(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// By its payload type.
    pub fn of_type(payload_type: u8) -> Option<PluggedCodec> {
        position(|entry| entry.payload_type == Some(payload_type))
    }

    fn read<T>(self, what: impl FnOnce(&Entry) -> T) -> T {
        // Entries are only added.
        what(&ENTRIES.read()[usize::from(self.0)])
    }

    /// Payload type that needs no `a=rtpmap`.
    pub fn static_type(self) -> Option<u8> {
        self.read(|entry| entry.payload_type)
    }

    /// Clock of RTP timestamps, Hz.
    pub fn clock_hz(self) -> u32 {
        self.read(|entry| entry.clock_hz)
    }

    /// Rate of samples, Hz.
    pub fn rate_hz(self) -> u32 {
        self.read(|entry| entry.rate_hz)
    }

    /// Sound in a frame, ms.
    pub fn frame_ms(self) -> u32 {
        self.read(|entry| entry.frame_ms)
    }

    /// What stands behind the payload type in `a=rtpmap`.
    pub fn rtpmap(self) -> String {
        self.read(|entry| format!("{}/{}", entry.name, entry.clock_hz))
    }

    /// What stands behind it in `a=fmtp`.
    pub fn fmtp(self) -> Option<String> {
        self.read(|entry| entry.fmtp.clone())
    }

    /// A coder with an empty memory; none when there is no memory.
    pub fn coder(self) -> Option<Box<dyn Coder>> {
        let (functions, rate_hz) = self.read(|entry| (entry.functions, entry.rate_hz));
        let state = ffi::State::open(functions)?;
        Some(Box::new(PluggedCoder { state, rate_hz }))
    }
}

/// A state of such a codec.
struct PluggedCoder {
    state: ffi::State,
    rate_hz: u32,
}

impl Coder for PluggedCoder {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        self.state.decode(payload, pcm)
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        self.state.encode(pcm, payload)
    }

    fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        self.state.conceal(pcm)
    }

    /// Nobody else can copy its memory.
    fn fork(&self) -> Option<Box<dyn Coder>> {
        None
    }
}
