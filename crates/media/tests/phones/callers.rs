//! Phones in rooms: what they sing and what they hear, told apart by tones.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use raftpbx_media::codec::Codec;

use super::{DEADLINE, Lab, Phone, relay_address};

/// Sources of streams that nobody has yet.
static SOURCES: AtomicU32 = AtomicU32::new(1);

/// A phone in a call with nobody, and where it sends to.
pub struct Caller {
    pub rtp: UdpSocket,
    pub to: SocketAddr,
    pub codec: Codec,
    pub call: String,
}

impl Caller {
    pub fn call(lab: &Lab, call: &str, codec: Codec) -> Caller {
        let (phone, nobody) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
        let words = |sdp: String| match codec {
            Codec::Pcmu => sdp,
            Codec::G722 => sdp.replace(
                "RTP/AVP 0\r\na=rtpmap:0 PCMU",
                "RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:9 G722",
            ),
            _ => sdp.replace(
                "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000",
                "RTP/AVP 111\r\na=rtpmap:111 opus/48000/2",
            ),
        };
        lab.sdp("offer", call, ["phone", ""], &words(phone.sdp("")));
        let answer = lab.sdp("answer", call, ["phone", "room"], &words(nobody.sdp("")));
        Caller {
            to: relay_address(&answer),
            rtp: phone.rtp,
            codec,
            call: call.into(),
        }
    }

    fn payload_type(&self) -> u8 {
        match self.codec {
            Codec::Pcmu => 0,
            Codec::G722 => 9,
            _ => 111,
        }
    }

    /// A tone of this frequency, a packet every 20 ms, until `over`.
    pub fn sing(&self, hz: f64, over: &AtomicBool) {
        let mut coder = self.codec.coder(16_000).expect("memory");
        let rate_hz = coder.rate_hz();
        let samples = rate_hz as usize / 50;
        let units = self.codec.clock_hz() / 50;
        let began = Instant::now();
        let mut sequence = 0_u16;
        // Whoever begins anew is another source.
        let source = SOURCES.fetch_add(1, Ordering::Relaxed);
        while !over.load(Ordering::Relaxed) {
            let at = |n: usize| (usize::from(sequence) * samples + n) as f64 / f64::from(rate_hz);
            let sample = |n: usize| (5_000.0 * (std::f64::consts::TAU * hz * at(n)).sin()) as i16;
            let pcm: Vec<i16> = (0..samples).map(sample).collect();
            let mut payload = [0; 1_000];
            let length = coder.encode(&pcm, &mut payload).expect("encoded");
            let mut packet = vec![0x80, self.payload_type()];
            packet.extend(sequence.to_be_bytes());
            packet.extend((u32::from(sequence) * units).to_be_bytes());
            packet.extend(source.to_be_bytes());
            packet.extend(&payload[..length]);
            self.rtp.send_to(&packet, self.to).expect("send");
            sequence += 1;
            let due = Duration::from_millis(u64::from(sequence) * 20);
            std::thread::park_timeout(due.saturating_sub(began.elapsed()));
        }
    }

    /// Listens for so many packets, of which the newest second is answered, and checks the stream.
    pub fn listen(&self, packets: usize) -> (u32, Vec<i16>) {
        let mut coder = self.codec.coder(16_000).expect("memory");
        let mut pcm = vec![0; 12_000];
        let mut heard = Vec::new();
        let mut last: Option<(u16, u32, u32)> = None;
        let mut buffer = [0; 2_048];
        for _ in 0..packets {
            let (length, _) = self.rtp.recv_from(&mut buffer).expect("a packet in time");
            let number =
                |at: usize| u32::from_be_bytes(buffer[at..at + 4].try_into().expect("four"));
            let sequence = u16::from_be_bytes([buffer[2], buffer[3]]);
            let head = (sequence, number(4), number(8));
            assert_eq!(buffer[1] & 0x7f, self.payload_type());
            if let Some((sequence, time, source)) = last {
                assert_eq!((head.0, head.2), (sequence.wrapping_add(1), source));
                let step = head.1.wrapping_sub(time);
                assert!(step > 0 && step < self.codec.clock_hz(), "{step}");
            }
            last = Some(head);
            let count = coder.decode(&buffer[12..length], &mut pcm).expect("sound");
            heard.extend(&pcm[..count]);
        }
        let second = coder.rate_hz() as usize;
        let newest = heard.len().saturating_sub(second / 2);
        (coder.rate_hz(), heard.split_off(newest))
    }

    /// Takes what waits out of the socket.
    pub fn drain(&self) {
        let mut buffer = [0; 2_048];
        self.rtp.set_nonblocking(true).expect("a socket");
        while self.rtp.recv(&mut buffer).is_ok() {}
        self.rtp.set_nonblocking(false).expect("a socket");
        self.rtp.set_read_timeout(Some(DEADLINE)).expect("a socket");
    }
}

/// Does something while a phone sings.
pub fn while_singing(caller: &Caller, hz: f64, act: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| caller.sing(hz, &over));
        // Also when it fails, or the singer would never end.
        let _end = End(&over);
        act();
    });
}

/// Says at its end that something is over.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Amplitude of a frequency (Goertzel).
pub fn amplitude((rate_hz, samples): &(u32, Vec<i16>), hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / f64::from(*rate_hz)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / samples.len() as f64
}
