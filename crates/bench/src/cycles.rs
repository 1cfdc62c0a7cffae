//! Calls that are set up and taken down at once: what signalling alone costs a relay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::BenchError;
use crate::cpu;
use crate::ng::Client;
use crate::options::{SECONDS_MAX, check_target};
use crate::profile::Profile;
use crate::results::Histogram;

/// Most clients at once.
pub const CLIENTS_MAX: usize = 64;
/// What is not measured at the beginning.
const WARM_UP: Duration = Duration::from_secs(1);

/// Text for mistakes.
const USAGE: &str = "ngload --ng ADDR:PORT [--clients N] [--secs S] [--pid PID]";

/// How much is to be asked, of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The NG server.
    pub ng: SocketAddr,
    /// Clients, each with one command under way.
    pub clients: usize,
    /// Measured seconds, after one second of warm-up.
    pub seconds: u32,
    /// Process whose processor time is measured.
    pub pid: Option<u32>,
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    cycles: u64,
    latency: Histogram,
}

impl Load {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// An unknown option, a bad value, or an address that is neither loopback nor private.
    pub fn parse(words: &[String]) -> Result<Load, BenchError> {
        let wrong = |what: &str| BenchError::Usage(format!("{what}; {USAGE}"));
        let mut load = Load {
            ng: SocketAddr::from(([127, 0, 0, 1], 0)),
            clients: 8,
            seconds: 10,
            pid: None,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(wrong(&format!("{} has no value", pair[0])));
            };
            let bad = || wrong(&format!("{name} {value} is not valid"));
            match &name[..] {
                "--ng" => load.ng = value.parse().map_err(|_| bad())?,
                "--clients" => load.clients = value.parse().map_err(|_| bad())?,
                "--secs" => load.seconds = value.parse().map_err(|_| bad())?,
                "--pid" => load.pid = Some(value.parse().map_err(|_| bad())?),
                _ => return Err(wrong(&format!("unknown option {name}"))),
            }
        }
        check_target(load.ng.ip())?;
        let few = (1..=CLIENTS_MAX).contains(&load.clients);
        if load.ng.port() == 0 || !few || !(1..=SECONDS_MAX).contains(&load.seconds) {
            return Err(wrong(
                "--ng is missing, or too much or nothing is asked for",
            ));
        }
        Ok(load)
    }

    /// Sets calls up and takes them down until the time is over; the report.
    ///
    /// # Errors
    /// The server refuses or is silent, or the process does not exist.
    pub fn run(&self) -> Result<Value, BenchError> {
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(self.seconds.into());
        let spent = |at: Instant| -> Result<(Option<f64>, f64), BenchError> {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let relay = self.pid.map(cpu::seconds).transpose()?;
            Ok((relay, cpu::seconds(std::process::id())?))
        };
        let (seen, before, after) = std::thread::scope(|scope| {
            let ask = || ask(self.ng, begin, end);
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(ask)).collect();
            let (before, after) = (spent(begin)?, spent(end)?);
            let mut seen = Seen::default();
            for client in clients {
                let gone = |_| BenchError::Usage("a client has failed".into());
                let one = client.join().map_err(gone)??;
                seen.cycles += one.cycles;
                seen.latency.merge(&one.latency);
            }
            Ok::<_, BenchError>((seen, before, after))
        })?;
        let relay = before.0.zip(after.0).map(|(before, after)| after - before);
        let (cycles, seconds) = (seen.cycles as f64, f64::from(self.seconds));
        Ok(json!({
            "cycles": seen.cycles,
            "cycles_per_s": (cycles / seconds).round(),
            "cpu_s": relay,
            "cycles_per_cpu_s": relay.filter(|cpu| *cpu > 0.0).map(|cpu| (cycles / cpu).round()),
            "latency_us_p50": seen.latency.quantile_us(0.5),
            "latency_us_p99": seen.latency.quantile_us(0.99),
            "generator_cpu_s": after.1 - before.1,
        }))
    }
}

/// One client: offer, answer, delete, over and over.
fn ask(ng: SocketAddr, begin: Instant, end: Instant) -> Result<Seen, BenchError> {
    let mut client = Client::connect(ng)?;
    let mut seen = Seen::default();
    // Nobody is there and nothing is sent: only signalling names the phones.
    let phone = |last: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 255, last)), 4_000);
    for number in 0.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        client.set_up(Profile::Plain, number, phone(1), phone(2))?;
        client.take_down(number)?;
        let done = Instant::now();
        if began >= begin && done <= end {
            seen.cycles += 1;
            let took = done - began;
            seen.latency
                .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Load, BenchError> {
        Load::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines_are_read_and_endless_ones_refused() {
        let load = parse("--ng 127.0.0.1:2223 --clients 3 --secs 2 --pid 7").expect("valid");
        assert_eq!((load.clients, load.seconds, load.pid), (3, 2, Some(7)));
        for line in [
            "--ng 8.8.8.8:2223",
            "--ng 127.0.0.1:2223 --clients 0",
            "--ng 127.0.0.1:2223 --secs 100000",
            "--clients 3",
            "--ng",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
