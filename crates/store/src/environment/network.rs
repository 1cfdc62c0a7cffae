//! Streams to and from other nodes: TCP, or what stands for it in a simulation.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream to another node.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A stream that came in, and who called.
pub type Accepted = (Box<dyn Wire>, SocketAddr);

/// Opens and accepts streams.
pub trait Network: Send + Sync {
    /// Opens a stream to an address.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Wire>>>;

    /// Listens on an address. Runs inside the runtime.
    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;
}

/// Where streams come in.
pub trait Listener: Send + Sync {
    /// The address in use; it tells the port when 0 was asked for.
    fn address(&self) -> io::Result<SocketAddr>;

    /// The next stream.
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>>;
}

/// The real network.
pub struct Tcp;

/// The kernel gives a connection up after this long without an acknowledgement, so that a healed
/// partition does not wait for an old connection's retransmission timer.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(1);

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

impl Network for Tcp {
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            prepare(&stream)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Box::new(TcpListener::from_std(listener)?))
    }
}

impl Listener for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, address) = TcpListener::accept(self).await?;
            prepare(&stream)?;
            Ok((Box::new(stream) as Box<dyn Wire>, address))
        })
    }
}
