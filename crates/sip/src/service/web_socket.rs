//! SIP over WebSocket (RFC 7118): a message in each WebSocket message, sub-protocol `sip`.
use std::io;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::shell::{Outflow, Seat, Shared};
use crate::engine::Input;
use crate::limits::{FIRST_MESSAGE_TIMEOUT, MESSAGE_BYTES_MAX, WEB_SOCKET_PING, WRITE_TIMEOUT};
use crate::transport::tls::Wire;

/// A WebSocket after its handshake.
pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

const PROTOCOL: HeaderValue = HeaderValue::from_static("sip");

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

/// The handshake; whoever does not offer the sub-protocol `sip` gets 400 (RFC 7118 section 4).
pub(super) async fn upgrade(wire: Box<dyn Wire>) -> io::Result<Socket> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    tokio_tungstenite::accept_hdr_async_with_config(wire, choose_protocol, Some(config))
        .await
        .map_err(broken)
}

#[allow(clippy::result_large_err, reason = "the library names this type")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let sip = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case("sip"));
    if !sip {
        let text = "this server speaks the sub-protocol sip (RFC 7118)\n".to_owned();
        let mut refusal = ErrorResponse::new(Some(text));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    Ok(response)
}

/// Until the peer, or the core, or a limit ends it.
pub(super) async fn serve(
    shared: &Shared,
    seat: &Seat,
    socket: Socket,
    outflow: Outflow,
) -> io::Result<()> {
    let (writer, reader) = socket.split();
    let (pongs, pong_flow) = mpsc::channel(1);
    tokio::select! {
        result = read(shared, seat, reader, pongs) => result,
        result = write(writer, outflow, pong_flow) => result,
    }
}

async fn read(
    shared: &Shared,
    seat: &Seat,
    mut reader: impl Stream<Item = Result<Message, Error>> + Unpin,
    pongs: mpsc::Sender<()>,
) -> io::Result<()> {
    let first = Instant::now() + FIRST_MESSAGE_TIMEOUT;
    let mut greeted = false;
    loop {
        // Our pings are answered by every browser, so that silence means it is gone.
        let silence = Instant::now() + 2 * WEB_SOCKET_PING;
        let deadline = if greeted { silence } else { first };
        let Some(message) = timeout_at(deadline, reader.next()).await? else {
            return Ok(());
        };
        let bytes = match message.map_err(broken)? {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return Ok(()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            // One pong answers any number of pings that came together.
            let _ = pongs.try_send(());
            continue;
        }
        greeted = true;
        shared.borrow_mut().turn(Input::Received {
            flow: seat.flow,
            bytes: &bytes,
        });
    }
}

/// Ends when the outlet is gone and everything is written.
async fn write(
    mut writer: impl Sink<Message, Error = Error> + Unpin,
    mut outflow: Outflow,
    mut pongs: mpsc::Receiver<()>,
) -> io::Result<()> {
    let mut clock = interval(WEB_SOCKET_PING);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.tick().await;
    loop {
        let message = tokio::select! {
            bytes = outflow.next_message() => match bytes {
                Some(bytes) => wrap(bytes),
                None => return timeout(WRITE_TIMEOUT, writer.close()).await?.map_err(broken),
            },
            Some(()) = pongs.recv() => Message::text("\r\n"),
            _ = clock.tick() => Message::Ping(Bytes::new()),
        };
        let sent = timeout(WRITE_TIMEOUT, writer.send(message)).await?;
        sent.map_err(broken)?;
    }
}

/// Browsers hand text over as text; what is not UTF-8 has to go as binary.
fn wrap(bytes: Bytes) -> Message {
    match String::from_utf8(bytes.into()) {
        Ok(text) => Message::text(text),
        Err(error) => Message::binary(error.into_bytes()),
    }
}
