//! The sending and the receiving thread.
//!
//! Send times are kept per flow and round; receive times are the kernel's, so waiting in
//! this program's own queue does not count as latency of the relay.

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::ng::RelayPorts;
use crate::options::Options;
use crate::plan::{self, SLOTS};
use crate::results::{Received, Sent};
use crate::speech::{Agreed, Listener, ROOM_BYTES, Speaker};
use crate::{BenchError, cpu};

/// Packets handed to or taken from the kernel at once.
const BATCH: usize = 64;
/// Send times kept per flow: more rounds than a packet can be under way.
const SEND_TIMES: usize = 64;
/// Buffer of each socket, bytes: a second of the largest load.
const SOCKET_BUFFER_BYTES: i32 = 32 << 20;
/// How long after the last packet the receiver still waits.
const DRAIN: Duration = Duration::from_millis(300);

/// Sockets of the phones: `sockets` calling ones, then as many called ones.
pub struct Phones {
    sockets: Vec<UdpSocket>,
    per_side: usize,
}

impl Phones {
    /// Binds all sockets.
    ///
    /// # Errors
    /// An address is not of this machine.
    pub fn bind(options: &Options) -> Result<Phones, BenchError> {
        let side = |ip: IpAddr| (0..options.sockets).map(move |_| bind(ip));
        let sockets = side(options.a_ip)
            .chain(side(options.b_ip))
            .collect::<Result<_, _>>()?;
        Ok(Phones {
            sockets,
            per_side: options.sockets,
        })
    }

    /// Socket of the sender of a flow.
    fn sender(&self, flow: u32) -> &UdpSocket {
        let back = (flow & 1) as usize;
        &self.sockets[back * self.per_side + (flow / 2) as usize % self.per_side]
    }

    /// Where the sender of a flow receives.
    ///
    /// # Errors
    /// The kernel does not know the socket's address.
    pub fn address(&self, flow: u32) -> Result<SocketAddr, BenchError> {
        self.sender(flow)
            .local_addr()
            .map_err(BenchError::system("read a phone's address"))
    }
}

fn bind(ip: IpAddr) -> Result<UdpSocket, BenchError> {
    let failed = || BenchError::system(format!("bind a phone to {ip}"));
    let socket = UdpSocket::bind((ip, 0)).map_err(failed())?;
    let on = 1_i32;
    for (option, value) in [
        (libc::SO_RCVBUFFORCE, &SOCKET_BUFFER_BYTES),
        (libc::SO_SNDBUFFORCE, &SOCKET_BUFFER_BYTES),
        (libc::SO_TIMESTAMPNS, &on),
    ] {
        let value = (value as *const i32).cast();
        let size = size_of::<i32>() as libc::socklen_t;
        // SAFETY: pointer and size describe an `i32`. Forced sizes need a privilege; without
        // it the kernel's default must do, so the result does not matter.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, size) };
    }
    Ok(socket)
}

