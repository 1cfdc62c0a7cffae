use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::*;
use crate::epoll::Bell;

const WAIT_MS: i32 = 2_000;

/// Four sockets, whose tags are 4 to 7, and a ring that may receive from them.
struct Lab {
    ring: Ring,
    orders: Arc<Orders>,
    bell: Bell,
    sockets: Vec<UdpSocket>,
}

impl Lab {
    /// None where there is no io_uring to be had.
    fn start(test: &str) -> Option<Lab> {
        let bell = Bell::new().expect("a bell");
        let orders = Arc::new(Orders::default());
        let ring = Ring::new(bell.as_raw_fd(), Arc::clone(&orders));
        if let Err(error) = &ring {
            eprintln!("passed over for want of io_uring ({error}): {test}");
        }
        let bind = |_| UdpSocket::bind("127.0.0.1:0").expect("bind");
        let mut lab = Lab {
            ring: ring.ok()?,
            orders,
            bell,
            sockets: (0..4).map(bind).collect(),
        };
        let sockets = lab.descriptors();
        lab.ring
            .begin(std::iter::once(4), leading_to(&sockets))
            .expect("begin");
        Some(lab)
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.iter().map(AsRawFd::as_raw_fd).collect()
    }

    fn address(&self, n: usize) -> SocketAddr {
        self.sockets[n].local_addr().expect("bound")
    }

    /// Waits once; tag, bytes and source of what has come.
    fn take(&mut self) -> Vec<(u64, Vec<u8>, SocketAddr)> {
        self.ring.wait(WAIT_MS).expect("wait");
        let mut taken = Vec::new();
        for n in 0..self.ring.count() {
            let mut source = RawAddress::empty();
            let Received::Datagram(length) = self.ring.open(n, &mut source) else {
                continue;
            };
            let bytes = self.ring.room(n)[..length].to_vec();
            taken.push((
                self.ring.tag(n),
                bytes,
                source.to_std().expect("an address"),
            ));
        }
        taken
    }

    fn finish(&mut self) -> Unsent {
        let sockets = self.descriptors();
        self.ring.finish(leading_to(&sockets)).expect("finish")
    }
}

fn leading_to(sockets: &[RawFd]) -> impl Fn(u64) -> Option<RawFd> {
    |tag| sockets.get(tag as usize - 4).copied()
}

#[test]
fn datagrams_come_with_their_source_and_leave_from_where_they_lie() {
    let Some(mut lab) = Lab::start("there and back") else {
        return;
    };
    let phone = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let own = phone.local_addr().expect("bound");
    for (n, words) in [(0, &b"to the first"[..]), (3, b"to the last"), (1, b"")] {
        phone.send_to(words, lab.address(n)).expect("send");
        let taken = lab.take();
        assert_eq!(taken, [(4 + n as u64, words.to_vec(), own)]);
        lab.ring.room(0)[..4].copy_from_slice(b"back");
        let from = lab.sockets[n].as_raw_fd();
        assert!(lab.ring.forward(0, from, 4, &own.into()));
        assert_eq!(lab.finish(), Unsent::default());
        let mut buffer = [0; 16];
        let (length, source) = phone.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..length], source), (&b"back"[..], lab.address(n)));
    }
}

#[test]
fn more_than_all_buffers_hold_waits_in_its_socket() {
    let Some(mut lab) = Lab::start("full buffers") else {
        return;
    };
    let phone = UdpSocket::bind("127.0.0.1:0").expect("bind");
    // Small ones, of which a socket's own buffer holds many.
    let count = u64::from(RING_BUFFERS) + 40;
    for n in 0..count {
        let to = lab.address(n as usize % 2);
        phone.send_to(&n.to_be_bytes(), to).expect("send");
    }
    let mut taken = Vec::new();
    while (taken.len() as u64) < count {
        let more = lab.take();
        assert!(!more.is_empty() || lab.ring.count() == 0);
        taken.extend(more.into_iter().map(|(_, bytes, _)| bytes));
        lab.finish();
    }
    taken.sort();
    let sent: Vec<Vec<u8>> = (0..count).map(|n| n.to_be_bytes().to_vec()).collect();
    assert!(taken == sent, "every datagram once");
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let Some(mut lab) = Lab::start("refusals") else {
        return;
    };
    let from = lab.sockets[0].as_raw_fd();
    // Broadcasts are refused without leave.
    let nobody = RawAddress::from(SocketAddr::from(([255, 255, 255, 255], 9)));
    for _ in 0..3 {
        assert!(lab.ring.send(from, b"words", &nobody, Sent::Spoken));
    }
    assert!(lab.ring.send(from, b"words", &nobody, Sent::Relayed));
    let unsent = lab.finish();
    let told = (unsent.spoken, unsent.relayed, unsent.relayed_bytes);
    assert_eq!(told, (3, 1, 5));
    assert_eq!(lab.finish(), Unsent::default());
}

#[test]
fn more_packets_of_our_own_than_there_is_room_for_leave_in_turn() {
    let Some(mut lab) = Lab::start("own packets") else {
        return;
    };
    let phone = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let to = RawAddress::from(phone.local_addr().expect("bound"));
    let from = lab.sockets[2].as_raw_fd();
    for n in 0..200_u8 {
        assert!(lab.ring.send(from, &[n], &to, Sent::Mixed));
    }
    assert_eq!(lab.finish(), Unsent::default());
    for n in 0..200_u8 {
        let mut buffer = [0; 4];
        assert_eq!(phone.recv(&mut buffer).expect("a packet"), 1);
        assert_eq!(buffer[0], n);
    }
}

#[test]
fn a_port_is_free_again_once_its_flow_is_forgotten() {
    let Some(mut lab) = Lab::start("closed sockets") else {
        return;
    };
    let address = lab.address(0);
    lab.orders.forget(4);
    // Closed while a receive is under way, and what comes in meanwhile is nobody's.
    lab.sockets.clear();
    lab.bell.ring();
    lab.ring.wait(WAIT_MS).expect("wait");
    assert!(lab.ring.rung());
    lab.bell.silence();
    while lab.ring.receiving > 0 {
        lab.finish();
        lab.ring.wait(WAIT_MS).expect("wait");
    }
    UdpSocket::bind(address).expect("free");
}

#[test]
fn a_flow_parts_when_what_had_come_was_taken() {
    let Some(mut lab) = Lab::start("parting") else {
        return;
    };
    let phone = UdpSocket::bind("127.0.0.1:0").expect("bind");
    phone.send_to(b"before", lab.address(1)).expect("send");
    let parted = lab.orders.part(4);
    let mut taken = Vec::new();
    while parted.try_recv().is_err() {
        taken.extend(lab.take().into_iter().map(|(_, bytes, _)| bytes));
        assert!(parted.try_recv().is_err(), "not before the round is over");
        lab.finish();
    }
    assert_eq!(taken, [b"before"]);
    assert_eq!(lab.ring.receiving, 0);
    // What comes afterwards waits for the next worker.
    phone.send_to(b"after", lab.address(1)).expect("send");
    let mut buffer = [0; 16];
    let length = lab.sockets[1].recv(&mut buffer).expect("a datagram");
    assert_eq!(buffer[..length], *b"after");
}

#[test]
fn the_end_of_a_ring_leaves_no_port_taken() {
    let Some(lab) = Lab::start("the end") else {
        return;
    };
    let address = lab.address(2);
    drop(lab);
    UdpSocket::bind(address).expect("free");
}
