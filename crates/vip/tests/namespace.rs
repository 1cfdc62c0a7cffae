//! The holder against a real kernel, each test in a network namespace of its own.
//!
//! Needs root (CAP_SYS_ADMIN for the namespace, CAP_NET_ADMIN inside it).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use raftpbx_vip::clock::now_ns;
use raftpbx_vip::{Vip, VipConfig, VipError, clean};

const V4: &str = "10.91.0.100";
const V6: &str = "fd91::100";
const MS: u64 = 1_000_000;

/// Moves this thread into a fresh namespace with `eth0` wired to `wire`. False without the
/// privilege, with a line that says so.
fn fresh_namespace() -> bool {
    // SAFETY: no arguments that could be wrong; the result is checked below.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not run: this test makes a network namespace and needs root");
        return false;
    }
    // SAFETY: only this thread changes its namespace.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare");
    ip("link add eth0 type veth peer name wire");
    ip("link set lo up");
    ip("link set wire up");
    ip("link set eth0 up");
    true
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("run ip");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn present() -> (bool, bool) {
    let list = ip("-o address show dev eth0");
    (
        list.contains(&format!("{V4}/32")),
        list.contains(&format!("{V6}/128")),
    )
}

fn config() -> VipConfig {
    let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
    VipConfig {
        interface: "eth0".into(),
        addresses: vec![parse(V4), parse(V6)],
    }
}

