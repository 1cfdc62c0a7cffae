//! The engine thread: one runtime, one core, a handful of tasks.
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{LocalSet, spawn_local};

use super::mailbox::Mailbox;
use super::shell::{Shared, Shell, UdpPort};
use super::udp_workers::{self, WorkerSockets, Workers};
use super::{applications, handlers, streams};
use crate::config::{Listen, Transport};
use crate::engine::Input;
use crate::engine::flow::Flow;
use crate::message::stun;
use crate::transport::dns::Dns;
use crate::transport::tls::Tls;
use crate::transport::udp::Receiver;

/// Sockets bound before the thread starts, so that errors reach the caller.
pub(super) struct Sockets {
    /// One for each reader of an address.
    pub udp: Vec<(SocketAddr, Vec<std::net::UdpSocket>)>,
    pub streams: Vec<(Listen, std::net::TcpListener)>,
    pub per_source_max: usize,
    pub name_servers: Vec<SocketAddr>,
    pub tls: Option<Arc<Tls>>,
    pub applications: std::net::TcpListener,
    pub secure_applications: Option<std::net::TcpListener>,
    /// The certificate shown to applications.
    pub applications_tls: Option<Arc<Tls>>,
}

/// Runs until the mailbox says stop.
pub(super) fn run(
    runtime: &tokio::runtime::Runtime,
    shell: Shell,
    sockets: Sockets,
    mailbox: &Arc<Mailbox>,
) {
    mailbox.adopt();
    let local = LocalSet::new();
    let mut workers = Workers::default();
    let served = serve(shell, sockets, mailbox.clone(), &mut workers);
    if let Err(error) = local.block_on(runtime, served) {
        tracing::error!(%error, "the engine stopped");
    }
    // The tasks end here, and with them the queue that the workers fill.
    drop(local);
    workers.join();
    mailbox.close();
}

async fn serve(
    shell: Shell,
    sockets: Sockets,
    mailbox: Arc<Mailbox>,
    workers: &mut Workers,
) -> io::Result<()> {
    let shared: Shared = Rc::new(RefCell::new(shell));
    open_udp(&shared, sockets.udp, workers)?;
    match Dns::open(&sockets.name_servers) {
        Ok(dns) => shared.borrow_mut().dns = Some(Rc::new(dns)),
        Err(error) => tracing::warn!(%error, "host names cannot be looked up"),
    }
    shared.borrow_mut().per_source_max = sockets.per_source_max;
    shared.borrow_mut().tls = sockets.tls.clone();
    let own = sockets.applications_tls.iter();
    let own = own.filter(|own| {
        sockets
            .tls
            .as_ref()
            .is_none_or(|tls| !Arc::ptr_eq(own, tls))
    });
    for tls in sockets.tls.iter().chain(own) {
        spawn_local(tls.clone().follow());
    }
    for (listen, listener) in sockets.streams {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        spawn_local(streams::accept(shared.clone(), listen, listener));
    }
    let reception = Rc::new(applications::Reception::default());
    let open = [
        (Some(sockets.applications), None),
        (sockets.secure_applications, sockets.applications_tls),
    ];
    for (listener, tls) in open {
        let Some(listener) = listener else { continue };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (shared, reception) = (shared.clone(), reception.clone());
        spawn_local(applications::accept(shared, reception, listener, tls));
    }
    spawn_local(streams::errands(shared.clone()));
    spawn_local(handlers::errands(shared.clone()));
    spawn_local(keep_time(shared.clone()));
    loop {
        {
            let mut shell = shared.borrow_mut();
            shell.finish();
            if shell.stopped {
                return Ok(());
            }
        }
        mailbox.added().await;
    }
}

/// The first socket of each address sends; if it is the only one, this thread reads it, too.
fn open_udp(
    shared: &Shared,
    udp: Vec<(SocketAddr, Vec<std::net::UdpSocket>)>,
    workers: &mut Workers,
) -> io::Result<()> {
    let mut sets: Vec<WorkerSockets> = Vec::new();
    for (address, mut sockets) in udp {
        let ours = UdpPort {
            socket: sockets[0].try_clone()?,
            waiting: Vec::new(),
        };
        shared.borrow_mut().udp.insert(address, ours);
        if sockets.len() == 1 {
            let socket = UdpSocket::from_std(sockets.remove(0))?;
            spawn_local(receive(shared.clone(), address, socket));
            continue;
        }
        sets.resize_with(sets.len().max(sockets.len()), Vec::new);
        for (set, socket) in sets.iter_mut().zip(sockets) {
            set.push((address, socket));
        }
    }
    if !sets.is_empty() {
        let metrics = shared.borrow().metrics.clone();
        let batches = workers.start(sets, &metrics)?;
        spawn_local(udp_workers::serve(batches, shared.clone()));
    }
    Ok(())
}

/// Reads one UDP socket in batches.
async fn receive(shared: Shared, local: SocketAddr, socket: UdpSocket) {
    let mut receiver = Receiver::default();
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_io(Interest::READABLE, || receiver.receive(&socket)) {
            Ok(()) => {
                let mut shell = shared.borrow_mut();
                for (remote, bytes) in receiver.datagrams() {
                    if stun::is_stun(bytes) {
                        shell.answer_stun(local, remote, bytes);
                        continue;
                    }
                    let flow = Flow {
                        transport: Transport::Udp,
                        local,
                        remote,
                    };
                    shell.feed(Input::Received { flow, bytes });
                }
                shell.finish();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
        tokio::task::yield_now().await;
    }
}

/// Ticks the core when its next timer is due.
async fn keep_time(shared: Shared) {
    let clock = shared.borrow().clock.clone();
    loop {
        let wait_ms = shared.borrow_mut().sleep_ms();
        match wait_ms {
            Some(0) => {
                shared.borrow_mut().turn(Input::Tick);
                tokio::task::yield_now().await;
            }
            Some(wait_ms) => {
                let sleep = tokio::time::sleep(Duration::from_millis(wait_ms));
                tokio::select! {
                    () = sleep => shared.borrow_mut().turn(Input::Tick),
                    () = clock.notified() => {}
                }
            }
            None => clock.notified().await,
        }
    }
}
