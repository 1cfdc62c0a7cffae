//! The media engine as a program of its own, for comparisons and experiments.
//!
//! `relay --interface ADDR[,ADDR] --ng ADDR:PORT --ports A-B [--workers N] [--timeout S]
//! [--fast-path auto|off] [--packet-io auto|epoll|io_uring|sk_lookup]`;
//! runs until its standard input ends or it is killed, then prints its metrics.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};

use raftpbx_media::{Interface, MediaConfig, MediaEngine, PacketIo, RecordingFormat};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = HashMap::new();
    for pair in words.chunks(2) {
        match pair {
            [name, value] if name.starts_with("--") => {
                options.insert(name.trim_start_matches("--"), value.as_str());
            }
            _ => return Err(format!("not an option with a value: {pair:?}").into()),
        }
    }
    let option = |name: &str, default: &'static str| *options.get(name).unwrap_or(&default);
    let (first, last) = option("ports", "30000-39999")
        .split_once('-')
        .ok_or("--ports A-B")?;
    let interfaces = option("interface", "127.0.0.1")
        .split(',')
        .map(|ip| {
            Ok(Interface {
                local: ip.parse()?,
                advertised: None,
            })
        })
        .collect::<Result<_, std::net::AddrParseError>>()?;
    let config = MediaConfig {
        interfaces,
        floating: None,
        ports: first.parse()?..=last.parse()?,
        workers: option("workers", "0").parse()?,
        ng_listen: Some(option("ng", "127.0.0.1:2223").parse()?),
        ng_tcp_listen: options
            .get("ng-tcp")
            .map(|address| address.parse())
            .transpose()?,
        media_timeout_s: option("timeout", "60").parse()?,
        recordings: None,
        prompts: None,
        fast_path: option("fast-path", "auto") == "auto",
        packet_io: match option("packet-io", "auto") {
            "auto" => PacketIo::Auto,
            "epoll" => PacketIo::Epoll,
            "io_uring" => PacketIo::IoUring,
            "sk_lookup" => PacketIo::SkLookup,
            other => return Err(format!("no --packet-io {other}").into()),
        },
        recording_format: RecordingFormat::default(),
        codecs: Vec::new(),
        forward: None,
    };
    let report = |events| {
        // A closed standard error is no reason to stop relaying.
        let _ = writeln!(std::io::stderr(), "{events:?}");
    };
    let engine = MediaEngine::start(config, Box::new(report))?;
    let mut ignored = Vec::new();
    std::io::stdin().read_to_end(&mut ignored)?;
    std::io::stdout().write_all(engine.metrics().as_bytes())?;
    engine.shutdown();
    Ok(())
}
