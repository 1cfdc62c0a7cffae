//! The system's randomness, from the seed.
//!
//! Hash maps of the standard library and tokio's choice of whom to wake first begin with bytes of
//! `getrandom(2)`. The linker prefers this function to the one of the C library.

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// From now on what the system calls random follows from `seed`.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

fn next() -> u64 {
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    let mut mixed = STATE.fetch_add(step, Ordering::Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `getrandom(2)`: fills `buffer` and answers how many bytes it wrote.
///
/// # Safety
/// `buffer` must be valid for writing `length` bytes, as for the function it replaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        let [byte, ..] = next().to_le_bytes();
        // SAFETY: the caller vouches for `length` bytes behind `buffer`.
        unsafe { buffer.add(at).write(byte) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
