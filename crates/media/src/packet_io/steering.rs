//! Ports without sockets: a program leads what is for them to the worker that has the call.
//!
//! `bpf/steer.bpf.c` is asked by the kernel whenever it looks for the socket of a datagram
//! (`BPF_PROG_TYPE_SK_LOOKUP`). Owner of the program and its tables. A port of a call is two words
//! of memory: whose it is, which the kernel reads, and the tag of its flow. The kernel forgets
//! everything when the process ends.

use std::error::Error;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, SockMap};
use aya::programs::SkLookup;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use super::headers::{self, HEAD_BYTES};
use crate::address::RawAddress;
use crate::fastpath::{chain, layout};
use crate::limits::{DATAGRAM_BYTES_MAX, STEERED_ADDRESSES_MAX, STEERED_SEND_BYTES};
use crate::srtp::GROWTH_MAX;

/// Ports of an address.
const PORTS: usize = 65_536;
const WORDS: usize = STEERED_ADDRESSES_MAX * PORTS;

static PROGRAM: &[u8] = aya::include_bytes_aligned!("../../bpf/steer.bpf.o");

/// An address of ours, as the program knows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Address {
    words: [u32; 4],
    family: u32,
}

// SAFETY: no padding, and any bytes are a value of it.
unsafe impl aya::Pod for Address {}

/// The program in the kernel and its tables.
pub struct Steering {
    /// Addresses of ours, each with the socket through which packets of its ports leave at once.
    addresses: Vec<(IpAddr, OwnedFd)>,
    owners: Words,
    tags: Box<[AtomicU64]>,
    sockets: Mutex<SockMap<MapData>>,
    /// Holds the program and its attachment to the network namespace.
    _program: Ebpf,
}

impl Steering {
    /// Loads the program for these addresses.
    ///
    /// # Errors
    /// Why it cannot be: one line for the log.
    pub fn start(addresses: &[IpAddr]) -> Result<Steering, String> {
        let failed = |what: &str, error: &dyn Error| format!("{what}: {}", chain(error));
        if addresses.len() > STEERED_ADDRESSES_MAX {
            return Err(format!("more than {STEERED_ADDRESSES_MAX} addresses"));
        }
        let mut program =
            Ebpf::load(PROGRAM).map_err(|error| failed("load the program", &error))?;
        let places = program
            .take_map("addresses")
            .ok_or("no table of addresses")?;
        let mut places: HashMap<MapData, Address, u32> = HashMap::try_from(places)
            .map_err(|error| failed("open the table of addresses", &error))?;
        for (first, &ip) in (0..).step_by(PORTS).zip(addresses) {
            let family = if ip.is_ipv4() {
                libc::AF_INET
            } else {
                libc::AF_INET6
            };
            let address = Address {
                words: layout::words(ip),
                family: family as u32,
            };
            places
                .insert(address, first, 0)
                .map_err(|error| failed("tell an address", &error))?;
        }
        let Some(Map::Array(owners)) = program.take_map("owners") else {
            return Err("no table of owners".into());
        };
        let owners = Words::map(&owners).map_err(|error| failed("map owners", &error))?;
        let sockets = program.take_map("sockets").ok_or("no table of sockets")?;
        let sockets = SockMap::try_from(sockets).map_err(|error| failed("open sockets", &error))?;
        attach(&mut program).map_err(|error| failed("attach the program", &*error))?;
        let exits = addresses.iter().map(|&ip| Ok((ip, exit(ip)?)));
        let exits = exits.collect::<io::Result<_>>();
        Ok(Steering {
            addresses: exits.map_err(|error| failed("open a raw socket", &error))?,
            owners,
            tags: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            sockets: Mutex::new(sockets),
            _program: program,
        })
    }

