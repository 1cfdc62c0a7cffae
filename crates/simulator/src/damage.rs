//! Bits that flip in the logs of servers that are down.
//!
//! A node finds the damage when it starts: it keeps what stands before, neither votes nor leads
//! until it has caught up, and says so. That is safe only while a majority is whole, so the number
//! of servers that recover at a time is bounded ([`Unwell`]).

use std::io;
use std::path::Path;

use raftpbx_store::disk::{Disk, SECTOR_BYTES, SimulatedDisk};

use crate::dice::Dice;
use crate::node::Node;

/// Time in which a node that was started again has read its log, milliseconds.
const READ_MS: u64 = 1_000;

/// What a node says while it may lack what it acknowledged.
pub const RECOVERING: &str = "PBX_STORE_RECOVERING";

/// Servers whose word does not count now: their log was damaged, or their disk is gone.
#[derive(Debug, Default)]
pub struct Unwell {
    /// How many there may be.
    pub most: usize,
    /// Whether one is gone for ever and its successor is no member yet.
    pub wiped: bool,
    /// Those with a damaged log, and when they are looked at again.
    damaged: Vec<(u64, u64)>,
}

impl Unwell {
    /// Whether one more may be harmed.
    pub fn has_room(&mut self, now_ms: u64, nodes: &[Node]) -> bool {
        self.damaged.retain(|(id, look_ms)| {
            let node = nodes.iter().find(|node| node.id == *id);
            node.is_some_and(|node| now_ms < *look_ms || !is_well(node))
        });
        self.damaged.len() + usize::from(self.wiped) < self.most
    }
}

fn is_well(node: &Node) -> bool {
    node.is_serving() && !is_recovering(node)
}

/// Whether a node says that it may lack what it acknowledged.
pub fn is_recovering(node: &Node) -> bool {
    let status = node.enter(|store| store.status());
    let alarms = status.into_iter().flat_map(|status| status.alarms);
    alarms.into_iter().any(|alarm| alarm.code == RECOVERING)
}

/// The source of flipped bits.
pub struct Damage {
    dice: Dice,
    /// A defect: what was damaged looks like the end of the log.
    pub silent: bool,
}

impl Damage {
    /// One that has done nothing yet.
    pub fn new(dice: Dice) -> Self {
        Self {
            dice,
            silent: false,
        }
    }

    /// Now and then flips a bit in the log of a server that has just gone down and comes back at
    /// `back_ms`; answers what it did.
    pub fn strike(
        &mut self,
        node: &Node,
        (now_ms, back_ms): (u64, u64),
        nodes: &[Node],
        unwell: &mut Unwell,
    ) -> Option<String> {
        if !self.dice.chance(30) || !unwell.has_room(now_ms, nodes) {
            return None;
        }
        let segments = node.segments();
        let path = match self.silent {
            true => segments.last()?,
            false => self.dice.pick_of(&segments)?,
        };
        let byte = match self.silent {
            true => forget_end(&node.disk, path),
            false => node.disk.flip_somewhere(path),
        };
        let byte = byte.ok()?;
        unwell.damaged.push((node.id, back_ms + READ_MS));
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(format!("flips a bit of byte {byte} of {name}"))
    }
}

/// Makes the second half of what is written in a segment zeros, whole sectors, as if it had never
/// been written; answers the first byte. So a log ends: nobody can notice.
fn forget_end(disk: &SimulatedDisk, path: &Path) -> io::Result<u64> {
    let content = disk.read(path)?;
    let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
    let from = written / 2 / SECTOR_BYTES * SECTOR_BYTES;
    let length = content.len() as u64 - from;
    let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
    let file = disk.open(path)?;
    file.write_all_at(&zeros, from)?;
    file.sync()?;
    Ok(from)
}
