//! A disk in memory that fails on purpose, the same way for the same seed.
//!
//! Each file has what a reader sees and what would survive a power loss. A sync copies the first
//! to the second. A power loss keeps any subset of the unsynced sectors, in no order, and the
//! first few of the unsynced changes of names, in order, as a journalling file system does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// What a disk writes completely or not at all.
pub const SECTOR_BYTES: u64 = 512;

#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
enum Change {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Clone)]
struct State {
    random: u64,
    /// Counts power losses; files opened before the last one are dead.
    life: u64,
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    next: u64,
    capacity: u64,
    fails_writes: bool,
    fails_syncs: bool,
    fails_reads: bool,
    read_only: bool,
    sync_delay: Duration,
    owed: Duration,
    syncs: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    number: u64,
    life: u64,
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}", path.display()))
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
    match change {
        Change::Link(path, number) => {
            names.insert(path.clone(), *number);
        }
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Change::Remove(path) => {
            names.remove(path);
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], at: u64) {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[start..end].copy_from_slice(bytes);
        let last = (end as u64).div_ceil(SECTOR_BYTES);
        self.dirty.extend(at / SECTOR_BYTES..last);
    }

    /// Copies one sector to what survives.
    fn keep(&mut self, sector: u64) {
        let start = usize::try_from(sector * SECTOR_BYTES).unwrap_or(usize::MAX);
        let length = usize::try_from(SECTOR_BYTES).unwrap_or(0);
        let end = start.saturating_add(length).min(self.seen.len());
        if start >= end {
            return;
        }
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.seen[start..end]);
    }
}

impl State {
    /// SplitMix64 (public domain, Sebastiano Vigna).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn used(&self) -> u64 {
        let bytes = |number: &u64| self.contents.get(number).map_or(0, |file| file.seen.len());
        self.names.values().map(bytes).sum::<usize>() as u64
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        if self.fails_writes {
            return Err(input_output_error());
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut Content> {
        let number = *self.names.get(path).ok_or_else(|| not_found(path))?;
        self.contents
            .get_mut(&number)
            .ok_or_else(|| not_found(path))
    }
}

impl SimulatedDisk {
    /// An empty disk whose faults follow from the seed.
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk {
            state: Arc::new(Mutex::new(State {
                random: seed,
                life: 0,
                contents: BTreeMap::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                changes: Vec::new(),
                next: 0,
                capacity: u64::MAX,
                fails_writes: false,
                fails_syncs: false,
                fails_reads: false,
                read_only: false,
                sync_delay: Duration::ZERO,
                owed: Duration::ZERO,
                syncs: 0,
            })),
        }
    }

    /// Loses the power: unsynced sectors survive or not, files that are open die.
    pub fn lose_power(&self) {
        let mut state = self.state.lock();
        let mut contents = std::mem::take(&mut state.contents);
        for content in contents.values_mut() {
            for sector in std::mem::take(&mut content.dirty) {
                if state.random() & 1 == 1 {
                    content.keep(sector);
                }
            }
            content.seen.clone_from(&content.durable);
        }
        state.contents = contents;
        let changes = std::mem::take(&mut state.changes);
        let kept = state.random() % (changes.len() as u64 + 1);
        for change in changes.iter().take(usize::try_from(kept).unwrap_or(0)) {
            apply(&mut state.durable_names, change);
        }
        state.names = state.durable_names.clone();
        state.life += 1;
    }

