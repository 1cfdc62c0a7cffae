//! Sets calls up and takes them down at any NG server, as fast as it answers, and prints one line
//! of JSON about it.

use std::io::Write;
use std::process::ExitCode;

use raftpbx_bench::cycles::Load;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Load::parse(&words).and_then(|load| load.run());
    let written = match &outcome {
        Ok(report) => writeln!(std::io::stdout(), "{report}"),
        Err(error) => writeln!(std::io::stderr(), "ngload: {error}"),
    };
    if outcome.is_ok() && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
