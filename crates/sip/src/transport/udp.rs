//! Datagrams in batches: one system call for up to 64 messages each way.
use std::io;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use bytes::Bytes;

/// Datagrams moved by one system call.
pub const BATCH: usize = 64;
/// Largest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// Room for one batch of datagrams, reused for ever.
pub struct Receiver {
    buffers: Vec<Box<[u8]>>,
    sources: Vec<libc::sockaddr_storage>,
    lengths: Vec<usize>,
}

impl Default for Receiver {
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain old data for which all zeros is a valid value.
        let empty: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self {
            buffers: (0..BATCH)
                .map(|_| vec![0; DATAGRAM_BYTES].into_boxed_slice())
                .collect(),
            sources: vec![empty; BATCH],
            lengths: Vec::with_capacity(BATCH),
        }
    }
}

impl Receiver {
    /// Receives what is there, up to a batch; `WouldBlock` when there is nothing.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        self.lengths.clear();
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|i| libc::iovec {
            iov_base: self.buffers[i].as_mut_ptr().cast(),
            iov_len: self.buffers[i].len(),
        });
        // SAFETY: mmsghdr is plain old data for which all zeros is a valid value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (i, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_iov = &raw mut vectors[i];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut self.sources[i]).cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
        }
        let fd = socket.as_raw_fd();
        // SAFETY: every header points at a live vector, buffer and address of the sizes
        // stated, all of which outlive the call; the descriptor is open.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.lengths.extend(
            headers[..count]
                .iter()
                .map(|header| header.msg_len as usize),
        );
        Ok(())
    }

    /// What the last batch brought.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.lengths.iter().enumerate().filter_map(|(i, length)| {
            Some((from_storage(&self.sources[i])?, &self.buffers[i][..*length]))
        })
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Whether the last batch was full, so that more may be waiting.
    pub fn was_full(&self) -> bool {
        self.lengths.len() == BATCH
    }
}

/// Sends datagrams in batches; what the kernel has no room for is lost, as on any network.
/// Returns how many were lost.
pub fn send(socket: &UdpSocket, datagrams: &[(SocketAddr, Bytes)]) -> usize {
    let mut lost = 0;
    for batch in datagrams.chunks(BATCH) {
        let mut done = 0;
        while done < batch.len() {
            match send_batch(socket.as_raw_fd(), &batch[done..]) {
                // The first datagram cannot be sent (no route, too long): skip it alone.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    lost += 1;
                    done += 1;
                }
                Err(_) => {
                    lost += batch.len() - done;
                    break;
                }
                Ok(count) => done += count,
            }
        }
    }
    lost
}

fn send_batch(fd: RawFd, batch: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
    let mut addresses: [(libc::sockaddr_storage, u32); BATCH] =
        std::array::from_fn(|i| batch.get(i).map_or_else(empty_storage, |d| to_storage(d.0)));
    let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|i| match batch.get(i) {
        Some((_, bytes)) => libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        },
        None => libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        },
    });
    // SAFETY: mmsghdr is plain old data for which all zeros is a valid value.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for (i, header) in headers.iter_mut().enumerate().take(batch.len()) {
        header.msg_hdr.msg_iov = &raw mut vectors[i];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut addresses[i].0).cast();
        header.msg_hdr.msg_namelen = addresses[i].1;
    }
    // SAFETY: the first `batch.len()` headers point at live vectors, bytes and addresses of
    // the sizes stated; sendmmsg only reads the bytes; the descriptor is open.
    let count = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), batch.len() as u32, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn empty_storage() -> (libc::sockaddr_storage, u32) {
    // SAFETY: sockaddr_storage is plain old data for which all zeros is a valid value.
    (unsafe { mem::zeroed() }, 0)
}

fn to_storage(address: SocketAddr) -> (libc::sockaddr_storage, u32) {
    let address = socket2::SockAddr::from(address);
    let (mut storage, _) = empty_storage();
    // SAFETY: both point at live memory and a SockAddr is never longer than the storage.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    (storage, address.len())
}

fn from_storage(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which fits the storage.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(v4.sin_addr.s_addr).into();
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6, which fits the storage.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = v6.sin6_addr.s6_addr.into();
            let scope = v6.sin6_scope_id;
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_with_their_sources() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (one, two) = (
                UdpSocket::bind(any).expect("loopback is there"),
                UdpSocket::bind(any).expect("loopback is there"),
            );
            let to = two.local_addr().expect("bound");
            let datagrams: Vec<_> = (0..100u8)
                .map(|i| (to, Bytes::from(vec![i; usize::from(i) + 1])))
                .collect();
            assert_eq!(send(&one, &datagrams), 0);
            let mut receiver = Receiver::default();
            let mut seen = Vec::new();
            while seen.len() < 100 {
                receiver.receive(&two).expect("loopback delivers at once");
                for (source, bytes) in receiver.datagrams() {
                    assert_eq!(Some(source), one.local_addr().ok());
                    seen.push(bytes.to_vec());
                }
            }
            assert!(
                seen.iter()
                    .zip(&datagrams)
                    .all(|(got, (_, sent))| got == sent)
            );
        }
    }
}
