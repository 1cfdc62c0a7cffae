//! The drachtio protocol server's sockets.
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::shell::{Outflow, Shared, outlet};
use super::streams::ACCEPT_PAUSE;
use crate::drachtio::FrameReader;
use crate::engine::metrics::Metrics;
use crate::engine::{AppId, Input};
use crate::limits::{APPLICATIONS_MAX, HANDSHAKE_TIMEOUT};
use crate::transport::tls::{Tls, Wire};

/// What the listeners for applications have in common.
pub(super) struct Reception {
    /// The id of the connection accepted last.
    last: Cell<AppId>,
    /// One for each connection, also while it still shakes hands.
    places: Arc<Semaphore>,
}

impl Default for Reception {
    fn default() -> Self {
        Reception {
            last: Cell::new(0),
            places: Arc::new(Semaphore::new(APPLICATIONS_MAX)),
        }
    }
}

/// Accepts applications for ever; with `tls`, such as speak it.
pub(super) async fn accept(
    shared: Shared,
    reception: Rc<Reception>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: others may go meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = reception.places.clone().try_acquire_owned() else {
            Metrics::count(&shared.borrow().metrics.refused_connections);
            tracing::warn!(%peer, "too many applications");
            continue;
        };
        let app = reception.last.get() + 1;
        reception.last.set(app);
        let (shared, tls) = (shared.clone(), tls.clone());
        spawn_local(async move {
            let _place = place;
            prepare(&stream, app);
            match timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, tls)).await {
                Ok(Ok(wire)) => serve(shared, wire, app).await,
                Ok(Err(error)) => tracing::info!(%peer, %error, "a TLS handshake failed"),
                Err(_) => Metrics::count(&shared.borrow().metrics.slow_connections),
            }
        });
    }
}

async fn shake_hands(stream: TcpStream, tls: Option<Arc<Tls>>) -> io::Result<Box<dyn Wire>> {
    match tls {
        Some(tls) => tls.accept(stream).await,
        None => Ok(Box::new(stream)),
    }
}

/// Frames are small and somebody waits for each; a dead peer is to be noticed.
pub(super) fn prepare(stream: &TcpStream, app: AppId) {
    let socket = socket2::SockRef::from(stream);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_keepalive(true));
    if let Err(error) = set {
        tracing::debug!(app, %error, "cannot set TCP_NODELAY and keep-alive");
    }
}

/// Serves one connection, accepted or made, until either end closes it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(shared: Shared, stream: S, app: AppId) {
    let (read, write) = split(stream);
    let (outlet, outflow) = outlet();
    {
        let mut shell = shared.borrow_mut();
        shell.apps.insert(app, outlet);
        shell.turn(Input::AppConnected { app });
    }
    let result = tokio::select! {
        result = self::read(&shared, read, app) => result,
        result = self::write(write, outflow) => result,
    };
    if let Err(error) = result {
        tracing::info!(app, %error, "closing an application's connection");
    }
    let mut shell = shared.borrow_mut();
    shell.apps.remove(&app);
    shell.turn(Input::AppClosed { app });
}

async fn read<S: AsyncRead + Unpin>(shared: &Shared, mut stream: S, app: AppId) -> io::Result<()> {
    let mut frames = FrameReader::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        frames.push(&buffer[..count]);
        let mut shell = shared.borrow_mut();
        loop {
            match frames.next_frame() {
                Ok(Some(payload)) => shell.feed(Input::AppFrame { app, payload }),
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
async fn write<S: AsyncWrite + Unpin>(mut stream: S, mut outflow: Outflow) -> io::Result<()> {
    while let Some(bytes) = outflow.next().await {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await
}
