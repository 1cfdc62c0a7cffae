#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| raftpbx_media::fuzzing::stun(input));
