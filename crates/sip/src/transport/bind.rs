//! Listeners on addresses this node may not have yet (`IP_FREEBIND`, `IPV6_FREEBIND`):
//! a standby's sockets are bound before the virtual address comes to it.
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Kernel buffer asked for, bytes: a second of a busy registrar.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 4_096;

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        kind.nonblocking(),
        Some(protocol),
    )?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    Ok(socket)
}

/// So many UDP sockets on one address, among which the kernel shares datagrams out by their
/// source. Alone it does not share: a second server on the address by mistake is to fail.
pub fn udp_shared(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = datagrams(address, count > 1)?;
        // The others take the port that the first was given.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn datagrams(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel cuts the wish to its limit.
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// A TCP listener.
pub fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A TCP socket that will connect from `local`, any port.
pub fn outgoing(local: IpAddr) -> io::Result<std::net::TcpStream> {
    let address = SocketAddr::new(local, 0);
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// The address this host would use toward another one.
pub fn source_address(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => IpAddr::from([0u8; 4]),
        IpAddr::V6(_) => IpAddr::from([0u16; 8]),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a datagram socket sends nothing.
    socket.connect((remote, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
