//! Named bounds of the virtual address holder, each with its reason.

/// Most virtual addresses of one holder: one per family is usual, a few more for several
/// networks; an announcement burst must stay small.
pub const ADDRESSES_MAX: usize = 16;

/// Announcements after the address was taken, milliseconds from that moment. Switches and
/// phones may miss the first frames while links settle.
pub const ANNOUNCE_AT_MS: [u64; 8] = [0, 50, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// Interval of the announcements after the burst: keeps switch tables fresh.
pub const ANNOUNCE_EVERY_MS: u64 = 30_000;

/// How often the holder looks whether the addresses are really there and renews their
/// lifetime in the kernel.
pub const CHECK_EVERY_MS: u64 = 500;

/// Lifetime of an address in the kernel, seconds: a holder that was killed or stopped cannot
/// remove it, so the kernel does. Four renewals may be missed; whole seconds are its unit.
pub const LIFETIME_S: u32 = 2;

/// How often a claimed but leaseless holder looks for a new lease.
pub const LEASE_POLL_MS: u64 = 5;

/// How long [`crate::Vip::release`] waits for the holder thread.
pub const RELEASE_WAIT_MS: u64 = 2_000;

/// How soon the kernel is asked again after it refused to add or remove an address.
pub const RETRY_MS: u64 = 100;

/// Receive buffer of one netlink answer, bytes (the kernel's own largest dump block).
pub const NETLINK_BUFFER_BYTES: usize = 32 * 1024;

/// Most netlink answers read for one request: far above thousands of addresses.
pub const NETLINK_REPLIES_MAX: usize = 1_000;

/// `SCHED_FIFO` priority of the holder thread: above ordinary work, below kernel threads.
pub const REALTIME_PRIORITY: i32 = 10;