    /// Addresses of ours.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|(ip, _)| *ip)
    }

    fn place(&self, local: SocketAddr) -> Option<usize> {
        let at = self.addresses().position(|ip| ip == local.ip())?;
        Some(at * PORTS + usize::from(local.port()))
    }

    /// What comes in for a port goes to a worker, for the socket with this tag.
    pub fn lead(&self, local: SocketAddr, worker: usize, tag: u64) {
        let Some(place) = self.place(local) else {
            return;
        };
        self.tags[place].store(tag, Ordering::Release);
        let owner = key(worker, local.is_ipv6()) + 1;
        self.owners
            .word(place)
            .store(owner.into(), Ordering::Release);
    }

    /// A port is open: what comes in is nobody's, but not refused either.
    pub fn open(&self, local: SocketAddr) {
        self.lead(local, 0, 0);
    }

    /// A port is closed: what comes in is refused by the kernel.
    pub fn close(&self, local: SocketAddr) {
        if let Some(place) = self.place(local) {
            self.owners.word(place).store(0, Ordering::Release);
        }
    }

    /// The tag of a port that a worker has.
    pub fn tag(&self, local: SocketAddr, worker: usize) -> Option<u64> {
        let place = self.place(local)?;
        let owner = self.owners.word(place).load(Ordering::Acquire);
        let own = owner == u64::from(key(worker, local.is_ipv6()) + 1);
        own.then(|| self.tags[place].load(Ordering::Acquire))
    }

    /// A worker takes datagrams of one family with this socket.
    pub fn enter(&self, worker: usize, ipv6: bool, socket: &OwnedFd) -> Result<(), String> {
        let mut sockets = self.sockets.lock();
        let entered = sockets.set(key(worker, ipv6), socket, 0);
        entered.map_err(|error| chain(&error))
    }

    /// Sends a packet from a port at once; false when the kernel refuses.
    pub fn send(&self, local: SocketAddr, tos: u8, packet: &[u8], to: &RawAddress) -> bool {
        let exit = self.addresses.iter().find(|(ip, _)| *ip == local.ip());
        let (Some((_, exit)), Some(target)) = (exit, to.to_std()) else {
            return false;
        };
        let mut room = [0; HEAD_BYTES + DATAGRAM_BYTES_MAX + GROWTH_MAX];
        let Some(place) = room.get_mut(HEAD_BYTES..HEAD_BYTES + packet.len()) else {
            return false;
        };
        place.copy_from_slice(packet);
        let Some(at) = headers::put(&mut room, packet.len(), local, target, tos) else {
            return false;
        };
        let whole = &room[at..HEAD_BYTES + packet.len()];
        let sent = crate::epoll::send(exit.as_raw_fd(), whole, &to.without_port());
        sent || send_large(local, tos, packet, to)
    }
}

/// Where a worker's socket for a family stands.
fn key(worker: usize, ipv6: bool) -> u32 {
    2 * worker as u32 + u32::from(ipv6)
}

fn attach(program: &mut Ebpf) -> Result<(), Box<dyn Error>> {
    let steer = program.program_mut("steer").ok_or("there is no `steer`")?;
    let steer: &mut SkLookup = steer.try_into()?;
    steer.load()?;
    steer.attach(File::open("/proc/thread-self/ns/net")?)?;
    Ok(())
}

/// A socket through which whole packets leave, as from this address.
pub fn exit(ip: IpAddr) -> io::Result<OwnedFd> {
    let domain = Domain::for_address((ip, 0).into());
    let protocol = Protocol::from(libc::IPPROTO_RAW);
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
    // Routes may depend on it.
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    if ip.is_ipv6() {
        let (yes, bytes) = (1_i32, size_of::<i32>() as libc::socklen_t);
        // SAFETY: pointer and length describe `yes`.
        let set = unsafe {
            let fd = socket.as_raw_fd();
            libc::setsockopt(
                fd,
                libc::SOL_IPV6,
                IPV6_HDRINCL,
                (&raw const yes).cast(),
                bytes,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    force(&socket, libc::SO_SNDBUFFORCE, STEERED_SEND_BYTES)?;
    Ok(socket.into())
}

/// Of linux/in6.h.
const IPV6_HDRINCL: i32 = 36;

/// Sets the size of a buffer beyond what everybody may have: all calls share it.
pub fn force(socket: &Socket, option: i32, bytes: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    let value = (&raw const bytes).cast();
    // SAFETY: pointer and length describe `bytes`.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, size) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends a packet that no interface takes in one piece: a socket that lives as long as that cuts it
/// up. What comes in meanwhile is still led to the worker.
pub fn send_large(local: SocketAddr, tos: u8, packet: &[u8], to: &RawAddress) -> bool {
    let open = || {
        let kind = Type::DGRAM.nonblocking();
        let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::UDP))?;
        match local {
            SocketAddr::V4(_) => socket.set_tos_v4(tos.into())?,
            SocketAddr::V6(_) => socket.set_tclass_v6(tos.into())?,
        }
        socket.bind(&local.into())?;
        Ok::<_, io::Error>(socket)
    };
    open().is_ok_and(|socket| crate::epoll::send(socket.as_raw_fd(), packet, to))
}

/// Memory that the kernel reads: whose each port is.
struct Words {
    first: *const AtomicU64,
}

// SAFETY: words are atomics; the memory lives as long as the value.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn map(map: &MapData) -> io::Result<Words> {
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let (fd, bytes) = (map.fd().as_fd().as_raw_fd(), 8 * WORDS);
        // SAFETY: a new mapping; its length is that of the table in the kernel.
        let first = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, shared, fd, 0) };
        if first == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = first.cast_const().cast();
        Ok(Words { first })
    }

    fn word(&self, place: usize) -> &AtomicU64 {
        assert!(place < WORDS, "a place of ours");
        // SAFETY: inside the mapping, which is aligned to pages and made of atomics.
        unsafe { &*self.first.add(place) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can have a word any more.
        unsafe { libc::munmap(self.first.cast_mut().cast(), 8 * WORDS) };
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_object_was_made_of_the_source() {
        let sum = Sha256::digest(include_bytes!("../../bpf/steer.bpf.c"));
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut parts = super::PROGRAM.windows(sum.len());
        let found = parts.any(|part| part == sum.as_bytes());
        assert!(found, "run crates/media/bpf/build and commit steer.bpf.o");
    }
}
