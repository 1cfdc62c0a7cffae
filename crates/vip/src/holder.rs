//! The thread that carries out what the machine decides.
//!
//! Owner of the sockets and the machine. Invariant: whichever way the thread ends, by order
//! or by a panic, the addresses are removed before its sockets close.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::announce::Announcer;
use crate::clock::{Alarm, now_ns};
use crate::limits::{REALTIME_PRIORITY, RELEASE_WAIT_MS};
use crate::machine::{Action, Event, Machine};
use crate::netlink::{Netlink, interface_index};
use crate::{VipConfig, VipStatus};

/// What the owner asked for and how far the thread has got.
#[derive(Default)]
struct Orders {
    /// Not yet seen by the thread, oldest first; a later one makes an earlier one void.
    pending: Option<Event>,
    stop: bool,
    /// Number of the last order given, and of the last one carried out.
    given: u64,
    done: u64,
    /// No address is left on the interface, as far as the last order goes.
    gone: bool,
}

/// The part of a holder that both sides see.
pub(crate) struct Shared {
    orders: Mutex<Orders>,
    carried_out: Condvar,
    alarm: Alarm,
    lease: Arc<AtomicU64>,
    holding: AtomicBool,
    acquired: AtomicU64,
    dropped: AtomicU64,
    garps: AtomicU64,
}

impl Shared {
    pub fn new(alarm: Alarm, lease: Arc<AtomicU64>) -> Shared {
        Shared {
            orders: Mutex::default(),
            carried_out: Condvar::new(),
            alarm,
            lease,
            holding: AtomicBool::new(false),
            acquired: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            garps: AtomicU64::new(0),
        }
    }

    pub fn claim(&self) {
        let mut orders = self.orders.lock();
        orders.pending = Some(Event::Claim);
        orders.given += 1;
        drop(orders);
        self.alarm.ring();
    }

    /// Orders a release, and the end of the thread with `stop`, and waits until it is done.
    pub fn release(&self, stop: bool) -> bool {
        let mut orders = self.orders.lock();
        orders.pending = Some(Event::Release);
        orders.stop |= stop;
        orders.given += 1;
        let mine = orders.given;
        self.alarm.ring();
        let timeout = Duration::from_millis(RELEASE_WAIT_MS);
        let waited = self
            .carried_out
            .wait_while_for(&mut orders, |o| o.done < mine, timeout);
        !waited.timed_out() && orders.gone
    }

    pub fn status(&self) -> VipStatus {
        let remaining_ns = self.lease.load(Ordering::Acquire).saturating_sub(now_ns());
        VipStatus {
            holding: self.holding.load(Ordering::Acquire),
            lease_remaining_ms: remaining_ns / 1_000_000,
            acquired: self.acquired.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            garps: self.garps.load(Ordering::Relaxed),
        }
    }
}

/// The sockets and what was done with them.
pub(crate) struct Hands {
    pub config: VipConfig,
    pub netlink: Netlink,
    pub announcer: Announcer,
    /// True while an address may be on the interface.
    pub added: bool,
}

impl Hands {
    fn add(&mut self) -> bool {
        let Some(index) = interface_index(&self.config.interface) else {
            tracing::error!(
                interface = self.config.interface,
                "interface has disappeared"
            );
            return false;
        };
        self.added = true;
        for &address in &self.config.addresses {
            if let Err(error) = self.netlink.add(index, address) {
                tracing::error!(%address, %error, "cannot add the virtual address");
                return false;
            }
        }
        true
    }

    /// Removes all addresses; true when none is left.
    pub fn remove(&mut self) -> bool {
        let Some(index) = interface_index(&self.config.interface) else {
            self.added = false;
            return true;
        };
        let mut gone = true;
        for &address in &self.config.addresses {
            if let Err(error) = self.netlink.remove(index, address) {
                tracing::error!(%address, %error, "cannot remove the virtual address");
                gone = false;
            }
        }
        self.added = !gone;
        gone
    }

