//! Promises of the world broken on purpose, to prove that the oracle notices.

use std::io;
use std::path::Path;
use std::time::Duration;

use raftpbx_store::disk::{Disk, DiskFile, SimulatedDisk};

/// A disk that says that it has flushed and has not.
pub struct LyingDisk(pub SimulatedDisk);

struct LyingFile(Box<dyn DiskFile>);

impl DiskFile for LyingFile {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn lying(file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
    file.map(|file| Box::new(LyingFile(file)) as Box<dyn DiskFile>)
}

impl Disk for LyingDisk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.create_directory(directory)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.names(directory)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        lying(self.0.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        lying(self.0.create(path))
    }

    fn create_filled(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        // Segments begin honestly: a log that was never there would be noticed at once.
        lying(self.0.create_filled(path, bytes))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_directory(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.0.free_bytes(directory)
    }

    fn random(&self) -> io::Result<u64> {
        self.0.random()
    }

    fn take_delay(&self) -> Duration {
        self.0.take_delay()
    }
}
