//! Connections of phones and connections to servers: admission, handshakes, name lookups.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::shell::{Outflow, Seat, Shared};
use super::{byte_stream, web_socket};
use crate::config::{Listen, Transport};
use crate::engine::Input;
use crate::engine::flow::Flow;
use crate::engine::location::NameQuery;
use crate::engine::metrics::Metrics;
use crate::limits::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, LOOKUP_TIMEOUT};
use crate::transport::bind;
use crate::transport::tls::{Tls, Wire};

/// How long to wait when no connection can be accepted.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// When the kernel begins to ask whether a silent peer is still there, and how often.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// A connection after its handshakes.
enum Ready {
    Bytes(Box<dyn Wire>),
    Web(Box<web_socket::Socket>),
}

/// Accepts connections of peers for ever.
pub(super) async fn accept(shared: Shared, listen: Listen, listener: TcpListener) {
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            // Out of descriptors: others may go meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let flow = Flow {
            transport: listen.transport,
            local: listen.address,
            remote,
        };
        let seat = shared.borrow_mut().admit(flow);
        if let Some((seat, outflow)) = seat {
            spawn_local(welcome(shared.clone(), seat, stream, outflow));
        }
    }
}

/// Makes the connections and looks up the names the core asks for.
pub(super) async fn errands(shared: Shared) {
    let wake = shared.borrow().errands.clone();
    loop {
        let (wanted, lookups) = {
            let mut shell = shared.borrow_mut();
            (
                std::mem::take(&mut shell.wanted),
                std::mem::take(&mut shell.lookups),
            )
        };
        for (seat, outflow) in wanted {
            spawn_local(connect(shared.clone(), seat, outflow));
        }
        for (token, question) in lookups {
            spawn_local(look_up(shared.clone(), token, question));
        }
        wake.notified().await;
    }
}

async fn look_up(shared: Shared, token: u64, question: NameQuery) {
    let dns = shared.borrow().dns.clone();
    let targets = match dns {
        Some(dns) => timeout(LOOKUP_TIMEOUT, dns.targets(&question)).await,
        None => Ok(Vec::new()),
    };
    let targets = targets.unwrap_or_else(|_| {
        tracing::info!(host = question.host, "the name servers take too long");
        Vec::new()
    });
    shared.borrow_mut().turn(Input::Resolved { token, targets });
}

/// A connection that a peer began, from its first byte to its end.
async fn welcome(shared: Shared, seat: Seat, stream: TcpStream, outflow: Outflow) {
    let tls = shared.borrow().tls.clone();
    let shaken = timeout(
        HANDSHAKE_TIMEOUT,
        shake_hands(seat.flow.transport, stream, tls),
    );
    match shaken.await {
        Ok(Ok(ready)) => serve(&shared, &seat, ready, outflow).await,
        Ok(Err(error)) => {
            tracing::debug!(peer = %seat.flow.remote, %error, "a handshake failed");
        }
        Err(_) => {
            Metrics::count(&shared.borrow().metrics.slow_connections);
            tracing::debug!(peer = %seat.flow.remote, "a handshake took too long");
        }
    }
    shared.borrow_mut().leave(&seat);
}

async fn shake_hands(
    transport: Transport,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
) -> io::Result<Ready> {
    watch_over(&stream)?;
    let wire: Box<dyn Wire> = match tls.filter(|_| transport.is_secure()) {
        Some(tls) => tls.accept(stream).await?,
        None => Box::new(stream),
    };
    if transport.is_web() {
        return Ok(Ready::Web(Box::new(web_socket::upgrade(wire).await?)));
    }
    Ok(Ready::Bytes(wire))
}

/// A connection that the core wants.
async fn connect(shared: Shared, seat: Seat, outflow: Outflow) {
    let (tls, host) = {
        let shell = shared.borrow();
        (shell.tls.clone(), shell.hosts.get(&seat.flow).cloned())
    };
    match timeout(CONNECT_TIMEOUT, dial(seat.flow, tls, host)).await {
        Ok(Ok(wire)) => serve(&shared, &seat, Ready::Bytes(wire), outflow).await,
        Ok(Err(error)) => {
            tracing::info!(peer = %seat.flow.remote, %error, "cannot connect");
        }
        Err(_) => tracing::info!(peer = %seat.flow.remote, "cannot connect in time"),
    }
    shared.borrow_mut().leave(&seat);
}

async fn dial(
    flow: Flow,
    tls: Option<Arc<Tls>>,
    host: Option<String>,
) -> io::Result<Box<dyn Wire>> {
    let socket = TcpSocket::from_std_stream(bind::outgoing(flow.local.ip())?);
    let stream = socket.connect(flow.remote).await?;
    watch_over(&stream)?;
    match tls.filter(|_| flow.transport.is_secure()) {
        Some(tls) => tls.connect(stream, host.as_deref(), flow.remote.ip()).await,
        None => Ok(Box::new(stream)),
    }
}

/// Small messages at once, and a peer that vanished is noticed without a message to it.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

async fn serve(shared: &Shared, seat: &Seat, ready: Ready, outflow: Outflow) {
    let result = match ready {
        Ready::Bytes(wire) => byte_stream::serve(shared, seat, wire, outflow).await,
        Ready::Web(socket) => web_socket::serve(shared, seat, *socket, outflow).await,
    };
    if let Err(error) = result {
        if error.kind() == io::ErrorKind::TimedOut {
            Metrics::count(&shared.borrow().metrics.slow_connections);
        }
        tracing::debug!(peer = %seat.flow.remote, %error, "closing a connection");
    }
}
