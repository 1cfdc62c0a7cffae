//! Loads a media relay with calls and prints one line of JSON about it.
//!
//! Works with any NG server: calls are set up by `offer` and `answer`, then packets flow in
//! both directions. Where they stay as they are every payload is compared.

use std::io::Write;
use std::process::ExitCode;

use raftpbx_bench::BenchError;
use raftpbx_bench::ng::{Client, RelayPorts};
use raftpbx_bench::options::Options;
use raftpbx_bench::results::report;
use raftpbx_bench::traffic::{Phones, run};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Options::parse(&words).and_then(|options| measure(&options));
    let (text, code) = match &outcome {
        Ok(line) => (line.as_str(), ExitCode::SUCCESS),
        Err(error) => (&*error.to_string(), ExitCode::FAILURE),
    };
    let written = match outcome {
        Ok(_) => writeln!(std::io::stdout(), "{text}"),
        Err(_) => writeln!(std::io::stderr(), "rtpload: {text}"),
    };
    if written.is_ok() {
        code
    } else {
        ExitCode::FAILURE
    }
}

fn measure(options: &Options) -> Result<String, BenchError> {
    let phones = Phones::bind(options)?;
    let mut client = Client::connect(options.ng)?;
    let mut relays: Vec<RelayPorts> = Vec::with_capacity(options.calls);
    let mut agreements = Vec::with_capacity(options.calls);
    let outcome = (0..options.calls)
        .try_for_each(|call| {
            let flow = 2 * call as u32;
            let (a, b) = (phones.address(flow)?, phones.address(flow + 1)?);
            let (ports, agreed) = client.set_up(options.profile, call, a, b)?;
            relays.push(ports);
            agreements.push(agreed);
            Ok(())
        })
        .and_then(|()| run(options, &phones, &relays, &agreements));
    // Also after a failure: the server is to be left as it was found.
    let taken_down = (0..relays.len()).try_for_each(|call| client.take_down(call));
    let (sent, received) = outcome?;
    taken_down?;
    Ok(report(options, &sent, &received).to_string())
}
