//! `raftpbx-simulator --seed N [--nodes 3|5] [--seconds N] [--trace|--debug]` runs one seed;
//! `raftpbx-simulator --seeds FROM..TO [--jobs N]` runs many and names those that fail.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use raftpbx_simulator::{Report, Scenario, run};

const USAGE: &str = "usage: raftpbx-simulator --seed N [--nodes 3|5] [--seconds N] [--trace|--debug]
       raftpbx-simulator --seeds FROM..TO [--nodes 3|5] [--seconds N] [--jobs N]";

#[derive(Default)]
struct Wish {
    seeds: Option<(u64, u64)>,
    nodes: Option<u64>,
    seconds: Option<u64>,
    jobs: Option<usize>,
    told: bool,
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
            ..usual
        }
    }

    fn replay(&self, seed: u64) -> String {
        let scenario = self.scenario(seed);
        let seconds = scenario.faults_ms / 1_000;
        format!(
            "cargo run -p raftpbx-simulator -- --seed {seed} --nodes {} --seconds {seconds} --trace",
            scenario.nodes
        )
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

fn run_many(wish: &Wish, from: u64, to: u64) -> Vec<u64> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(from);
    let simulated = AtomicU64::new(0);
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
                    let report = run(&wish.scenario(seed));
                    simulated.fetch_add(report.simulated_ms, Ordering::Relaxed);
                    if report.violation.is_some() {
                        say(&summary(seed, &report));
                        say(&format!("replay: {}", wish.replay(seed)));
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
        "{} seeds, {} s simulated in {:.1} s, {} failed: {failed:?}",
        to - from,
        simulated.into_inner() / 1_000,
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
        let report = run(&wish.scenario(from));
        say(&summary(from, &report));
        report.violation.is_some()
    } else {
        !run_many(&wish, from, to).is_empty()
    };
    ExitCode::from(u8::from(failed))
}
