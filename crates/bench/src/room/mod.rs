//! A room under load: some talk, some have an open microphone in a quiet place, the others only
//! listen; everybody has to hear something every 20 ms.
//!
//! # Layout
//! - here: the command line of `roomload`. `set_up`: a room at an NG server.
//! - `traffic`: sending, receiving, and the report.

pub mod set_up;
pub mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use raftpbx_media::codec::Codec;

use crate::BenchError;
use crate::options::{SECONDS_MAX, check_target};

/// Most parties of one run.
pub const PARTIES_MAX: usize = 1_000;

/// Text for `--help` and mistakes.
pub const USAGE: &str = "roomload (--ng ADDR:PORT | --targets FILE) [--ip ADDR] \
    [--first-port PORT] [--parties N] [--talkers N] [--open N] [--codec PCMU|G722|opus] \
    [--rate HZ] [--secs S] [--pid PID] [--tag TEXT]";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// NG server that makes the room; none: `targets` say where each party sends to.
    pub ng: Option<SocketAddr>,
    /// A file with one address a party, for rooms that something else has made.
    pub targets: Option<PathBuf>,
    /// Address of all parties.
    pub ip: IpAddr,
    /// Port of the first party; each further one is two higher. 0: any.
    pub first_port: u16,
    /// Parties.
    pub parties: usize,
    /// Those who talk.
    pub talkers: usize,
    /// Those who send silence.
    pub open: usize,
    /// Codec of all.
    pub codec: Codec,
    /// Rate of the room, Hz.
    pub rate_hz: u32,
    /// Measured seconds, after two of warm-up.
    pub seconds: u32,
    /// Process whose processor time is measured.
    pub pid: Option<u32>,
    /// Name of the run in the report.
    pub tag: String,
}

impl Options {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// An unknown option, a bad value, or an address that is neither loopback nor private.
    pub fn parse(words: &[String]) -> Result<Options, BenchError> {
        let mut options = Options {
            ng: None,
            targets: None,
            ip: Ipv4Addr::LOCALHOST.into(),
            first_port: 0,
            parties: 10,
            talkers: 2,
            open: 0,
            codec: Codec::Pcmu,
            rate_hz: 8_000,
            seconds: 8,
            pid: None,
            tag: "room".into(),
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                let text = format!("{} has no value; {USAGE}", pair[0]);
                return Err(BenchError::Usage(text));
            };
            match &name[..] {
                "--ng" => options.ng = Some(read(name, value)?),
                "--targets" => options.targets = Some(value.into()),
                "--ip" => options.ip = read(name, value)?,
                "--first-port" => options.first_port = read(name, value)?,
                "--parties" => options.parties = read(name, value)?,
                "--talkers" => options.talkers = read(name, value)?,
                "--open" => options.open = read(name, value)?,
                "--codec" => options.codec = codec(value)?,
                "--rate" => options.rate_hz = read(name, value)?,
                "--secs" => options.seconds = read(name, value)?,
                "--pid" => options.pid = Some(read(name, value)?),
                "--tag" => options.tag.clone_from(value),
                _ => return Err(BenchError::Usage(format!("unknown option {name}; {USAGE}"))),
            }
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), BenchError> {
        let wrong = |text: &str| Err(BenchError::Usage(format!("{text}; {USAGE}")));
        if self.ng.is_some() == self.targets.is_some() {
            return wrong("either --ng or --targets is needed");
        }
        check_target(self.ip)?;
        self.ng.map_or(Ok(()), |ng| check_target(ng.ip()))?;
        if !(1..=PARTIES_MAX).contains(&self.parties) {
            return wrong("--parties must be 1 to 1000");
        }
        if self.talkers + self.open > self.parties {
            return wrong("--talkers and --open are more than --parties");
        }
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            return wrong("--secs must be 1 to 120");
        }
        Ok(())
    }
}

fn codec(name: &str) -> Result<Codec, BenchError> {
    let codec = Codec::from_name(name).filter(|codec| !matches!(codec, Codec::L16(_)));
    codec.ok_or_else(|| BenchError::Usage(format!("--codec {name} is not known; {USAGE}")))
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, BenchError> {
    value
        .parse()
        .map_err(|_| BenchError::Usage(format!("{name} {value} is not valid; {USAGE}")))
}
