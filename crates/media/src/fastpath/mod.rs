//! Established flows of plain RTP, relayed by the kernel.
//!
//! A program at the ingress of the interfaces (tcx, Linux 6.6; `bpf/relay.bpf.c`) relays what is
//! exactly as the engine described it; all else comes to the sockets as ever. Owner of the
//! program and its tables; each [`Offload`] in them belongs to one direction of one flow.
//! Invariant: whoever changes a flow recalls it first (`worker::Table::get_mut`), so the kernel
//! never acts on what is no longer so. The kernel forgets everything when the process ends.
//!
//! ```text
//!   sweep, each second --offload-> flows  <--look up-- program --> the other party
//!   command, digit, new source --recall-->            |
//!   query, sweep <------------- tallies <--count------+
//! ```
//!
//! # Layout
//! - `layout`: what engine and program share. `routes`: where packets leave.

pub mod layout;
mod routes;

use std::error::Error;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use parking_lot::Mutex;

use crate::MediaConfig;
use crate::limits::FAST_FLOWS_MAX;
use layout::{Entry, Place, Tally, TallyCell, Wanted};
use routes::{Routes, interfaces_with};

/// The kernel's part, or none with the reason in the log.
pub(crate) fn start(config: &MediaConfig) -> Option<Arc<FastPath>> {
    if !config.fast_path {
        return None;
    }
    let addresses: Vec<IpAddr> = config.interfaces.iter().map(|one| one.local).collect();
    match FastPath::start(&addresses) {
        Ok(path) => Some(Arc::new(path)),
        Err(reason) => {
            tracing::warn!(reason, "packets are relayed by threads, not by the kernel");
            None
        }
    }
}

static PROGRAM: &[u8] = aya::include_bytes_aligned!("../../bpf/relay.bpf.o");

/// The program in the kernel and its tables.
pub struct FastPath {
    tables: Mutex<Tables>,
    tallies: Tallies,
    /// Grows with each change of routing: offloads of before are no longer right.
    epoch: AtomicU64,
    /// Holds the program and its attachment to the interfaces.
    _program: Ebpf,
}

struct Tables {
    flows: HashMap<MapData, Place, Entry>,
    routes: Routes,
    /// Counters that nobody uses.
    free: Vec<u32>,
    /// Given back since the last [`FastPath::settle`]: a packet under way may still count on them.
    resting: Vec<u32>,
}

impl FastPath {
    /// Loads the program and attaches it to the interfaces of these addresses.
    ///
    /// # Errors
    /// Why it cannot be: one line for the log.
    pub fn start(addresses: &[IpAddr]) -> Result<FastPath, String> {
        let failed = |what: &str, error: &dyn Error| format!("{what}: {}", chain(error));
        let interfaces =
            interfaces_with(addresses).map_err(|error| failed("list interfaces", &error))?;
        if interfaces.is_empty() {
            return Err("no Ethernet interface has an address of media.interfaces".into());
        }
        let mut program =
            Ebpf::load(PROGRAM).map_err(|error| failed("load the program", &error))?;
        let relay = program
            .program_mut("relay")
            .ok_or("the program has no `relay`")?;
        let relay: &mut SchedClassifier = relay
            .try_into()
            .map_err(|error| failed("find the program", &error))?;
        relay
            .load()
            .map_err(|error| failed("load the program", &error))?;
        for interface in &interfaces {
            // Only tcx ends with the process; what clsact holds would outlive a crash.
            let last = TcAttachOptions::TcxOrder(LinkOrder::default());
            relay
                .attach_with_options(interface, TcAttachType::Ingress, last)
                .map_err(|error| {
                    failed(&format!("attach to {interface} (needs Linux 6.6)"), &error)
                })?;
        }
        let flows = program.take_map("flows").ok_or("no table of flows")?;
        let flows =
            HashMap::try_from(flows).map_err(|error| failed("open the table of flows", &error))?;
        let Some(Map::Array(tallies)) = program.take_map("tallies") else {
            return Err("no table of counters".into());
        };
        let tallies = Tallies::map(&tallies).map_err(|error| failed("map counters", &error))?;
        let routes = Routes::open().map_err(|error| failed("open netlink", &error))?;
        tracing::info!(?interfaces, "the kernel relays established flows");
        Ok(FastPath {
            tables: Mutex::new(Tables {
                flows,
                routes,
                free: (0..FAST_FLOWS_MAX).rev().collect(),
                resting: Vec::new(),
            }),
            tallies,
            epoch: AtomicU64::new(0),
            _program: program,
        })
    }

