//! `raftpbx-simulator --seed N [--nodes 3|5] [--seconds N] [--trace|--debug]` runs one seed;
//! `raftpbx-simulator --seeds FROM..TO [--jobs N]` runs many and names those that fail.
//!
//! Each seed has a process of its own: tokio and hash maps take their randomness from the system
//! when a process begins, and [`entropy`] gives it to them from the seed. A panic or a hang is the
//! failure of one seed, too.

mod entropy;

use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use raftpbx_simulator::{Defect, Report, Scenario, run};

const USAGE: &str =
    "usage: raftpbx-simulator --seed N [--nodes 3|5] [--seconds N] [--trace|--debug]
       raftpbx-simulator --seeds FROM..TO [--nodes 3|5] [--seconds N] [--jobs N]
       both: [--defect lying-disk|slow-clock|repeated-requests|silent-damage|old-copy]";

/// Real time after which a seed counts as hanging.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Wish {
    seeds: Option<(u64, u64)>,
    nodes: Option<u64>,
    seconds: Option<u64>,
    jobs: Option<usize>,
    told: bool,
    defect: Option<(String, Defect)>,
}

fn say(text: &str) {
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let log = match argument.as_str() {
            "--trace" => Some(tracing::Level::INFO),
            "--debug" => Some(tracing::Level::DEBUG),
            "--everything" => Some(tracing::Level::TRACE),
            _ => None,
        };
        if let Some(level) = log {
            wish.told = true;
            raftpbx_simulator::trace::show_log(level);
            continue;
        }
        let value = arguments.next()?;
        match argument.as_str() {
            "--seed" => {
                let seed: u64 = value.parse().ok()?;
                wish.seeds = Some((seed, seed + 1));
            }
            "--seeds" => {
                let (from, to) = value.split_once("..")?;
                wish.seeds = Some((from.parse().ok()?, to.parse().ok()?));
            }
            "--nodes" => wish.nodes = Some(value.parse().ok().filter(|n| (1..=7).contains(n))?),
            "--seconds" => wish.seconds = Some(value.parse().ok()?),
            "--defect" => {
                let defect = match value.as_str() {
                    "lying-disk" => Defect::LyingDisk,
                    "slow-clock" => Defect::SlowClock,
                    "repeated-requests" => Defect::RepeatedRequests,
                    "silent-damage" => Defect::SilentDamage,
                    "old-copy" => Defect::OldCopy,
                    _ => return None,
                };
                wish.defect = Some((value, defect));
            }
            "--jobs" => wish.jobs = Some(value.parse().ok().filter(|n| *n > 0)?),
            _ => return None,
        }
    }
    wish.seeds.filter(|(from, to)| from < to)?;
    Some(wish)
}

impl Wish {
    fn scenario(&self, seed: u64) -> Scenario {
        let usual = Scenario::of_seed(seed);
        Scenario {
            nodes: self.nodes.unwrap_or(usual.nodes),
            faults_ms: self.seconds.map_or(usual.faults_ms, |s| s * 1_000),
            told: self.told,
            defect: self.defect.as_ref().map(|(_, defect)| *defect),
            ..usual
        }
    }

    /// The arguments that run a seed again.
    fn arguments(&self, seed: u64) -> Vec<String> {
        let scenario = self.scenario(seed);
        let numbers = [
            ("--seed", seed),
            ("--nodes", scenario.nodes),
            ("--seconds", scenario.faults_ms / 1_000),
        ];
        let mut words = Vec::new();
        for (name, number) in numbers {
            words.extend([name.to_owned(), number.to_string()]);
        }
        if let Some((name, _)) = &self.defect {
            words.extend(["--defect".to_owned(), name.clone()]);
        }
        words
    }
}

fn summary(seed: u64, report: &Report) -> String {
    let outcome = match &report.violation {
        None => "ok".to_owned(),
        Some(violation) => format!("BROKEN {}: {}", violation.promise, violation.seen),
    };
    format!(
        "seed {seed}: {} events, checksum {:016x}, {} s simulated, {} of {} answers: {outcome}",
        report.events,
        report.checksum,
        report.simulated_ms / 1_000,
        report.known,
        report.operations
    )
}

/// Runs one seed in a process of its own; answers what it said and whether all went well.
fn run_elsewhere(wish: &Wish, seed: u64) -> (bool, String) {
    let program = std::env::current_exe().unwrap_or_else(|_| "raftpbx-simulator".into());
    match Command::new(program).args(wish.arguments(seed)).output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            if !output.status.success() {
                text.push_str(&format!("seed {seed}: {}", output.status));
            }
            (output.status.success(), text.trim_end().to_owned())
        }
        Err(error) => (false, format!("seed {seed}: no process: {error}")),
    }
}

fn run_many(wish: &Wish, from: u64, to: u64) -> Vec<u64> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..wish.jobs.unwrap_or(cores) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let (good, text) = run_elsewhere(wish, seed);
                    if !good {
                        let again = wish.arguments(seed).join(" ");
                        say(&text);
                        say(&format!(
                            "replay: cargo run -p raftpbx-simulator -- {again} --trace"
                        ));
                        failed.lock().push(seed);
                    }
                    if (seed - from + 1).is_multiple_of(100) {
                        say(&format!("{} seeds begun", seed - from + 1));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_unstable();
    say(&format!(
        "{} seeds in {:.1} s, {} failed: {failed:?}",
        to - from,
        started.elapsed().as_secs_f64(),
        failed.len()
    ));
    failed
}

fn main() -> ExitCode {
    let Some(wish) = parse(std::env::args().skip(1)) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    let Some((from, to)) = wish.seeds else {
        return ExitCode::from(2);
    };
    let failed = if to - from == 1 {
        entropy::seed(from);
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            say(&format!("seed {from}: hangs"));
            std::process::exit(3);
        });
        let report = run(&wish.scenario(from));
        say(&summary(from, &report));
        report.violation.is_some()
    } else {
        !run_many(&wish, from, to).is_empty()
    };
    ExitCode::from(u8::from(failed))
}