fn realtime_ns() -> u64 {
    // SAFETY: all-zero is a valid `timespec` and the pointer is valid for the call.
    unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Send times by flow and round.
struct SendTimes(Vec<AtomicU64>);

impl SendTimes {
    fn place(&self, flow: u32, round: u32) -> &AtomicU64 {
        &self.0[flow as usize * SEND_TIMES + round as usize % SEND_TIMES]
    }
}

/// Runs the load to its end.
///
/// # Errors
/// The measured process is gone, or a thread failed.
pub fn run(
    options: &Options,
    phones: &Phones,
    relays: &[RelayPorts],
    agreed: &[Agreed],
) -> Result<(Sent, Received), BenchError> {
    let speaker = Speaker::new(options.profile, agreed)?;
    let listener = Listener::new(options.profile, agreed);
    let flows = 2 * options.calls;
    let times = SendTimes((0..flows * SEND_TIMES).map(|_| AtomicU64::new(0)).collect());
    let over = AtomicBool::new(false);
    let targets: Vec<SockAddr> = (0..flows)
        .map(|flow| {
            let relay = &relays[flow / 2];
            SockAddr::from(if flow & 1 == 0 {
                relay.from_a
            } else {
                relay.from_b
            })
        })
        .collect();
    std::thread::scope(|scope| {
        let (times, over) = (&times, &over);
        let receiver =
            scope.spawn(move || receive_all(options, phones, relays, listener, times, over));
        let sent = send_all(options, phones, speaker, &targets, times);
        over.store(true, Ordering::Release);
        match receiver.join() {
            Ok(received) => Ok((sent?, received)),
            Err(_) => Err(BenchError::Usage("the receiving thread failed".into())),
        }
    })
}

fn send_all(
    options: &Options,
    phones: &Phones,
    speaker: Speaker,
    targets: &[SockAddr],
    times: &SendTimes,
) -> Result<Sent, BenchError> {
    let slots: Vec<Vec<u32>> = (0..SLOTS)
        .map(|slot| plan::flows_of_slot(options.calls, options.sockets, slot))
        .collect();
    let measured = plan::measured(options.seconds);
    let cpu_now = || -> Result<(f64, f64), BenchError> {
        let relay = options.pid.map_or(Ok(0.0), cpu::seconds)?;
        Ok((relay, cpu::seconds(std::process::id())?))
    };
    let mut sent = Sent::default();
    let mut before = (0.0, 0.0);
    let mut batch = SendBatch::new(speaker);
    let start = Instant::now();
    for round in 0..measured.end {
        if round == measured.start {
            before = cpu_now()?;
        }
        for (slot, flows) in slots.iter().enumerate() {
            let due = Duration::from_millis(u64::from(round) * SLOTS as u64 + slot as u64);
            let now = start.elapsed();
            if let Some(early) = due.checked_sub(now) {
                std::thread::sleep(early);
            }
            let count = batch.send(flows, round, phones, targets, times);
            if measured.contains(&round) {
                sent.packets += count;
                sent.late_slots += u64::from(now > due + Duration::from_millis(5));
            }
        }
    }
    let after = cpu_now()?;
    (sent.relay_cpu_s, sent.own_cpu_s) = (after.0 - before.0, after.1 - before.1);
    Ok(sent)
}

/// Room for one `sendmmsg`.
struct SendBatch {
    speaker: Speaker,
    packets: Vec<[u8; ROOM_BYTES]>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl SendBatch {
    fn new(speaker: Speaker) -> SendBatch {
        let mut packets = vec![[0; ROOM_BYTES]; BATCH];
        let vector = |packet: &mut [u8; ROOM_BYTES]| libc::iovec {
            iov_base: packet.as_mut_ptr().cast(),
            iov_len: 0,
        };
        let vectors = packets.iter_mut().map(vector).collect();
        // SAFETY: all-zero is a valid `mmsghdr`.
        let messages = vec![unsafe { zeroed() }; BATCH];
        SendBatch {
            speaker,
            packets,
            vectors,
            messages,
        }
    }

    /// Sends one packet of each flow; returns how many the kernel took.
    fn send(
        &mut self,
        flows: &[u32],
        round: u32,
        phones: &Phones,
        targets: &[SockAddr],
        times: &SendTimes,
    ) -> u64 {
        let mut taken = 0;
        let same_socket = |a: &u32, b: &u32| std::ptr::eq(phones.sender(*a), phones.sender(*b));
        for group in flows
            .chunk_by(same_socket)
            .flat_map(|group| group.chunks(BATCH))
        {
            for (n, &flow) in group.iter().enumerate() {
                let length = self.speaker.write(&mut self.packets[n], flow, round);
                self.vectors[n].iov_len = length;
                let target = &targets[flow as usize];
                let header = &mut self.messages[n].msg_hdr;
                header.msg_name = target.as_ptr().cast_mut().cast();
                header.msg_namelen = target.len();
                header.msg_iov = &raw mut self.vectors[n];
                header.msg_iovlen = 1;
            }
            let now_ns = realtime_ns();
            for &flow in group {
                times.place(flow, round).store(now_ns, Ordering::Relaxed);
            }
            let fd = phones.sender(group[0]).as_raw_fd();
            let mut done = 0;
            while done < group.len() {
                let (rest, count) = (&mut self.messages[done..], group.len() - done);
                // SAFETY: `count` messages are filled in and point to live memory.
                let result = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), count as u32, 0) };
                match usize::try_from(result) {
                    Ok(n) if n > 0 => done += n,
                    _ => break,
                }
            }
            taken += done as u64;
        }
        taken
    }
}

