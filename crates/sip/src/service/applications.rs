//! The drachtio protocol server's sockets.
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::shell::{Outflow, Shared, outlet};
use super::streams::ACCEPT_PAUSE;
use crate::drachtio::FrameReader;
use crate::engine::{AppId, Input};
use crate::limits::APPLICATIONS_MAX;

/// Accepts applications for ever.
pub(super) async fn accept(shared: Shared, listener: TcpListener) {
    let mut last: AppId = 0;
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: others may go meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if shared.borrow().apps.len() >= APPLICATIONS_MAX {
            tracing::warn!(%peer, "too many applications");
            continue;
        }
        last += 1;
        let shared = shared.clone();
        spawn_local(async move {
            prepare(&stream, last);
            serve(shared, stream, last).await;
        });
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
