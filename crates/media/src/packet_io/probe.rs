//! Which way of receiving and sending works here: asked once, at the start.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use super::ring::Ring;
use super::steered::Steered;
use super::steering::Steering;
use super::{PacketIo, Sent, Way};
use crate::MediaConfig;
use crate::address::RawAddress;
use crate::epoll::{Bell, Received};
use crate::ports::Door;

/// How long the round trip of a probe may take, ms.
const PROBE_MS: u16 = 500;
/// What goes round.
const WORDS: &[u8] = b"there and back";
const TAG: u64 = 4;

/// What is wanted, if it works; else epoll, with the reason in the log.
pub(crate) fn choose(config: &MediaConfig) -> Way {
    let tried = match config.packet_io {
        PacketIo::Epoll => Ok(Way::Epoll),
        // On a thread of its own: the kernel interrupts calls of one that has let go of a ring.
        PacketIo::Auto | PacketIo::IoUring => std::thread::spawn(try_ring)
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the probe has failed")))
            .map(|()| Way::IoUring)
            .map_err(|error| format!("io_uring does not work: {error}")),
        PacketIo::SkLookup if config.floating.is_some() => {
            Err("sk_lookup does not go with floating addresses, whose ports need sockets".into())
        }
        PacketIo::SkLookup => {
            let ips: Vec<IpAddr> = config.interfaces.iter().map(|one| one.local).collect();
            try_steering(&ips, *config.ports.start())
                .map(Way::Steered)
                .map_err(|reason| format!("sk_lookup does not work: {reason}"))
        }
    };
    tried.unwrap_or_else(|reason| {
        tracing::warn!(reason, "packets are received with epoll");
        Way::Epoll
    })
}

/// A round trip through a ring: what the kernel lacks (6.1) or a container forbids shows in it.
fn try_ring() -> io::Result<()> {
    let bell = Bell::new()?;
    let mut ring = Ring::new(bell.as_raw_fd(), Arc::default())?;
    // A pair needs no network, whose loopback may be down.
    let (here, there) = UnixDatagram::pair()?;
    let socket = |tag| (tag == TAG).then(|| there.as_raw_fd());
    ring.begin(std::iter::once(TAG), socket)?;
    if !ring.send(here.as_raw_fd(), WORDS, &RawAddress::none(), Sent::Spoken) {
        return Err(io::Error::other("a probe was not taken"));
    }
    let unsent = ring.finish(socket)?;
    if unsent.packets() > 0 {
        return Err(io::Error::other("a probe was not sent"));
    }
    ring.wait(PROBE_MS.into())?;
    let mut source = RawAddress::empty();
    let opened = (ring.count() > 0).then(|| ring.open(0, &mut source));
    match opened {
        Some(Received::Datagram(length)) if ring.room(0)[..length] == *WORDS => Ok(()),
        _ => Err(io::Error::other("a probe did not come back")),
    }
}

/// The program with these addresses, after a datagram from and to `port` of each of them: what the
/// kernel lacks, what we may not do, and what a packet filter keeps back shows in it.
fn try_steering(ips: &[IpAddr], port: u16) -> Result<Arc<Steering>, String> {
    let steering = Arc::new(Steering::start(ips)?);
    let bell = Bell::new().map_err(|error| error.to_string())?;
    let mut steered =
        Steered::new(&steering, 0, &bell).map_err(|error| format!("open sockets: {error}"))?;
    for &ip in ips {
        go_round(&steering, &mut steered, SocketAddr::new(ip, port))
            .map_err(|error| format!("a probe at {ip}: {error}"))?;
    }
    Ok(steering)
}

fn go_round(steering: &Arc<Steering>, steered: &mut Steered, local: SocketAddr) -> io::Result<()> {
    let lost = || io::Error::other("it was lost");
    let phone = UdpSocket::bind((local.ip(), 0))?;
    phone.set_read_timeout(Some(Duration::from_millis(PROBE_MS.into())))?;
    let door = Door::steered(local, steering);
    steering.lead(local, 0, TAG);
    let target = RawAddress::from(phone.local_addr()?);
    let sent = steered.send(&door, WORDS, &target, Sent::Spoken);
    if !sent || steered.flush().packets() > 0 {
        return Err(io::Error::other("it was not sent"));
    }
    let mut buffer = [0; WORDS.len()];
    let (length, from) = phone.recv_from(&mut buffer)?;
    if (&buffer[..length], from) != (WORDS, local) {
        return Err(lost());
    }
    phone.send_to(WORDS, local)?;
    steered.wait(PROBE_MS.into())?;
    let mut source = RawAddress::empty();
    let came = steered.count() == 1 && steered.tag(0) == TAG;
    let opened = came.then(|| steered.open(0, &mut source));
    match opened {
        Some(Received::Datagram(length)) if steered.room(0)[..length] == *WORDS => Ok(()),
        _ => Err(lost()),
    }
}
