//! Threads that read UDP for the engine: each has a socket of its own on the same address,
//! among which the kernel shares datagrams out by their source. So what one phone sends stays
//! in order, and what is no SIP at all never reaches the engine thread.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::shell::Shared;
use crate::config::Transport;
use crate::engine::Input;
use crate::engine::flow::Flow;
use crate::engine::metrics::Metrics;
use crate::limits::{MESSAGE_BYTES_MAX, UDP_BATCHES_MAX};
use crate::message::stun;
use crate::transport::udp::{self, Receiver};

/// What one look at a socket brought that is for the engine.
pub(super) struct Batch {
    local: SocketAddr,
    datagrams: Vec<(SocketAddr, Bytes)>,
}

/// The sockets of one worker, one for each listener.
pub(super) type WorkerSockets = Vec<(SocketAddr, std::net::UdpSocket)>;

/// Running workers. They end when nobody takes their batches any more.
#[derive(Default)]
pub(super) struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts one thread for each set of sockets; what they read comes out of the queue.
    pub fn start(
        &mut self,
        sets: Vec<WorkerSockets>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<mpsc::Receiver<Batch>> {
        let (sender, batches) = mpsc::channel(UDP_BATCHES_MAX);
        for (number, sockets) in sets.into_iter().enumerate() {
            let (sender, metrics) = (sender.clone(), metrics.clone());
            let name = format!("sip-udp-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                if let Err(error) = work(sockets, &sender, &metrics) {
                    tracing::error!(%error, "a UDP worker stopped");
                }
            })?;
            self.0.push(thread);
        }
        Ok(batches)
    }

    /// Waits until their sockets are closed.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a UDP worker panicked");
            }
        }
    }
}

/// Feeds the engine with what the workers read.
pub(super) async fn serve(mut batches: mpsc::Receiver<Batch>, shared: Shared) {
    while let Some(first) = batches.recv().await {
        let mut shell = shared.borrow_mut();
        let mut next = Some(first);
        while let Some(batch) = next {
            for (remote, bytes) in &batch.datagrams {
                let flow = Flow {
                    transport: Transport::Udp,
                    local: batch.local,
                    remote: *remote,
                };
                shell.feed(Input::Received { flow, bytes });
            }
            next = batches.try_recv().ok();
        }
        shell.finish();
    }
}

/// One worker, on its own thread.
fn work(
    sockets: WorkerSockets,
    sender: &mpsc::Sender<Batch>,
    metrics: &Arc<Metrics>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let local = LocalSet::new();
    for (address, socket) in sockets {
        let worker = Worker {
            local: address,
            answers: socket.try_clone()?,
            sender: sender.clone(),
            metrics: metrics.clone(),
        };
        local.spawn_local(async move { worker.read(UdpSocket::from_std(socket)?).await });
    }
    local.block_on(&runtime, sender.closed());
    Ok(())
}

/// Reads one socket.
struct Worker {
    local: SocketAddr,
    answers: std::net::UdpSocket,
    sender: mpsc::Sender<Batch>,
    metrics: Arc<Metrics>,
}

impl Worker {
    async fn read(self, socket: UdpSocket) -> io::Result<()> {
        let mut receiver = Receiver::default();
        loop {
            socket.readable().await?;
            match socket.try_io(Interest::READABLE, || receiver.receive(&socket)) {
                Ok(()) => {
                    let batch = self.sort(&receiver);
                    // A full queue makes the worker wait, and the kernel drops what is too much.
                    if !batch.datagrams.is_empty() && self.sender.send(batch).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => tracing::debug!(%error, "a datagram could not be received"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Answers STUN, drops what is no message, keeps the rest.
    fn sort(&self, receiver: &Receiver) -> Batch {
        let mut datagrams = Vec::with_capacity(receiver.count());
        let mut answers = Vec::new();
        for (remote, bytes) in receiver.datagrams() {
            if stun::is_stun(bytes) {
                match stun::answer(bytes, remote) {
                    Some(answer) => {
                        Metrics::count(&self.metrics.stun);
                        answers.push((remote, answer.into()));
                    }
                    None => Metrics::count(&self.metrics.malformed),
                }
            } else if may_be_message(bytes) {
                datagrams.push((remote, Bytes::copy_from_slice(bytes)));
            } else if !bytes.iter().all(u8::is_ascii_whitespace) {
                Metrics::count(&self.metrics.malformed);
            }
        }
        udp::send(&self.answers, &answers);
        Batch {
            local: self.local,
            datagrams,
        }
    }
}

/// Whether the engine has to see it: what has no end of headers is answered by nobody. Reading the
/// headers is the engine's business, which does it once.
fn may_be_message(mut bytes: &[u8]) -> bool {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes.len() <= MESSAGE_BYTES_MAX && memchr::memmem::find(bytes, b"\r\n\r\n").is_some()
}