/// Flow that arrives at a side (0 calling, 1 called) from a port of the relay.
fn flows_by_port(relays: &[RelayPorts]) -> [Vec<u32>; 2] {
    let mut by_port = [vec![u32::MAX; 65_536], vec![u32::MAX; 65_536]];
    for (call, relay) in relays.iter().enumerate() {
        by_port[0][usize::from(relay.from_a.port())] = 2 * call as u32 + 1;
        by_port[1][usize::from(relay.from_b.port())] = 2 * call as u32;
    }
    by_port
}

fn receive_all(
    options: &Options,
    phones: &Phones,
    relays: &[RelayPorts],
    mut listener: Listener,
    times: &SendTimes,
    over: &AtomicBool,
) -> Received {
    let by_port = flows_by_port(relays);
    let measured = plan::measured(options.seconds);
    let mut received = Received::default();
    let mut batch = ReceiveBatch::new();
    let mut polled: Vec<libc::pollfd> = phones
        .sockets
        .iter()
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let mut ended: Option<Instant> = None;
    while ended.is_none_or(|at| at.elapsed() < DRAIN) {
        if ended.is_none() && over.load(Ordering::Acquire) {
            ended = Some(Instant::now());
        }
        // SAFETY: pointer and length describe `polled`.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 50) };
        for (n, socket) in polled.iter().enumerate() {
            if socket.revents & libc::POLLIN == 0 {
                continue;
            }
            let ports = &by_port[n / phones.per_side];
            batch.receive(socket.fd, |packet, port, at_ns| {
                let flow = ports[usize::from(port)];
                let Some((round, intact)) = listener.read(packet, flow) else {
                    received.unknown += 1;
                    return;
                };
                if !measured.contains(&round) {
                    return;
                }
                received.packets += 1;
                received.bad += u64::from(!intact);
                let sent_ns = times.place(flow, round).load(Ordering::Relaxed);
                received.latency.add(at_ns.saturating_sub(sent_ns));
            });
        }
    }
    received
}

/// Room for one `recvmmsg`.
struct ReceiveBatch {
    packets: Vec<[u8; 2_048]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<[u64; 8]>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl ReceiveBatch {
    fn new() -> ReceiveBatch {
        let mut packets = vec![[0; 2_048]; BATCH];
        let vector = |packet: &mut [u8; 2_048]| libc::iovec {
            iov_base: packet.as_mut_ptr().cast(),
            iov_len: packet.len(),
        };
        let vectors = packets.iter_mut().map(vector).collect();
        ReceiveBatch {
            packets,
            // SAFETY: all-zero is a valid `sockaddr_storage`.
            names: vec![unsafe { zeroed() }; BATCH],
            controls: vec![[0; 8]; BATCH],
            vectors,
            // SAFETY: all-zero is a valid `mmsghdr`.
            messages: vec![unsafe { zeroed() }; BATCH],
        }
    }

    /// Takes what is waiting, at most one batch, and shows it with source port and time.
    fn receive(&mut self, fd: i32, mut show: impl FnMut(&mut [u8], u16, u64)) {
        for n in 0..BATCH {
            let header = &mut self.messages[n].msg_hdr;
            header.msg_name = (&raw mut self.names[n]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut self.vectors[n];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[n].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; 8]>() as _;
        }
        let (messages, flags) = (self.messages.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: all `BATCH` messages are filled in and point to live memory.
        let count =
            unsafe { libc::recvmmsg(fd, messages, BATCH as u32, flags, std::ptr::null_mut()) };
        for n in 0..usize::try_from(count).unwrap_or(0) {
            let length = (self.messages[n].msg_len as usize).min(self.packets[n].len());
            // SAFETY: port and family lie at the same place for IPv4 and IPv6.
            let port = unsafe {
                u16::from_be((*(&raw const self.names[n]).cast::<libc::sockaddr_in>()).sin_port)
            };
            let at_ns = kernel_time_ns(&self.messages[n].msg_hdr);
            show(&mut self.packets[n][..length], port, at_ns);
        }
    }
}

/// When the kernel got the packet; now, when it does not say.
fn kernel_time_ns(header: &libc::msghdr) -> u64 {
    // SAFETY: `header` was filled in by the kernel; the control message is read only when
    // its kind says that a `timespec` is inside.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null() || (*control).cmsg_type != libc::SCM_TIMESTAMPNS {
            return realtime_ns();
        }
        let time = libc::CMSG_DATA(control)
            .cast::<libc::timespec>()
            .read_unaligned();
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}
