//! What is said for recordings, and what is read back from their files.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raftpbx_media::codec::ulaw_encode;

/// Rate and samples of a WAV file whose head must agree with its length.
pub fn read(path: &Path) -> (u32, Vec<i16>) {
    let bytes = std::fs::read(path).expect("a file");
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    assert_eq!((&bytes[..4], &bytes[36..40]), (&b"RIFF"[..], &b"data"[..]));
    assert!(
        number(40) as usize <= bytes.len() - 44,
        "{}",
        path.display()
    );
    let data = bytes[44..44 + number(40) as usize].as_chunks::<2>().0;
    (
        number(24),
        data.iter()
            .map(|sample| i16::from_le_bytes(*sample))
            .collect(),
    )
}

pub fn part(base: &str, name: &str) -> PathBuf {
    format!("{base}-{name}.wav").into()
}

/// Milliseconds at which something is heard.
pub fn loud_ms((rate_hz, samples): &(u32, Vec<i16>)) -> usize {
    let loud = samples
        .iter()
        .filter(|sample| sample.unsigned_abs() > 500)
        .count();
    loud * 1_000 / *rate_hz as usize
}

/// Says something loud for this long, a packet every 20 ms.
pub fn speak(phone: &UdpSocket, to: SocketAddr, ssrc: u8, value: i16, lasts_ms: u64) {
    let began = Instant::now();
    for n in 0..lasts_ms / 20 {
        let mut packet = vec![0x80, 0, 0, n as u8, 0, 0];
        packet.extend((n as u16 * 160).to_be_bytes());
        packet.extend([0, 0, 0, ssrc]);
        packet.extend([ulaw_encode(value); 160]);
        phone.send_to(&packet, to).expect("send");
        let due = Duration::from_millis((n + 1) * 20);
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
    }
}
