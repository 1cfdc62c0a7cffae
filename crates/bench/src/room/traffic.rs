//! Sends what parties say and counts what they hear.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Options;
use super::set_up::payload_type;
use crate::sound::voice;
use crate::{BenchError, cpu};

/// Rounds of 20 ms in a second, and seconds of warm-up.
const ROUNDS: u32 = 50;
const WARM_UP: u32 = 2;

/// Binds a socket for each party.
///
/// # Errors
/// An address is not of this machine, or a port is taken.
pub fn bind(options: &Options) -> Result<Vec<UdpSocket>, BenchError> {
    let one = |n: usize| {
        let port = match options.first_port {
            0 => 0,
            first => first + 2 * n as u16,
        };
        let failed = BenchError::system(format!("bind a party to {}:{port}", options.ip));
        UdpSocket::bind((options.ip, port)).map_err(failed)
    };
    (0..options.parties).map(one).collect()
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    server_cpu_s: f64,
    own_cpu_s: f64,
    late_rounds: u64,
}

/// Runs the load to its end; the report.
///
/// # Errors
/// The measured process is gone, or a thread failed.
pub fn run(
    options: &Options,
    sockets: &[UdpSocket],
    targets: &[SocketAddr],
) -> Result<Value, BenchError> {
    let heard: Vec<AtomicU64> = sockets.iter().map(|_| AtomicU64::new(0)).collect();
    let (counting, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| receive_all(sockets, &heard, &counting, &over));
        let measured = send_all(options, sockets, targets, &counting);
        over.store(true, Ordering::Release);
        measured
    })?;
    let heard: Vec<u64> = heard
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .collect();
    Ok(report(options, &measured, &heard))
}

fn send_all(
    options: &Options,
    sockets: &[UdpSocket],
    targets: &[SocketAddr],
    counting: &AtomicBool,
) -> Result<Measured, BenchError> {
    let sending = options.talkers + options.open;
    let voices = (0..sending)
        .map(|n| {
            let pitch_hz = 90.0 + 13.0 * (n % 16) as f64;
            voice(options.codec, pitch_hz, n >= options.talkers)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let payload_type = payload_type(options.codec);
    let units = options.codec.clock_hz() / ROUNDS;
    let cpu_now = || -> Result<(f64, f64), BenchError> {
        let server = options.pid.map_or(Ok(0.0), cpu::seconds)?;
        Ok((server, cpu::seconds(std::process::id())?))
    };
    let (mut measured, mut before) = (Measured::default(), (0.0, 0.0));
    let mut packet = Vec::with_capacity(2_000);
    let start = Instant::now();
    for round in 0..ROUNDS * (WARM_UP + options.seconds) {
        if round == ROUNDS * WARM_UP {
            before = cpu_now()?;
            counting.store(true, Ordering::Release);
        }
        for (n, voice) in voices.iter().enumerate() {
            // Evenly over the round, as parties of a meeting are not in step.
            if n % 10 == 0 {
                let due = Duration::from_millis(u64::from(round) * 20)
                    + Duration::from_micros(20_000 * n as u64 / voices.len() as u64);
                let now = start.elapsed();
                std::thread::sleep(due.saturating_sub(now));
                measured.late_rounds += u64::from(now > due + Duration::from_millis(5));
            }
            let payload = &voice[(round as usize + n) % voice.len()];
            packet.clear();
            packet.extend([0x80, payload_type]);
            packet.extend((round as u16).to_be_bytes());
            packet.extend((round.wrapping_mul(units)).to_be_bytes());
            packet.extend((n as u32 + 1).to_be_bytes());
            packet.extend_from_slice(payload);
            sockets[n]
                .send_to(&packet, targets[n])
                .map_err(BenchError::system("send"))?;
        }
        let next = Duration::from_millis(u64::from(round + 1) * 20);
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
    counting.store(false, Ordering::Release);
    let after = cpu_now()?;
    measured.server_cpu_s = after.0 - before.0;
    measured.own_cpu_s = after.1 - before.1;
    Ok(measured)
}

fn receive_all(
    sockets: &[UdpSocket],
    heard: &[AtomicU64],
    counting: &AtomicBool,
    over: &AtomicBool,
) {
    let poll = |socket: &UdpSocket| libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<libc::pollfd> = sockets.iter().map(poll).collect();
    let mut buffer = [0_u8; 2_048];
    while !over.load(Ordering::Acquire) {
        // SAFETY: pointer and length describe `polled`.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 50) };
        let counts = u64::from(counting.load(Ordering::Acquire));
        for (socket, heard) in polled.iter().zip(heard) {
            if socket.revents & libc::POLLIN == 0 {
                continue;
            }
            // SAFETY: pointer and length describe `buffer`.
            while unsafe {
                let room = buffer.as_mut_ptr().cast();
                libc::recv(socket.fd, room, buffer.len(), libc::MSG_DONTWAIT)
            } > 0
            {
                heard.fetch_add(counts, Ordering::Relaxed);
            }
        }
        // A fifth of a frame: waking for each packet would measure this program.
        std::thread::sleep(Duration::from_millis(4));
    }
}

fn report(options: &Options, measured: &Measured, heard: &[u64]) -> Value {
    let round = |value: f64| (value * 1_000.0).round() / 1_000.0;
    let expected = u64::from(options.seconds * ROUNDS) * options.parties as u64;
    let received: u64 = heard.iter().sum();
    let frames = received.max(1) as f64;
    let server = options.pid.map(|_| measured.server_cpu_s);
    json!({
        "tag": options.tag,
        "codec": options.codec.rtpmap(),
        "rate": options.rate_hz,
        "parties": options.parties,
        "talkers": options.talkers,
        "open": options.open,
        "seconds": options.seconds,
        "expected": expected,
        "received": received,
        "least_heard": heard.iter().min(),
        "cpu_s": server.map(round),
        "cpu_us_per_participant_frame": server.map(|cpu| round(cpu * 1e6 / frames)),
        "generator_cpu_s": round(measured.own_cpu_s),
        "late_rounds": measured.late_rounds,
    })
}
