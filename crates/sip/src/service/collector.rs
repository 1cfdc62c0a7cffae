//! Sends copies of messages to a HEP collector, on a thread of its own: neither a name server
//! nor a full socket may hold up the engine.
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use crate::config::HepConfig;
use crate::engine::metrics::Metrics;
use crate::limits::{HEP_LOOK_UP, HEP_QUEUE_MAX};
use crate::trace::Seen;
use crate::trace::hep::{Agent, encode};

/// The engine's end of the queue. The thread ends when it is dropped.
pub(super) struct Collector {
    queue: SyncSender<Seen>,
    metrics: Arc<Metrics>,
}

impl Collector {
    pub fn start(config: HepConfig, metrics: Arc<Metrics>) -> io::Result<Collector> {
        let (queue, waiting) = sync_channel(HEP_QUEUE_MAX);
        let counted = metrics.clone();
        std::thread::Builder::new()
            .name("sip-hep".to_owned())
            .spawn(move || send_all(&waiting, &config, &counted))?;
        Ok(Collector { queue, metrics })
    }

    /// Queues a copy; it is dropped and counted when too many wait.
    pub fn offer(&self, seen: Seen) {
        if self.queue.try_send(seen).is_err() {
            Metrics::count(&self.metrics.trace.hep_dropped);
        }
    }
}

fn send_all(waiting: &Receiver<Seen>, config: &HepConfig, metrics: &Metrics) {
    let agent = Agent {
        id: config.id,
        password: config.password.clone(),
    };
    let mut way: Option<(UdpSocket, SocketAddr)> = None;
    let mut looked_up: Option<Instant> = None;
    while let Ok(seen) = waiting.recv() {
        if looked_up.is_none_or(|at| at.elapsed() >= HEP_LOOK_UP) {
            looked_up = Some(Instant::now());
            match open(&config.address) {
                Ok(found) => way = Some(found),
                Err(error) => {
                    let address = &config.address;
                    tracing::warn!(address, %error, "the HEP collector is unknown");
                }
            }
        }
        let sent = way.as_ref().is_some_and(|(socket, address)| {
            socket.send_to(&encode(&seen, &agent), address).is_ok()
        });
        let counter = if sent {
            &metrics.trace.hep_sent
        } else {
            &metrics.trace.hep_dropped
        };
        Metrics::count(counter);
    }
}

/// Never connected: a collector that is away must not turn into errors of later packets.
fn open(address: &str) -> io::Result<(UdpSocket, SocketAddr)> {
    let found = address.to_socket_addrs()?.next();
    let found = found.ok_or_else(|| io::Error::other("the name has no address"))?;
    let any: SocketAddr = match found {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    Ok((UdpSocket::bind(any)?, found))
}
