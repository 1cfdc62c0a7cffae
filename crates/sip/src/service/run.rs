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
    pub udp: Vec<(SocketAddr, std::net::UdpSocket)>,
    pub streams: Vec<(Listen, std::net::TcpListener)>,
    pub per_source_max: usize,
    pub name_servers: Vec<SocketAddr>,
    pub tls: Option<Arc<Tls>>,
    pub applications: std::net::TcpListener,
    pub secure_applications: Option<std::net::TcpListener>,
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
    let served = local.block_on(runtime, serve(shell, sockets, mailbox.clone()));
    if let Err(error) = served {
        tracing::error!(%error, "the engine stopped");
    }
    mailbox.close();
}

async fn serve(shell: Shell, sockets: Sockets, mailbox: Arc<Mailbox>) -> io::Result<()> {
    let shared: Shared = Rc::new(RefCell::new(shell));
    for (address, socket) in sockets.udp {
        let ours = UdpPort {
            socket: socket.try_clone()?,
            waiting: Vec::new(),
        };
        shared.borrow_mut().udp.insert(address, ours);
        spawn_local(receive(
            shared.clone(),
            address,
            UdpSocket::from_std(socket)?,
        ));
    }
    match Dns::open(&sockets.name_servers) {
        Ok(dns) => shared.borrow_mut().dns = Some(Rc::new(dns)),
        Err(error) => tracing::warn!(%error, "host names cannot be looked up"),
    }
    shared.borrow_mut().per_source_max = sockets.per_source_max;
    if let Some(tls) = &sockets.tls {
        shared.borrow_mut().tls = Some(tls.clone());
        spawn_local(tls.clone().follow());
    }
    for (listen, listener) in sockets.streams {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        spawn_local(streams::accept(shared.clone(), listen, listener));
    }
    let reception = Rc::new(applications::Reception::default());
    let open = [
        (Some(sockets.applications), None),
        (sockets.secure_applications, sockets.tls),
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
