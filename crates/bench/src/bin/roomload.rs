//! Loads a room with parties and prints one line of JSON about it: processor time per participant
//! and frame.
//!
//! Makes the room at our own media engine (`--ng`), or loads one that something else has made
//! (`--targets`), so that other mixers can be measured in the same way.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use raftpbx_bench::BenchError;
use raftpbx_bench::options::check_target;
use raftpbx_bench::room::Options;
use raftpbx_bench::room::set_up::make;
use raftpbx_bench::room::traffic::{bind, run};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Options::parse(&words).and_then(|options| measure(&options));
    let written = match &outcome {
        Ok(line) => writeln!(std::io::stdout(), "{line}"),
        Err(error) => writeln!(std::io::stderr(), "roomload: {error}"),
    };
    if outcome.is_ok() && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn measure(options: &Options) -> Result<String, BenchError> {
    let sockets = bind(options)?;
    if let Some(ng) = options.ng {
        let addresses = sockets
            .iter()
            .map(|socket| socket.local_addr())
            .collect::<Result<Vec<_>, _>>()
            .map_err(BenchError::system("read a party's address"))?;
        let made = make(ng, options, &addresses)?;
        let outcome = run(options, &sockets, &made.targets);
        // Also after a failure: the server is to be left as it was found.
        let taken_down = made.take_down();
        let report = outcome?;
        taken_down?;
        return Ok(report.to_string());
    }
    let targets = targets(options)?;
    run(options, &sockets, &targets).map(|report| report.to_string())
}

fn targets(options: &Options) -> Result<Vec<SocketAddr>, BenchError> {
    let path = options.targets.clone().unwrap_or_default();
    let failed = BenchError::system(format!("read {}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let wrong = |line: &str| BenchError::Usage(format!("{line} is no address"));
    let targets = text
        .lines()
        .map(|line| line.parse::<SocketAddr>().map_err(|_| wrong(line)))
        .collect::<Result<Vec<_>, _>>()?;
    for target in &targets {
        check_target(target.ip())?;
    }
    if targets.len() < options.parties {
        return Err(BenchError::Usage("fewer targets than --parties".into()));
    }
    Ok(targets)
}