fn lease_for(ms: u64) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(now_ns() + ms * MS))
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !reached() {
        assert!(Instant::now() < deadline, "never reached: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn a_claim_with_a_lease_puts_both_addresses_on_and_a_release_takes_them_off() {
    if !fresh_namespace() {
        return;
    }
    let vip = Vip::start(config(), lease_for(60_000)).expect("start");
    assert_eq!(present(), (false, false));
    vip.claim();
    until("holding", || vip.status().holding);
    assert_eq!(present(), (true, true));
    assert!(
        ip("-o address show dev eth0").contains("nodad"),
        "usable without detection"
    );
    assert!(vip.release());
    assert_eq!(present(), (false, false));
    let status = vip.status();
    assert_eq!(
        (status.holding, status.acquired, status.dropped),
        (false, 1, 1)
    );
}

#[test]
fn the_addresses_go_by_themselves_when_the_lease_ends_and_come_back_with_a_new_one() {
    if !fresh_namespace() {
        return;
    }
    let lease = lease_for(150);
    let vip = Vip::start(config(), Arc::clone(&lease)).expect("start");
    vip.claim();
    until("holding", || vip.status().holding);
    until("dropped", || !vip.status().holding);
    let late_ns = now_ns().saturating_sub(lease.load(Ordering::Acquire));
    assert!(late_ns < 100 * MS, "dropped {late_ns} ns after the lease");
    until("gone", || present() == (false, false));
    lease.store(now_ns() + 60_000 * MS, Ordering::Release);
    until("taken again", || vip.status().holding);
    assert_eq!(present(), (true, true));
    assert_eq!(vip.status().acquired, 2);
}

#[test]
fn a_renewed_lease_keeps_the_addresses_without_a_gap() {
    if !fresh_namespace() {
        return;
    }
    let lease = lease_for(50);
    let vip = Vip::start(config(), Arc::clone(&lease)).expect("start");
    vip.claim();
    let end = Instant::now() + Duration::from_millis(400);
    until("half a second of renewals", || {
        lease.store(now_ns() + 50 * MS, Ordering::Release);
        Instant::now() > end
    });
    let status = vip.status();
    assert_eq!((status.acquired, status.dropped), (1, 0));
}

#[test]
fn nothing_is_taken_without_a_lease() {
    if !fresh_namespace() {
        return;
    }
    let vip = Vip::start(config(), Arc::default()).expect("start");
    vip.claim();
    assert!(vip.release());
    assert_eq!((present(), vip.status().acquired), ((false, false), 0));
}

#[test]
fn left_overs_are_removed_at_the_start_by_clean_and_on_drop() {
    if !fresh_namespace() {
        return;
    }
    ip(&format!("address add {V4}/32 dev eth0"));
    ip(&format!("address add {V6}/128 dev eth0 nodad"));
    assert_eq!(clean(&config()).expect("clean"), 2);
    assert_eq!(present(), (false, false));
    ip(&format!("address add {V4}/32 dev eth0"));
    let vip = Vip::start(config(), lease_for(60_000)).expect("start");
    assert_eq!(present(), (false, false));
    vip.claim();
    until("holding", || vip.status().holding);
    drop(vip);
    assert_eq!(present(), (false, false));
}

#[test]
fn an_address_removed_by_somebody_else_is_put_back() {
    if !fresh_namespace() {
        return;
    }
    let vip = Vip::start(config(), lease_for(60_000)).expect("start");
    vip.claim();
    until("holding", || vip.status().holding);
    ip(&format!("address del {V4}/32 dev eth0"));
    until("put back", || present() == (true, true));
}

#[test]
fn the_kernel_is_told_to_remove_the_addresses_of_a_dead_holder() {
    if !fresh_namespace() {
        return;
    }
    let vip = Vip::start(config(), lease_for(60_000)).expect("starts");
    vip.claim();
    until("taken", || present() == (true, true));
    let list = ip("-o address show dev eth0");
    let mortal = list
        .lines()
        .filter(|line| line.contains("valid_lft 2sec"))
        .count();
    assert_eq!(mortal, 2, "{list}");
    // Longer than the lifetime: renewals keep them.
    let renewed = Instant::now() + Duration::from_millis(2_600);
    until("renewed", || {
        assert_eq!(present(), (true, true));
        Instant::now() > renewed
    });
    assert_eq!(vip.status().acquired, 1);
}

#[test]
fn mistakes_are_named() {
    if !fresh_namespace() {
        return;
    }
    let start = |config| {
        Vip::start(config, Arc::default())
            .map(|_| ())
            .expect_err("refused")
    };
    let missing = VipConfig {
        interface: "eth9".into(),
        ..config()
    };
    assert!(matches!(start(missing), VipError::NoInterface(name) if name == "eth9"));
    ip(&format!("address add {V4}/24 dev eth0"));
    assert!(start(config()).to_string().contains("ordinary address"));
    let empty = VipConfig {
        addresses: vec![],
        ..config()
    };
    assert!(matches!(start(empty), VipError::Config(_)));
}

#[test]
fn without_the_capability_the_error_says_which_one() {
    if !fresh_namespace() {
        return;
    }
    // A thread of its own gives up all capabilities: the others keep theirs.
    let refused = std::thread::spawn(|| {
        let header: [u32; 2] = [0x2008_0522, 0];
        let none = [0_u32; 6];
        // SAFETY: version 3 header and two sets of three words, as capset(2) wants them.
        let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
        assert_eq!(set, 0, "capset");
        Vip::start(config(), Arc::default())
            .map(|_| ())
            .expect_err("refused")
    })
    .join()
    .expect("the thread");
    assert!(
        refused.to_string().contains("CAP_NET_ADMIN is missing"),
        "{refused}"
    );
}

/// A socket that sees all frames arriving at `wire`.
fn tap() -> OwnedFd {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system calls with pointers valid for the calls; results are checked.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(all));
        assert!(fd >= 0, "packet socket");
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = libc::if_nametoindex(c"wire".as_ptr()) as i32;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        assert_eq!(libc::bind(fd, (&raw const address).cast(), size), 0, "bind");
        let timeout = libc::timeval {
            tv_sec: 5,
            tv_usec: 0,
        };
        let size = size_of::<libc::timeval>() as u32;
        let time = (&raw const timeout).cast();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, time, size);
        OwnedFd::from_raw_fd(fd)
    }
}

#[test]
fn the_other_end_of_the_wire_hears_the_announcements() {
    if !fresh_namespace() {
        return;
    }
    let tap = tap();
    let vip = Vip::start(config(), lease_for(60_000)).expect("start");
    vip.claim();
    let (mut requests, mut replies, mut advertisements) = (0, 0, 0);
    // The first three announcements fall into 200 ms.
    while requests < 3 || replies < 3 || advertisements < 3 {
        let mut frame = [0_u8; 128];
        // SAFETY: the pointer and length describe `frame`.
        let length =
            unsafe { libc::recv(tap.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        assert!(
            length > 0,
            "heard {requests} requests, {replies} replies, {advertisements} NA"
        );
        match (frame[12], frame[13], frame[21], frame[54]) {
            (0x08, 0x06, 1, _) if frame[28..32] == [10, 91, 0, 100] => requests += 1,
            (0x08, 0x06, 2, _) if frame[38..42] == [10, 91, 0, 100] => replies += 1,
            (0x86, 0xdd, _, 136) if frame[62] == 0xfd && frame[77] == 0 => advertisements += 1,
            _ => {}
        }
    }
    assert!(vip.status().garps >= 9);
}
