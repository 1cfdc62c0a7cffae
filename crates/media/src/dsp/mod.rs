//! Signal processing: rates, tones and the digits in them, noise, packets in step and the gaps
//! between.
//!
//! Pure; nothing is allocated after making. `jitter` and `conceal` are for those who listen at
//! their own pace; a relay hands on what comes as it comes.

pub mod conceal;
pub mod detect;
pub mod jitter;
pub mod noise;
pub mod resample;
pub mod tone;
