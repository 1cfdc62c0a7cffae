//! The border to shared libraries of codecs: `include/raftpbx_codec.h` in Rust.
//!
//! All unsafe code about them is here. Invariant: a library that was loaded is never unloaded, so
//! what it has pointed at stays. What it answers is checked where that is possible; for the rest
//! it is trusted as our own code is, because it runs in our process.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

/// `RAFTPBX_CODEC_ABI`.
pub const ABI: u32 = 1;

/// The name of the function that a library exports.
const ENTRANCE: &CStr = c"raftpbx_codecs";

/// Most codecs of one library: a list without an end is not read for ever.
const CODECS_MAX: usize = 16;

/// `struct raftpbx_codec`.
#[repr(C)]
struct RawCodec {
    abi: u32,
    clock_hz: u32,
    rate_hz: u32,
    frame_ms: u32,
    payload_type: i32,
    name: *const c_char,
    fmtp: *const c_char,
    open: Option<unsafe extern "C" fn() -> *mut c_void>,
    close: Option<unsafe extern "C" fn(*mut c_void)>,
    decode: Option<unsafe extern "C" fn(*mut c_void, *const u8, u32, *mut i16, u32) -> i32>,
    encode: Option<unsafe extern "C" fn(*mut c_void, *const i16, u32, *mut u8, u32) -> i32>,
    conceal: Option<unsafe extern "C" fn(*mut c_void, *mut i16, u32) -> i32>,
}

type Entrance = unsafe extern "C" fn(u32) -> *const *const RawCodec;

/// The functions of a codec.
#[derive(Clone, Copy)]
pub struct Functions {
    open: unsafe extern "C" fn() -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    decode: unsafe extern "C" fn(*mut c_void, *const u8, u32, *mut i16, u32) -> i32,
    encode: unsafe extern "C" fn(*mut c_void, *const i16, u32, *mut u8, u32) -> i32,
    conceal: Option<unsafe extern "C" fn(*mut c_void, *mut i16, u32) -> i32>,
}

/// What a library says about a codec, not judged yet.
pub struct Said {
    /// Clock of RTP timestamps, Hz.
    pub clock_hz: u32,
    /// Rate of samples, Hz.
    pub rate_hz: u32,
    /// Sound in a frame, ms.
    pub frame_ms: u32,
    /// Payload type that needs no `a=rtpmap`, or a negative number.
    pub payload_type: i32,
    /// As in `a=rtpmap`.
    pub name: String,
    /// As in `a=fmtp`.
    pub fmtp: Option<String>,
    /// None when one is missing.
    pub functions: Option<Functions>,
}

/// Loads a library; the codecs it has.
///
/// # Errors
/// Why it cannot be used.
pub fn load(path: &Path) -> Result<Vec<Said>, String> {
    let file = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its name has a zero byte")?;
    // SAFETY: the name ends with a zero byte. What the library does when it is loaded is up to
    // whoever named it in the configuration.
    let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(last_error());
    }
    // SAFETY: the library is loaded, and the name ends with a zero byte.
    let symbol = unsafe { libc::dlsym(library, ENTRANCE.as_ptr()) };
    if symbol.is_null() {
        return Err("it has no function raftpbx_codecs".into());
    }
    // SAFETY: the header gives this type to the function of this name.
    let entrance = unsafe { std::mem::transmute::<*mut c_void, Entrance>(symbol) };
    // SAFETY: called as the header has it.
    let list = unsafe { entrance(ABI) };
    if list.is_null() {
        return Err(format!("it does not know version {ABI} of the interface"));
    }
    let mut codecs = Vec::new();
    for n in 0..CODECS_MAX {
        // SAFETY: the list goes on to the first null pointer, which was not met yet; what it
        // points at stays.
        let raw = unsafe { (*list.add(n)).as_ref() };
        let Some(raw) = raw else { break };
        if raw.abi != ABI {
            return Err(format!("a codec has version {} of the interface", raw.abi));
        }
        codecs.push(said(raw));
    }
    Ok(codecs)
}

fn said(raw: &RawCodec) -> Said {
    let functions = || {
        Some(Functions {
            open: raw.open?,
            close: raw.close?,
            decode: raw.decode?,
            encode: raw.encode?,
            conceal: raw.conceal,
        })
    };
    Said {
        clock_hz: raw.clock_hz,
        rate_hz: raw.rate_hz,
        frame_ms: raw.frame_ms,
        payload_type: raw.payload_type,
        name: text(raw.name).unwrap_or_default(),
        fmtp: text(raw.fmtp),
        functions: functions(),
    }
}

fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and the header wants text that ends with a zero byte.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned())
}

fn last_error() -> String {
    // SAFETY: the text stays until the next call of this thread, and is copied before.
    text(unsafe { libc::dlerror() }).unwrap_or_else(|| "nobody says why".into())
}

/// A state of a codec.
pub struct State {
    functions: Functions,
    pointer: NonNull<c_void>,
}

// SAFETY: the header lets a state go from thread to thread, and `State` is used through `&mut`.
unsafe impl Send for State {}

impl State {
    /// A new one; none when there is no memory.
    pub fn open(functions: Functions) -> Option<State> {
        // SAFETY: called as the header has it.
        let pointer = NonNull::new(unsafe { (functions.open)() })?;
        Some(State { functions, pointer })
    }

    /// Reads a payload; the number of samples.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        let (bytes, room) = (payload.len() as u32, pcm.len() as u32);
        let state = self.pointer.as_ptr();
        // SAFETY: pointers and lengths describe `payload` and `pcm`; the state is ours alone.
        let count = unsafe {
            (self.functions.decode)(state, payload.as_ptr(), bytes, pcm.as_mut_ptr(), room)
        };
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= pcm.len())
    }

    /// Writes samples; the length of the payload.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        let (samples, room) = (pcm.len() as u32, payload.len() as u32);
        let state = self.pointer.as_ptr();
        // SAFETY: pointers and lengths describe `pcm` and `payload`; the state is ours alone.
        let length = unsafe {
            (self.functions.encode)(state, pcm.as_ptr(), samples, payload.as_mut_ptr(), room)
        };
        let length = usize::try_from(length).ok()?;
        (length > 0 && length <= payload.len()).then_some(length)
    }

    /// Fills a gap; false when the codec does not.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        let Some(conceal) = self.functions.conceal else {
            return false;
        };
        let state = self.pointer.as_ptr();
        // SAFETY: pointer and length describe `pcm`; the state is ours alone.
        unsafe { conceal(state, pcm.as_mut_ptr(), pcm.len() as u32) == 0 }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: nobody else has the state, and it is not used again.
        unsafe { (self.functions.close)(self.pointer.as_ptr()) };
    }
}