    /// Lets the kernel relay one direction; none when it cannot: no route by Ethernet, no room.
    /// `tally` is where its counters begin.
    pub fn offload(self: &Arc<Self>, wanted: Wanted, tally: Tally) -> Option<Offload> {
        let mut tables = self.tables.lock();
        let exit = tables.routes.exit(wanted.source.ip(), wanted.target.ip())?;
        let index = tables.free.pop()?;
        let begin = Tally {
            packets: 0,
            bytes: 0,
            ..tally
        };
        self.tallies.cell(index).set(begin);
        let (place, entry) = wanted.laid_out(exit, index);
        if let Err(error) = tables.flows.insert(place, entry, 0) {
            tracing::debug!(error = chain(&error), "the kernel takes no further flow");
            tables.free.push(index);
            return None;
        }
        Some(Offload {
            path: Arc::clone(self),
            wanted,
            place,
            index,
            taken: true,
            seen: (0, 0),
            epoch: self.epoch.load(Ordering::Relaxed),
        })
    }

    /// Once a second: notices changes of routing and lets counters be used again.
    pub fn settle(&self) {
        let mut tables = self.tables.lock();
        if tables.routes.have_changed() {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        let mut rested = std::mem::take(&mut tables.resting);
        tables.free.append(&mut rested);
    }
}

/// One direction of a flow that the kernel relays, until it is dropped.
pub struct Offload {
    path: Arc<FastPath>,
    wanted: Wanted,
    place: Place,
    index: u32,
    taken: bool,
    /// Packets and bytes that were told already.
    seen: (u64, u64),
    epoch: u64,
}

/// What the kernel relayed since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Offload {
    /// What the kernel was told.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether routing is as it was.
    pub fn is_current(&self) -> bool {
        self.epoch == self.path.epoch.load(Ordering::Relaxed)
    }

    /// Number of the newest packet that the kernel relayed.
    pub fn newest(&self) -> u16 {
        self.path.tallies.cell(self.index).read().sequence
    }

    /// What was relayed since the last time, and the counters now.
    pub fn moved(&mut self) -> (Moved, Tally) {
        let tally = self.path.tallies.cell(self.index).read();
        let moved = Moved {
            packets: tally.packets - self.seen.0,
            bytes: tally.bytes - self.seen.1,
        };
        self.seen = (tally.packets, tally.bytes);
        (moved, tally)
    }

    /// The kernel relays no further packet; the counters stay to be read.
    pub fn leave(&mut self) {
        if !std::mem::take(&mut self.taken) {
            return;
        }
        let mut tables = self.path.tables.lock();
        if let Err(error) = tables.flows.remove(&self.place) {
            tracing::error!(error = chain(&error), "cannot take a flow from the kernel");
        }
        tables.resting.push(self.index);
    }
}

impl Drop for Offload {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The counters of all flows, in memory shared with the kernel.
struct Tallies {
    first: *const TallyCell,
}

// SAFETY: cells consist of atomics; the memory lives as long as the value.
unsafe impl Send for Tallies {}
// SAFETY: as above.
unsafe impl Sync for Tallies {}

const TALLIES_BYTES: usize = FAST_FLOWS_MAX as usize * size_of::<TallyCell>();

impl Tallies {
    fn map(map: &MapData) -> std::io::Result<Tallies> {
        let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let fd = map.fd().as_fd().as_raw_fd();
        // SAFETY: a new mapping; its length is that of the table in the kernel or less.
        let first = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                TALLIES_BYTES,
                read_write,
                shared,
                fd,
                0,
            )
        };
        if first == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Tallies {
            first: first.cast(),
        })
    }

    fn cell(&self, index: u32) -> &TallyCell {
        assert!(index < FAST_FLOWS_MAX, "an index of ours");
        // SAFETY: inside the mapping, page-aligned at its beginning, and made of atomics.
        unsafe { &*self.first.add(index as usize) }
    }
}

impl Drop for Tallies {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can have a cell any more.
        unsafe { libc::munmap(self.first.cast_mut().cast(), TALLIES_BYTES) };
    }
}

/// An error with what it comes from.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    // The verifier's log is for developers.
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_object_was_made_of_the_source() {
        let source = include_bytes!("../../bpf/relay.bpf.c");
        let sum = Sha256::digest(source);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let found = super::PROGRAM
            .windows(sum.len())
            .any(|window| window == sum.as_bytes());
        assert!(found, "run crates/media/bpf/build and commit relay.bpf.o");
    }
}
