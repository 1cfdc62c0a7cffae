//! SIP over TCP: connections of phones, connections to phones, and name lookups.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::shell::{Outflow, Shared, outlet};
use crate::config::Transport;
use crate::engine::Input;
use crate::engine::flow::Flow;
use crate::limits::CONNECTIONS_MAX;
use crate::message::{Frame, Framer};
use crate::transport::bind;

/// How long to wait when no connection can be accepted.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of a begun message may take.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be silent: longer than any registration lasts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 3_600 + 60);
/// How long a peer may take to read what we write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts connections of phones for ever.
pub(super) async fn accept(shared: Shared, local: SocketAddr, listener: TcpListener) {
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            // Out of descriptors: others may go meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if shared.borrow().streams.len() >= CONNECTIONS_MAX {
            tracing::warn!(peer = %remote, "too many connections");
            continue;
        }
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            remote,
        };
        let (outlet, outflow) = outlet();
        shared.borrow_mut().streams.insert(flow, outlet);
        spawn_local(serve(shared.clone(), flow, stream, outflow));
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
        for (flow, outflow) in wanted {
            spawn_local(connect(shared.clone(), flow, outflow));
        }
        for (token, host) in lookups {
            spawn_local(look_up(shared.clone(), token, host));
        }
        wake.notified().await;
    }
}

async fn look_up(shared: Shared, token: u64, host: String) {
    let found = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await;
    let address = found
        .ok()
        .and_then(Result::ok)
        .and_then(|mut all| all.next());
    let address = address.map(|address| address.ip());
    shared.borrow_mut().turn(Input::Resolved { token, address });
}

async fn connect(shared: Shared, flow: Flow, outflow: Outflow) {
    match timeout(CONNECT_TIMEOUT, dial(flow)).await {
        Ok(Ok(stream)) => serve(shared, flow, stream, outflow).await,
        failed => {
            tracing::info!(peer = %flow.remote, ?failed, "cannot connect");
            let mut shell = shared.borrow_mut();
            shell.streams.remove(&flow);
            shell.turn(Input::Disconnected { flow });
        }
    }
}

async fn dial(flow: Flow) -> io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(bind::outgoing(flow.local.ip())?);
    socket.connect(flow.remote).await
}

async fn serve(shared: Shared, flow: Flow, stream: TcpStream, outflow: Outflow) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %flow.remote, %error, "cannot set TCP_NODELAY");
    }
    let (read, write) = stream.into_split();
    let (pongs, pong_flow) = tokio::sync::mpsc::channel(1);
    let result = tokio::select! {
        result = self::read(&shared, read, flow, pongs) => result,
        result = self::write(write, outflow, pong_flow) => result,
    };
    if let Err(error) = result {
        tracing::debug!(peer = %flow.remote, %error, "closing a connection");
    }
    let mut shell = shared.borrow_mut();
    shell.streams.remove(&flow);
    shell.turn(Input::Disconnected { flow });
}

async fn read(
    shared: &Shared,
    mut stream: OwnedReadHalf,
    flow: Flow,
    pongs: tokio::sync::mpsc::Sender<()>,
) -> io::Result<()> {
    let mut framer = Framer::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let patience = if framer.is_waiting() {
            MESSAGE_TIMEOUT
        } else {
            IDLE_TIMEOUT
        };
        let count = timeout(patience, stream.read(&mut buffer)).await??;
        if count == 0 {
            return Ok(());
        }
        framer.push(&buffer[..count]);
        let mut shell = shared.borrow_mut();
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    shell.feed(Input::Received {
                        flow,
                        bytes: &bytes,
                    });
                }
                Ok(Some(Frame::Ping)) => {
                    // One pong answers any number of pings that came together.
                    let _ = pongs.try_send(());
                }
                Ok(None) => break,
                Err(error) => {
                    shell.finish();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
        shell.finish();
    }
}

/// Ends when the outlet is gone and everything is written.
async fn write(
    mut stream: OwnedWriteHalf,
    mut outflow: Outflow,
    mut pongs: tokio::sync::mpsc::Receiver<()>,
) -> io::Result<()> {
    loop {
        let bytes = tokio::select! {
            bytes = outflow.next() => bytes,
            Some(()) = pongs.recv() => Some(b"\r\n".to_vec()),
        };
        let Some(bytes) = bytes else {
            return stream.shutdown().await;
        };
        timeout(WRITE_TIMEOUT, stream.write_all(&bytes)).await??;
    }
}
