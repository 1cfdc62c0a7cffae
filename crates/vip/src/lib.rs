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
//! - `machine`: pure decisions: when to take, announce, check and drop.
//! - `holder`: the thread that carries them out.
//! - `netlink`: addresses of interfaces. `announce`: ARP and neighbour frames.
//! - [`clock`]: `CLOCK_BOOTTIME` and wake-ups.
//! - [`limits`](mod@limits): named bounds and intervals.

mod announce;
pub mod clock;
mod holder;
pub mod limits;
mod machine;
mod netlink;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use crate::announce::Announcer;
use crate::clock::Alarm;
use crate::holder::{Hands, Shared};
use crate::netlink::{Netlink, host_prefix, interface_index};

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
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
        let (netlink, _) = prepare(&config)?;
        let announcer = Announcer::open()
            .map_err(|source| refused("announce addresses", "CAP_NET_RAW", source))?;
        let system = |action: &str| {
            let action = action.to_owned();
            move |source| VipError::System { action, source }
        };
        let alarm = Alarm::new().map_err(system("make the timer of the virtual address"))?;
        let shared = Arc::new(Shared::new(alarm, lease));
        let hands = Hands {
            config,
            netlink,
            announcer,
            added: false,
        };
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("vip".into())
            .spawn(move || holder::run(&seen, hands))
            .map_err(system("start the thread of the virtual address"))?;
        Ok(Vip {
            shared,
            thread: Some(thread),
        })
    }

    /// Asks for the addresses: taken as soon as the lease is valid, announced anew when
    /// they are already held. Does not block.
    pub fn claim(&self) {
        self.shared.claim();
    }

    /// Gives the addresses up and blocks until they are gone from the interface.
    /// Returns false when the kernel did not confirm that.
    pub fn release(&self) -> bool {
        self.shared.release(false)
    }

    /// What the holder is doing now.
    pub fn status(&self) -> VipStatus {
        self.shared.status()
    }
}

impl Drop for Vip {
    fn drop(&mut self) {
        self.shared.release(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the virtual address had failed");
        }
    }
}

/// Removes the addresses of `config` from its interface, for use after a crash.
/// Returns how many were there.
///
/// # Errors
/// As [`Vip::start`].
pub fn clean(config: &VipConfig) -> Result<usize, VipError> {
    prepare(config).map(|(_, removed)| removed)
}

/// Checks the configuration and the privileges and removes what is left over.
fn prepare(config: &VipConfig) -> Result<(Netlink, usize), VipError> {
    check(config)?;
    let Some(index) = interface_index(&config.interface) else {
        return Err(VipError::NoInterface(config.interface.clone()));
    };
    let list = |source| VipError::System {
        action: "list addresses".into(),
        source,
    };
    let mut netlink = Netlink::open().map_err(list)?;
    let present = netlink.list().map_err(list)?;
    let ours = |p: &&netlink::Present| config.addresses.contains(&p.address);
    if let Some(p) = present
        .iter()
        .filter(ours)
        .find(|p| p.interface != index || p.prefix != host_prefix(p.address))
    {
        return Err(VipError::Config(format!(
            "{}/{} is already an ordinary address of this server; a virtual address must be \
             nobody's own: choose another one or remove it with 'ip address del'",
            p.address, p.prefix
        )));
    }
    let mut removed = 0;
    // Every address is tried, even an absent one: the refusal tells about a missing right.
    for &address in &config.addresses {
        let was_there = netlink
            .remove(index, address)
            .map_err(|source| refused("change addresses", "CAP_NET_ADMIN", source))?;
        if was_there {
            tracing::warn!(%address, "removed a virtual address left over from an earlier run");
            removed += 1;
        }
    }
    Ok((netlink, removed))
}

fn check(config: &VipConfig) -> Result<(), VipError> {
    let bad = |text: String| Err(VipError::Config(text));
    if config.addresses.is_empty() {
        return bad("no address is given".into());
    }
    if config.addresses.len() > limits::ADDRESSES_MAX {
        return bad(format!("more than {} addresses", limits::ADDRESSES_MAX));
    }
    for (i, address) in config.addresses.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return bad(format!("{address} cannot be a virtual address"));
        }
        if config.addresses[..i].contains(address) {
            return bad(format!("{address} is given twice"));
        }
    }
    Ok(())
}

fn refused(action: &'static str, capability: &'static str, source: io::Error) -> VipError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => VipError::Permission { action, capability },
        _ => VipError::System {
            action: action.into(),
            source,
        },
    }
}
