//! The tracks and files of one recording.

use std::io;
use std::path::PathBuf;

use super::Heard;
use super::file::{RecordingFormat, Sheet};
use super::track::Track;
use crate::limits::LEGS_MAX;

/// Sound is written when it is this old, so that late packets find their place, ns.
const BEHIND_NS: u64 = 300_000_000;

struct Party {
    number: u8,
    track: Track,
    /// None when only all together are wanted.
    file: Option<Sheet>,
}

/// How a recording is to look.
pub struct Plan {
    /// What the names of its files begin with.
    pub base: PathBuf,
    /// Their format.
    pub format: RecordingFormat,
    /// Their rate.
    pub rate_hz: u32,
    /// Each party has a file too.
    pub apart: bool,
}

/// One recording.
pub struct Session {
    /// Its number.
    pub id: u64,
    plan: Plan,
    /// Where the line of time begins; moved by pauses, `CLOCK_MONOTONIC` ns.
    start_ns: u64,
    paused_ns: Option<u64>,
    parties: Vec<Party>,
    mixed: Sheet,
    written: u64,
    /// A file could not be written on: nothing is recorded any more.
    pub failed: bool,
    sum: Vec<i32>,
    samples: Vec<i16>,
}

impl Session {
    /// Makes the file of all parties.
    pub fn create(id: u64, plan: Plan, now_ns: u64) -> io::Result<Session> {
        let mixed = Sheet::create(&plan.base, "mix", plan.format, plan.rate_hz)?;
        Ok(Session {
            id,
            plan,
            start_ns: now_ns,
            paused_ns: None,
            parties: Vec::new(),
            mixed,
            written: 0,
            failed: false,
            sum: Vec::new(),
            samples: Vec::new(),
        })
    }

    fn place(&self, at_ns: u64) -> u64 {
        let since_ns = u128::from(at_ns.saturating_sub(self.start_ns));
        (since_ns * u128::from(self.plan.rate_hz) / 1_000_000_000) as u64
    }

    /// Takes a packet.
    pub(super) fn put(&mut self, heard: &Heard) -> io::Result<()> {
        if self.failed || self.paused_ns.is_some() {
            return Ok(());
        }
        let at = self.place(heard.at_ns);
        let known = self
            .parties
            .iter()
            .position(|party| party.number == heard.party);
        let index = match known {
            Some(index) => index,
            None if self.parties.len() >= LEGS_MAX => return Ok(()),
            None => {
                self.add(heard.party)?;
                self.parties.len() - 1
            }
        };
        self.parties[index].track.put(heard, at);
        Ok(())
    }

    /// A party is heard for the first time: its file begins with the silence before.
    fn add(&mut self, number: u8) -> io::Result<()> {
        let file = if self.plan.apart {
            Some(self.file_with_silence(number)?)
        } else {
            None
        };
        self.parties.push(Party {
            number,
            track: Track::new(self.plan.rate_hz, self.written),
            file,
        });
        Ok(())
    }

    fn file_with_silence(&self, number: u8) -> io::Result<Sheet> {
        let Plan {
            base,
            format,
            rate_hz,
            ..
        } = &self.plan;
        let mut file = Sheet::create(base, &number.to_string(), *format, *rate_hz)?;
        let second = vec![0; *rate_hz as usize];
        let mut left = self.written;
        while left > 0 {
            let piece = left.min(second.len() as u64);
            file.append(&second[..piece as usize])?;
            left -= piece;
        }
        Ok(file)
    }

    /// Writes what is old enough; with `all`, all there is.
    pub fn write(&mut self, now_ns: u64, all: bool) -> io::Result<()> {
        if self.failed || (self.paused_ns.is_some() && !all) {
            return Ok(());
        }
        let now_ns = self
            .paused_ns
            .map_or(now_ns, |paused_ns| paused_ns.min(now_ns));
        let behind_ns = if all { 0 } else { BEHIND_NS };
        let until = self.place(now_ns.saturating_sub(behind_ns));
        let count = until.saturating_sub(self.written) as usize;
        if count == 0 {
            return Ok(());
        }
        self.sum.clear();
        self.sum.resize(count, 0);
        for party in &mut self.parties {
            party.track.take(until, &mut self.samples);
            let pairs = self.sum.iter_mut().zip(&self.samples);
            pairs.for_each(|(sum, sample)| *sum += i32::from(*sample));
            if let Some(file) = &mut party.file {
                file.append(&self.samples)?;
            }
        }
        self.samples.clear();
        let cut = self
            .sum
            .iter()
            .map(|sum| (*sum).clamp(-32_768, 32_767) as i16);
        self.samples.extend(cut);
        self.mixed.append(&self.samples)?;
        self.written = until;
        Ok(())
    }

    /// Writes all there is and ends the files.
    pub fn finish(&mut self, now_ns: u64) -> io::Result<()> {
        self.write(now_ns, true)?;
        if self.failed {
            return Ok(());
        }
        let files = self
            .parties
            .iter_mut()
            .filter_map(|party| party.file.as_mut());
        files.chain([&mut self.mixed]).try_for_each(Sheet::finish)
    }

    /// Leaves out what comes from now on.
    pub fn pause(&mut self, now_ns: u64) -> io::Result<()> {
        if self.paused_ns.is_none() {
            self.write(now_ns, true)?;
            self.paused_ns = Some(now_ns);
        }
        Ok(())
    }

    /// Goes on where it was paused.
    pub fn resume(&mut self, now_ns: u64) {
        if let Some(paused_ns) = self.paused_ns.take() {
            self.start_ns += now_ns.saturating_sub(paused_ns);
            self.parties
                .iter_mut()
                .for_each(|party| party.track.break_off());
        }
    }
}
