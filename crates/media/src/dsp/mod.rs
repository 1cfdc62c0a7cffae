//! Signal processing: rates, tones and the digits in them.
//!
//! Pure; nothing is allocated after making.

pub mod detect;
pub mod resample;
pub mod tone;