    fn announce(&self) -> u64 {
        let name = &self.config.interface;
        let Some(index) = interface_index(name) else {
            return 0;
        };
        let send = |&address: &IpAddr| match self.announcer.announce(index, name, address) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(%address, %error, "cannot announce the virtual address");
                0
            }
        };
        self.config.addresses.iter().map(send).sum()
    }

    /// True when all addresses are on the interface.
    fn all_present(&mut self) -> bool {
        let Some(index) = interface_index(&self.config.interface) else {
            return false;
        };
        match self.netlink.list() {
            Ok(list) => self.config.addresses.iter().all(|address| {
                list.iter()
                    .any(|p| p.interface == index && p.address == *address)
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot list the addresses");
                true
            }
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        if self.added {
            self.remove();
        }
    }
}

/// Runs the holder until it is told to stop.
pub(crate) fn run(shared: &Shared, mut hands: Hands) {
    ask_for_realtime();
    let mut machine = Machine::default();
    loop {
        let (event, order, stop) = {
            let mut orders = shared.orders.lock();
            let event = orders.pending.take().unwrap_or(Event::Tick);
            (event, orders.given, orders.stop)
        };
        let lease = shared.lease.load(Ordering::Acquire);
        let actions = machine.step(now_ns(), lease, event);
        carry_out(shared, &mut hands, &mut machine, actions);
        shared.holding.store(machine.holding(), Ordering::Release);
        {
            let mut orders = shared.orders.lock();
            orders.done = order;
            orders.gone = !machine.holding() && !machine.stuck();
            shared.carried_out.notify_all();
            if orders.given != order {
                continue;
            }
        }
        if stop {
            return;
        }
        let wake_at = machine.wake_at(now_ns(), shared.lease.load(Ordering::Acquire));
        if let Err(error) = shared.alarm.wait(wake_at) {
            // Without a working timer the lease could be overrun: leave, removing all.
            tracing::error!(%error, "the timer of the virtual address failed");
            shared.holding.store(false, Ordering::Release);
            let mut orders = shared.orders.lock();
            orders.gone = hands.remove();
            orders.done = u64::MAX;
            shared.carried_out.notify_all();
            return;
        }
    }
}

fn carry_out(shared: &Shared, hands: &mut Hands, machine: &mut Machine, actions: Vec<Action>) {
    let lease = || shared.lease.load(Ordering::Acquire);
    for action in actions {
        match action {
            Action::Add if hands.add() => {
                shared.acquired.fetch_add(1, Ordering::Relaxed);
                tracing::info!(addresses = ?hands.config.addresses, "virtual address taken");
            }
            Action::Add => {
                let undo = machine.step(now_ns(), lease(), Event::AddFailed);
                return carry_out(shared, hands, machine, undo);
            }
            Action::Remove => {
                let had = hands.added;
                if !hands.remove() {
                    machine.step(now_ns(), lease(), Event::RemoveFailed);
                } else if had {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                    let addresses = &hands.config.addresses;
                    tracing::info!(?addresses, "virtual address given up");
                }
            }
            Action::Announce => {
                shared.garps.fetch_add(hands.announce(), Ordering::Relaxed);
            }
            Action::Check => {
                let present = hands.all_present();
                // Adding what is there renews its lifetime.
                let added = hands.add();
                if !present {
                    tracing::warn!("the virtual address was gone without our doing");
                    if added {
                        shared.garps.fetch_add(hands.announce(), Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// A delayed holder drops late, so it asks to run before ordinary threads.
fn ask_for_realtime() {
    let parameter = libc::sched_param {
        sched_priority: REALTIME_PRIORITY,
    };
    // SAFETY: the pointer is valid and the thread is this one.
    let refused = unsafe {
        libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &raw const parameter)
    };
    if refused != 0 {
        tracing::warn!(
            "the virtual address thread runs without real-time priority (CAP_SYS_NICE is missing)"
        );
    }
}
