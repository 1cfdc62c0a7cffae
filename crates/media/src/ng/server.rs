//! The thread that reads NG datagrams and sweeps the calls each second.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Core;
use crate::epoll::monotonic_ns;
use crate::limits::{EVENTS_MAX, NG_BYTES_MAX, SWEEP_EVERY_MS};
use crate::sweep::sweep;
use crate::worker::Worker;

/// Starts the thread; without a socket it only sweeps.
pub(crate) fn start(core: Arc<Core>, socket: Option<UdpSocket>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("media-ng".into())
        .spawn(move || run(&core, socket.as_ref()))
}

fn run(core: &Core, socket: Option<&UdpSocket>) {
    let period = Duration::from_millis(SWEEP_EVERY_MS);
    let mut next = Instant::now() + period;
    let mut buffer = vec![0_u8; NG_BYTES_MAX];
    while !core.stopping.load(Ordering::Acquire) {
        let wait = next.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            sweep_calls(core);
            next = Instant::now() + period;
            continue;
        }
        match socket {
            Some(socket) => serve_one(core, socket, wait, &mut buffer),
            None => std::thread::park_timeout(wait),
        }
    }
}

fn serve_one(core: &Core, socket: &UdpSocket, wait: Duration, buffer: &mut [u8]) {
    // A zero timeout would mean to wait for ever.
    let wait = wait.max(Duration::from_millis(1));
    if let Err(error) = socket.set_read_timeout(Some(wait)) {
        tracing::error!(%error, "cannot time the NG socket");
    }
    // Timeouts and errors that earlier answers left behind (ECONNREFUSED) are no datagrams.
    let Ok((length, from)) = socket.recv_from(buffer) else {
        return;
    };
    if core.stopping.load(Ordering::Acquire) {
        return;
    }
    let answer = super::handle(core, &buffer[..length], from);
    if answer.is_empty() {
        return;
    }
    if let Err(error) = socket.send_to(&answer, from) {
        tracing::warn!(%error, %from, bytes = answer.len(), "cannot send an NG answer");
    }
}

/// Sends an empty datagram to our own NG socket, so that its thread need not time out.
pub(crate) fn wake(mut address: SocketAddr) {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    if let Err(error) = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], address)) {
        tracing::debug!(%error, "cannot wake the NG thread; it wakes within a second");
    }
}

fn sweep_calls(core: &Core) {
    let (lost, calls) = core.control.lock().end_broken();
    core.counts.lost.add(calls);
    for batch in lost.chunks(EVENTS_MAX) {
        (core.report)(batch.to_vec());
    }
    if let Some(path) = &core.fast_path {
        path.settle();
        let tend = |worker: &Worker| worker.tend(path, monotonic_ns());
        core.workers.iter().for_each(tend);
    }
    super::statistics::sample(core, monotonic_ns());
    let swept = sweep(
        &mut core.control.lock(),
        core.media_timeout_s,
        monotonic_ns(),
    );
    core.counts.timeouts.add(swept.silent);
    core.counts.abandoned.add(swept.abandoned);
    if !swept.events.is_empty() {
        (core.report)(swept.events);
    }
}
