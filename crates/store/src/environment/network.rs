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

/// A link on which nobody says anything for so long is asked whether the other machine is there.
/// Who only waits for an answer, such as that to a snapshot, has no other way to notice that the
/// machine has lost its power. With [`UNACKNOWLEDGED_MAX`] one question is enough (tcp(7)).
const SILENCE_MAX: Duration = Duration::from_secs(1);

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(SILENCE_MAX)
        .with_interval(SILENCE_MAX);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_whether_a_silent_machine_is_there() {
        let listener = Tcp.listen(([127, 0, 0, 1], 0).into()).expect("it listens");
        let address = listener.address().expect("bound");
        let stream = TcpStream::connect(address).await.expect("connected");
        prepare(&stream).expect("prepared");
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), SILENCE_MAX);
        let unacknowledged = socket.tcp_user_timeout().expect("an option");
        assert_eq!(unacknowledged, Some(UNACKNOWLEDGED_MAX));
    }
}
