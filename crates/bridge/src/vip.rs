//! The virtual address, wired to the store's leadership.

use std::net::IpAddr;
use std::sync::Arc;

use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_store::StoreEvent;
use raftpbx_vip::{Vip, VipConfig};
use serde::{Deserialize, Serialize};

use crate::sip::NativeSip;
use crate::store::NativeStore;
use crate::{failure, options};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireVipOptions {
    interface: String,
    addresses: Vec<IpAddr>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireVipStatus {
    holding: bool,
    lease_remaining_ms: u64,
    acquired: u64,
    dropped: u64,
}

/// The holder of the virtual address on this node.
#[napi]
pub struct NativeVip {
    vip: Arc<Mutex<Option<Vip>>>,
}

/// Removes left-over addresses, then takes and drops them as the store leads and follows.
///
/// The engine is asked for so that its watch on the store was there first: it hears of
/// leadership before the address is taken.
#[napi]
pub fn start_vip(
    wire: String,
    store: &NativeStore,
    _sip: Option<&NativeSip>,
) -> napi::Result<NativeVip> {
    let wire: WireVipOptions = options(&wire)?;
    let config = VipConfig {
        interface: wire.interface,
        addresses: wire.addresses,
    };
    let vip = Vip::start(config, store.store().lease()).map_err(failure)?;
    let vip = Arc::new(Mutex::new(Some(vip)));
    let watched = Arc::clone(&vip);
    store.store().watch(
        Vec::new(),
        Box::new(move |events| {
            if let Some(vip) = watched.lock().as_ref() {
                for event in events {
                    match event {
                        StoreEvent::Leading { .. } => vip.claim(),
                        StoreEvent::Following { .. } => {
                            if !vip.release() {
                                tracing::error!("the virtual address may still be here");
                            }
                        }
                        StoreEvent::Changed(_) | StoreEvent::Reset => {}
                    }
                }
            }
        }),
    );
    Ok(NativeVip { vip })
}

#[napi]
impl NativeVip {
    /// Drops the addresses; returns when they are gone.
    #[napi]
    pub fn release(&self) -> napi::Result<()> {
        match self.vip.lock().as_ref() {
            Some(vip) if !vip.release() => Err(failure(
                "PBX_VIP_STUCK: the virtual address could not be removed",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the addresses are here and for how long, JSON.
    #[napi]
    pub fn status(&self) -> napi::Result<String> {
        let status = self.vip.lock().as_ref().map(Vip::status);
        let wire = status.map_or(
            WireVipStatus {
                holding: false,
                lease_remaining_ms: 0,
                acquired: 0,
                dropped: 0,
            },
            |status| WireVipStatus {
                holding: status.holding,
                lease_remaining_ms: status.lease_remaining_ms,
                acquired: status.acquired,
                dropped: status.dropped,
            },
        );
        serde_json::to_string(&wire).map_err(failure)
    }

    /// Drops the addresses and ends the thread; a second call does nothing.
    #[napi]
    pub fn shutdown(&self) {
        drop(self.vip.lock().take());
    }
}
