//! The floating addresses that are here.
//!
//! Owner of the holders of addresses, a thread each. Invariants: an address comes by command alone
//! and only when the configuration names it; what an earlier life left behind goes at the start;
//! when the process is killed, the kernel drops its addresses within two seconds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use raftpbx_vip::{Vip, VipConfig, VipError, clean};

use crate::Floating;
use crate::ng::Refusal;

/// An address that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// Calls with ports there.
    pub calls: usize,
}

/// Floating addresses of this engine.
#[derive(Default)]
pub struct Addresses {
    floating: Option<Floating>,
    /// Those that are here; without a holder somebody else brings them.
    held: Mutex<BTreeMap<IpAddr, Option<Vip>>>,
}

impl Addresses {
    /// None is here yet.
    ///
    /// # Errors
    /// What an earlier life left behind cannot be removed: a missing interface or right.
    pub fn new(floating: Option<Floating>) -> Result<Addresses, VipError> {
        if let Some(Floating {
            interface: Some(interface),
            group,
            ..
        }) = &floating
        {
            clean(&config(interface, group))?;
        }
        Ok(Addresses {
            floating,
            held: Mutex::default(),
        })
    }

    /// Brings an address here and announces it; one that is here is announced again.
    ///
    /// # Errors
    /// The configuration does not name it, or the kernel refuses it.
    pub fn take(&self, address: IpAddr) -> Result<(), Refusal> {
        let floating = self.floating.as_ref();
        let named = floating.filter(|floating| floating.group.contains(&address));
        let Some(floating) = named else {
            return Err(Refusal::error("Address does not float here"));
        };
        let mut held = self.held.lock();
        if let Some(holder) = held.get(&address) {
            holder.iter().for_each(Vip::claim);
            return Ok(());
        }
        let holder = match &floating.interface {
            None => None,
            Some(interface) => {
                // Whoever commands this knows that nobody else has it, until the next command.
                let lease = Arc::new(AtomicU64::new(u64::MAX));
                let vip = Vip::start(config(interface, &[address]), lease);
                let vip = vip.map_err(|error| Refusal::error(&error.to_string()))?;
                vip.claim();
                Some(vip)
            }
        };
        held.insert(address, holder);
        Ok(())
    }

    /// Lets an address go; returns when it is gone, false when it was not here.
    pub fn drop(&self, address: IpAddr) -> bool {
        self.held.lock().remove(&address).is_some()
    }

    /// Lets all go.
    pub fn drop_all(&self) {
        self.held.lock().clear();
    }

    /// Addresses that are here.
    pub fn held(&self) -> Vec<IpAddr> {
        self.held.lock().keys().copied().collect()
    }
}

fn config(interface: &str, addresses: &[IpAddr]) -> VipConfig {
    VipConfig {
        interface: interface.to_owned(),
        addresses: addresses.to_vec(),
    }
}
