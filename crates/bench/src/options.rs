//! Command line of `rtpload`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::BenchError;
use crate::profile::Profile;

/// Most calls of one run.
pub const CALLS_MAX: usize = 4_000;
/// Longest run, seconds.
pub const SECONDS_MAX: u32 = 120;
/// Most sockets per side.
pub const SOCKETS_MAX: usize = 64;

/// Text for `--help` and mistakes.
pub const USAGE: &str = "rtpload --ng ADDR:PORT [--a-ip ADDR] [--b-ip ADDR] [--calls N] \
    [--secs S] [--sockets N] [--pid PID] [--profile plain|srtp|g722|opus]";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// NG server that sets the calls up.
    pub ng: SocketAddr,
    /// Address of the calling phones.
    pub a_ip: IpAddr,
    /// Address of the called phones.
    pub b_ip: IpAddr,
    /// Calls at once; each sends 50 packets a second in both directions.
    pub calls: usize,
    /// Measured seconds, after one second of warm-up.
    pub seconds: u32,
    /// Sockets per side that carry all calls.
    pub sockets: usize,
    /// Process whose processor time is measured.
    pub pid: Option<u32>,
    /// What the phones speak.
    pub profile: Profile,
}

impl Options {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// An unknown option, a bad value, or an address that is neither loopback nor private.
    pub fn parse(words: &[String]) -> Result<Options, BenchError> {
        let mut ng = None;
        let mut options = Options {
            ng: SocketAddr::from(([127, 0, 0, 1], 0)),
            a_ip: Ipv4Addr::LOCALHOST.into(),
            b_ip: Ipv4Addr::LOCALHOST.into(),
            calls: 100,
            seconds: 8,
            sockets: 4,
            pid: None,
            profile: Profile::Plain,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(BenchError::Usage(format!(
                    "{} has no value; {USAGE}",
                    pair[0]
                )));
            };
            match &name[..] {
                "--ng" => ng = Some(read(name, value)?),
                "--a-ip" => options.a_ip = read(name, value)?,
                "--b-ip" => options.b_ip = read(name, value)?,
                "--calls" => options.calls = read(name, value)?,
                "--secs" => options.seconds = read(name, value)?,
                "--sockets" => options.sockets = read(name, value)?,
                "--pid" => options.pid = Some(read(name, value)?),
                "--profile" => {
                    let wrong = |()| BenchError::Usage(format!("no profile {value}; {USAGE}"));
                    options.profile = value.parse().map_err(wrong)?;
                }
                _ => return Err(BenchError::Usage(format!("unknown option {name}; {USAGE}"))),
            }
        }
        options.ng = ng.ok_or_else(|| BenchError::Usage(format!("--ng is missing; {USAGE}")))?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), BenchError> {
        for ip in [self.ng.ip(), self.a_ip, self.b_ip] {
            check_target(ip)?;
        }
        let within = |name: &str, value: usize, max: usize| match value {
            0 => Err(BenchError::Usage(format!("{name} must not be 0"))),
            value if value > max => {
                Err(BenchError::Usage(format!("{name} must not be above {max}")))
            }
            _ => Ok(()),
        };
        within("--calls", self.calls, CALLS_MAX)?;
        within("--secs", self.seconds as usize, SECONDS_MAX as usize)?;
        within("--sockets", self.sockets, SOCKETS_MAX)
    }
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, BenchError> {
    value
        .parse()
        .map_err(|_| BenchError::Usage(format!("{name} {value} is not valid; {USAGE}")))
}

/// Refuses addresses that could belong to somebody else.
///
/// # Errors
/// An address that is neither loopback nor private.
pub fn check_target(ip: IpAddr) -> Result<(), BenchError> {
    let allowed = match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    };
    if allowed {
        return Ok(());
    }
    Err(BenchError::Usage(format!(
        "{ip} is neither a loopback nor a private address"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, BenchError> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_full_command_line_is_read() {
        let options = parse("--ng 127.0.0.1:2223 --calls 5 --secs 2 --pid 7").expect("valid");
        assert_eq!(
            (options.calls, options.seconds, options.pid),
            (5, 2, Some(7))
        );
    }

    #[test]
    fn public_targets_and_endless_loads_are_refused() {
        for line in [
            "--ng 8.8.8.8:2223",
            "--ng 127.0.0.1:2223 --b-ip 2001:db8::1",
            "--ng 127.0.0.1:2223 --calls 100000",
            "--ng 127.0.0.1:2223 --secs 0",
            "--ng 127.0.0.1:2223 --colour blue",
            "--ng 127.0.0.1:2223 --profile gsm",
            "--calls 1",
            "--ng",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