    /// Flips one bit of what is stored.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let content = state.file(path)?;
        let at = usize::try_from(byte).unwrap_or(usize::MAX);
        for side in [&mut content.seen, &mut content.durable] {
            if let Some(byte) = side.get_mut(at) {
                *byte ^= 1 << (bit & 7);
            }
        }
        Ok(())
    }

    /// Flips a bit of a used byte that the seed picks; answers which byte.
    pub fn flip_somewhere(&self, path: &Path) -> io::Result<u64> {
        let (byte, bit) = {
            let mut state = self.state.lock();
            let (place, bit) = (state.random(), state.random());
            let content = state.file(path)?;
            let used: Vec<usize> = (0..content.seen.len())
                .filter(|at| content.seen[*at] != 0)
                .collect();
            let place = place % (used.len() as u64).max(1);
            let place = usize::try_from(place).unwrap_or(0);
            (used.get(place).map_or(0, |at| *at as u64), bit & 7)
        };
        self.flip(path, byte, u8::try_from(bit).unwrap_or(0))?;
        Ok(byte)
    }

    /// Another disk with the same content, on which nothing is unsynced.
    pub fn copy(&self) -> SimulatedDisk {
        let mut state = self.state.lock().clone();
        for content in state.contents.values_mut() {
            content.durable.clone_from(&content.seen);
            content.dirty.clear();
        }
        state.durable_names = state.names.clone();
        state.changes.clear();
        SimulatedDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets every write fail with an input/output error, or not any more.
    pub fn fail_writes(&self, fails: bool) {
        self.state.lock().fails_writes = fails;
    }

    /// Lets every sync fail, or not any more. As in Linux, what a failed sync left behind looks
    /// clean and may be lost.
    pub fn fail_syncs(&self, fails: bool) {
        self.state.lock().fails_syncs = fails;
    }

    /// Lets every read fail, or not any more.
    pub fn fail_reads(&self, fails: bool) {
        self.state.lock().fails_reads = fails;
    }

    /// Refuses every change, or not any more.
    pub fn set_read_only(&self, read_only: bool) {
        self.state.lock().read_only = read_only;
    }

    /// Bytes this disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// What a sync takes in virtual time.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.state.lock().sync_delay = delay;
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }
}

impl SimulatedFile {
    fn alive(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(input_output_error())
        }
    }
}

impl DiskFile for SimulatedFile {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        state.check_writable()?;
        let size = state
            .contents
            .get(&self.number)
            .map_or(0, |file| file.seen.len()) as u64;
        let grown = (at + bytes.len() as u64).saturating_sub(size);
        if grown > 0 && state.used() + grown > state.capacity {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        if let Some(content) = state.contents.get_mut(&self.number) {
            content.write(bytes, at);
        }
        Ok(())
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.alive()?;
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        let content = state.contents.get(&self.number);
        let found = content.and_then(|content| content.seen.get(start..end));
        if state.fails_reads {
            return Err(input_output_error());
        }
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.syncs += 1;
        let delay = state.sync_delay;
        state.owed += delay;
        let fails = state.fails_syncs || state.read_only;
        let mut content = state.contents.remove(&self.number).unwrap_or_default();
        for sector in std::mem::take(&mut content.dirty) {
            if !fails || state.random() & 1 == 1 {
                content.keep(sector);
            }
        }
        state.contents.insert(self.number, content);
        if fails {
            return Err(input_output_error());
        }
        Ok(())
    }
}

impl SimulatedDisk {
    fn handle(&self, number: u64, life: u64) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile {
            state: self.state.clone(),
            number,
            life,
        })
    }
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = state
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into()));
        Ok(names.collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state.lock().names.contains_key(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state.lock();
        let number = *state.names.get(path).ok_or_else(|| not_found(path))?;
        let life = state.life;
        drop(state);
        Ok(self.handle(number, life))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.check_writable()?;
        state.next += 1;
        let (number, life) = (state.next, state.life);
        state.contents.insert(number, Content::default());
        state.change(Change::Link(path.to_owned(), number));
        drop(state);
        Ok(self.handle(number, life))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock();
        if state.fails_reads {
            return Err(input_output_error());
        }
        Ok(state.file(path)?.seen.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        state.file(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_writable()?;
        state.file(path)?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.fails_syncs || state.read_only {
            return Err(input_output_error());
        }
        let inside = |path: &Path| path.parent() == Some(directory);
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut state.changes)
            .into_iter()
            .partition(|change| match change {
                Change::Link(path, _) | Change::Remove(path) => inside(path),
                Change::Rename(from, to) => inside(from) || inside(to),
            });
        for change in &now {
            apply(&mut state.durable_names, change);
        }
        state.changes = later;
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state.lock().random())
    }

    fn take_delay(&self) -> Duration {
        std::mem::take(&mut self.state.lock().owed)
    }
}
