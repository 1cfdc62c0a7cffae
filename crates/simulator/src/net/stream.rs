//! The ends of connections as tokio sees them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use raftpbx_store::environment::network::{Accepted, Listener, Network, Wire};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fabric::Found;
use super::{Net, address, server_at};

/// The network of one server.
pub struct Door {
    pub net: Net,
    pub id: u64,
}

/// One end of a connection.
struct Stream {
    net: Net,
    number: u64,
    side: usize,
}

struct Ear {
    net: Net,
    id: u64,
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Network for Door {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> {
        let (net, id) = (self.net.clone(), self.id);
        Box::pin(async move {
            let number = net.with(|fabric| fabric.call(id, server_at(to)));
            // Made now, so that a caller who gives up hangs up.
            let stream = Stream {
                net: net.clone(),
                number,
                side: 0,
            };
            let answered = poll_fn(|context| {
                let answer = net.with(|fabric| fabric.poll_call(number, context.waker()));
                answer.map_or(Poll::Pending, Poll::Ready)
            });
            if answered.await {
                Ok(Box::new(stream) as Box<dyn Wire>)
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        })
    }

    fn listen(&self, _: SocketAddr) -> io::Result<Box<dyn Listener>> {
        self.net.with(|fabric| fabric.listen(self.id));
        Ok(Box::new(Ear {
            net: self.net.clone(),
            id: self.id,
        }))
    }
}

impl Listener for Ear {
    fn address(&self) -> io::Result<SocketAddr> {
        Ok(address(self.id))
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (number, from) = poll_fn(|context| {
                let call = self
                    .net
                    .with(|fabric| fabric.poll_accept(self.id, context.waker()));
                call.map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            let stream = Stream {
                net: self.net.clone(),
                number,
                side: 1,
            };
            Ok((Box::new(stream) as Box<dyn Wire>, address(from)))
        })
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.net.with(|fabric| fabric.stop_listening(self.id));
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        let (number, side) = (self.number, self.side);
        let found = self
            .net
            .with(|fabric| fabric.read(number, side, space, context.waker()));
        match found {
            Found::Bytes(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Found::End => Poll::Ready(Ok(())),
            Found::Broken => Poll::Ready(Err(reset())),
            Found::Nothing => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (number, side) = (self.number, self.side);
        let taken = self
            .net
            .with(|fabric| fabric.write(number, side, bytes, context.waker()));
        match taken {
            None => Poll::Ready(Err(reset())),
            Some(0) if !bytes.is_empty() => Poll::Pending,
            Some(taken) => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (number, side) = (self.number, self.side);
        self.net.with(|fabric| fabric.close(number, side));
    }
}
