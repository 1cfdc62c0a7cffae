//! The encoder of libopus in memory of ours, so that it can be copied.
//!
//! The library promises that its state is one block that may be copied as it is
//! (`opus_encoder_create` in `opus.h`); the safe crate does not let anybody do it.

use std::ffi::c_int;

use opusic_sys as ffi;

/// A mono encoder for speech.
pub struct Encoder {
    /// In words of the widest alignment the library may want.
    state: Box<[u128]>,
}

impl Encoder {
    /// With an empty memory; none when the library refuses the rate, Hz.
    pub fn new(rate_hz: u32) -> Option<Encoder> {
        // SAFETY: it only computes a size.
        let bytes = usize::try_from(unsafe { ffi::opus_encoder_get_size(1) }).ok()?;
        let mut encoder = Encoder {
            state: vec![0; bytes.div_ceil(size_of::<u128>())].into(),
        };
        // SAFETY: the block is as large and as aligned as the library wants it.
        let made = unsafe {
            let application = ffi::OPUS_APPLICATION_VOIP;
            ffi::opus_encoder_init(encoder.place(), rate_hz as i32, 1, application)
        };
        (made == ffi::OPUS_OK).then_some(encoder)
    }

    /// One that goes on exactly as this one would.
    pub fn fork(&self) -> Encoder {
        let state = self.state.clone();
        Encoder { state }
    }

    fn place(&mut self) -> *mut ffi::OpusEncoder {
        self.state.as_mut_ptr().cast()
    }

    fn set(&mut self, request: c_int, value: c_int) -> bool {
        // SAFETY: the state is valid, and all requests of this file take one number.
        unsafe { ffi::opus_encoder_ctl(self.place(), request, value) == ffi::OPUS_OK }
    }

    /// Bits a second.
    pub fn set_bitrate(&mut self, bits: i32) -> bool {
        self.set(ffi::OPUS_SET_BITRATE_REQUEST, bits)
    }

    /// Effort, 0 to 10.
    pub fn set_complexity(&mut self, effort: i32) -> bool {
        self.set(ffi::OPUS_SET_COMPLEXITY_REQUEST, effort)
    }

    /// Whether packets may hold a rough copy of the one before.
    pub fn set_inband_fec(&mut self, wanted: bool) -> bool {
        self.set(ffi::OPUS_SET_INBAND_FEC_REQUEST, wanted.into())
    }

    /// Whether packets are to be understood without those before them.
    pub fn set_prediction_disabled(&mut self, disabled: bool) -> bool {
        self.set(ffi::OPUS_SET_PREDICTION_DISABLED_REQUEST, disabled.into())
    }

    /// By how many samples what it writes is late.
    pub fn lookahead(&mut self) -> Option<u32> {
        let mut samples: i32 = 0;
        // SAFETY: the state is valid and the request writes one number.
        let result = unsafe {
            let request = ffi::OPUS_GET_LOOKAHEAD_REQUEST;
            ffi::opus_encoder_ctl(self.place(), request, &raw mut samples)
        };
        u32::try_from(samples)
            .ok()
            .filter(|_| result == ffi::OPUS_OK)
    }

    /// Writes a frame; its length, none when it does not fit or is no frame of Opus.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        let (samples, room) = (i32::try_from(pcm.len()).ok()?, payload.len());
        let room = i32::try_from(room).unwrap_or(i32::MAX);
        let out = payload.as_mut_ptr();
        // SAFETY: pointers and lengths describe `pcm` and `payload`, and the state is valid.
        let written = unsafe { ffi::opus_encode(self.place(), pcm.as_ptr(), samples, out, room) };
        usize::try_from(written).ok().filter(|length| *length > 0)
    }
}
