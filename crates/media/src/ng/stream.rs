//! NG over TCP and WebSocket: one listener, a thread for each connection.
//!
//! TCP carries `cookie SP dictionary` one after the other, without anything between them;
//! a WebSocket (`ng.rtpengine.com`) one in each message. Which of them it is shows the first line.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, accept_hdr_with_config};

use super::bencode::{Measured, measure};
use crate::Core;
use crate::limits::{COOKIE_BYTES_MAX, NG_BYTES_MAX, NG_CONNECTIONS_MAX};

/// What a client of rtpengine's WebSocket asks for.
const PROTOCOL: &str = "ng.rtpengine.com";

/// The listener and its connections.
pub struct Streams {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Streams {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) fn start(core: Arc<Core>, address: SocketAddr) -> io::Result<Streams> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("media-ng-tcp".into())
            .spawn(move || accept(&core, &listener, &seen))?;
        Ok(Streams {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        // A connection of our own wakes the thread that waits for one.
        let woken = TcpStream::connect(address);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take())
            && thread.join().is_err()
        {
            tracing::error!("the NG listener had failed");
        }
        for stream in self.shared.open.lock().values() {
            // One that is closed already needs it no more.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(core: &Arc<Core>, listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0_u64.. {
        let (stream, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an NG connection");
                // Out of descriptors, mostly: they do not come back at once.
                std::thread::park_timeout(std::time::Duration::from_millis(100));
                continue;
            }
        };
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = begin(core, shared, number, stream, from) {
            tracing::warn!(%error, %from, "an NG connection is refused");
            core.counts.refused.add(1);
        }
    }
}

fn begin(
    core: &Arc<Core>,
    shared: &Arc<Shared>,
    number: u64,
    stream: TcpStream,
    from: SocketAddr,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_keepalive(true)?;
    {
        let mut open = shared.open.lock();
        if open.len() >= NG_CONNECTIONS_MAX {
            return Err(io::Error::other("too many are open"));
        }
        open.insert(number, stream.try_clone()?);
    }
    let (core, seen) = (Arc::clone(core), Arc::clone(shared));
    let spawned = std::thread::Builder::new()
        .name("media-ng-conn".into())
        .spawn(move || {
            if let Err(error) = serve(&core, stream, from) {
                tracing::debug!(%error, %from, "an NG connection ended");
            }
            seen.open.lock().remove(&number);
        });
    if let Err(error) = spawned {
        shared.open.lock().remove(&number);
        return Err(error);
    }
    Ok(())
}

fn serve(core: &Core, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let mut first = [0_u8; 5];
    loop {
        match stream.peek(&mut first)? {
            0 => return Ok(()),
            bytes if first[..bytes] != b"GET /"[..bytes] => return serve_plain(core, stream, from),
            5 => return serve_web_socket(core, stream, from),
            // The rest of five bytes comes with the next packet.
            _ => std::thread::yield_now(),
        }
    }
}

fn serve_plain(core: &Core, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let mut waiting = Vec::new();
    let mut room = vec![0_u8; 8_192];
    loop {
        let bytes = stream.read(&mut room)?;
        if bytes == 0 {
            return Ok(());
        }
        waiting.extend_from_slice(&room[..bytes]);
        let mut done = 0;
        loop {
            match next_message(&waiting[done..]) {
                Measured::Whole(length) => {
                    let answer = super::handle(core, &waiting[done..done + length], from);
                    stream.write_all(&answer)?;
                    done += length;
                }
                Measured::Part if waiting.len() - done <= NG_BYTES_MAX => break,
                Measured::Part | Measured::Wrong => {
                    // Where the next message begins cannot be known.
                    core.counts.ng_nonsense.add(1);
                    return Ok(());
                }
            }
        }
        waiting.drain(..done);
    }
}

/// How long the first `cookie SP dictionary` is.
fn next_message(bytes: &[u8]) -> Measured {
    let cookie = bytes.iter().take(COOKIE_BYTES_MAX + 1);
    let Some(at) = cookie.clone().position(|&byte| byte == b' ') else {
        let long = bytes.len() > COOKIE_BYTES_MAX;
        return if long {
            Measured::Wrong
        } else {
            Measured::Part
        };
    };
    let body = &bytes[at + 1..];
    let measured = match body.first() {
        Some(b'{') => measure_json(body),
        _ => measure(body),
    };
    match measured {
        Measured::Whole(length) => Measured::Whole(at + 1 + length),
        other => other,
    }
}

fn measure_json(body: &[u8]) -> Measured {
    let values = serde_json::Deserializer::from_slice(body);
    let mut values = values.into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Measured::Whole(values.byte_offset()),
        Some(Err(error)) if !error.is_eof() => Measured::Wrong,
        _ => Measured::Part,
    }
}

fn serve_web_socket(core: &Core, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(NG_BYTES_MAX))
        .max_frame_size(Some(NG_BYTES_MAX));
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let agree = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let asked = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let mut asked = asked.filter_map(|list| list.to_str().ok());
        if asked.any(|list| list.split(',').any(|one| one.trim() == PROTOCOL)) {
            let protocol = HeaderValue::from_static(PROTOCOL);
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Ok(response)
    };
    let mut socket = accept_hdr_with_config(stream, agree, Some(limits))
        .map_err(|error| io::Error::other(error.to_string()))?;
    loop {
        let message = socket.read().map_err(io::Error::other)?;
        let answer = match &message {
            Message::Text(text) => super::handle(core, text.as_bytes(), from),
            Message::Binary(bytes) => super::handle(core, bytes, from),
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        if answer.is_empty() {
            continue;
        }
        let answer = match (message, String::from_utf8(answer)) {
            (Message::Text(_), Ok(text)) => Message::text(text),
            (_, Ok(text)) => Message::binary(text.into_bytes()),
            (_, Err(error)) => Message::binary(error.into_bytes()),
        };
        socket.send(answer).map_err(io::Error::other)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_one_after_the_other_and_in_pieces() {
        let one = b"c1 d7:command4:pinge";
        let two = b"c2 {\"command\": \"ping\"}";
        let both = [&one[..], &two[..]].concat();
        assert_eq!(next_message(&both), Measured::Whole(one.len()));
        assert_eq!(next_message(&both[one.len()..]), Measured::Whole(two.len()));
        for whole in [&one[..], &two[..]] {
            for length in 0..whole.len() {
                assert_eq!(next_message(&whole[..length]), Measured::Part);
            }
        }
        assert_eq!(next_message(b"c1 x"), Measured::Wrong);
        assert_eq!(next_message(&[b'c'; 200]), Measured::Wrong);
    }
}
