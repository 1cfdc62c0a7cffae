//! What a digest registration costs the core alone: no sockets, an immediate journal.
//!
//! `cost [REGISTRATIONS]` prints microseconds for each 401 and 200 pair.
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use md5::{Digest, Md5};
use raftpbx_sip::digest::directory::Directory;
use raftpbx_sip::engine::flow::Flow;
use raftpbx_sip::engine::metrics::Metrics;
use raftpbx_sip::engine::{Core, Input, Now, Output, Setup};
use raftpbx_sip::journal::JournalOp;
use raftpbx_sip::{Listen, RegistrarConfig, Transport, digest_ha1};

const REALM: &str = "pbx.test";

fn md5(text: &str) -> String {
    Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn core(listen: Listen) -> Core {
    let credentials = digest_ha1("u", REALM, "secret");
    Core::new(Setup {
        listen: vec![listen],
        secret: String::new(),
        request_handlers: Vec::new(),
        registrar: Some(RegistrarConfig {
            domains: Vec::new(),
            realm: REALM.to_owned(),
            nonce_key: [1; 32],
            min_expires_s: 60,
            max_expires_s: 7_200,
            default_expires_s: 3_600,
            max_bindings: 10,
            offer: raftpbx_sip::Offer::Md5,
            policy: raftpbx_sip::RegistrarPolicy::default(),
        }),
        authenticate_calls: false,
        trusted: Vec::new(),
        session_timer: raftpbx_sip::SessionTimer::default(),
        dialog_limits: raftpbx_sip::DialogLimits::default(),
        topology_hiding: raftpbx_sip::TopologyHiding::default(),
        tag_key: [2; 32],
        seed: [3; 32],
        users: Directory::new(move |_| Some(credentials.clone())),
        source_address: |_| None,
        metrics: Arc::new(Metrics::default()),
    })
}

fn register(call: usize, cseq: u32, authorization: &str) -> Vec<u8> {
    format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK{call}-{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:u@{REALM}>;tag={call}\r\nTo: <sip:u@{REALM}>\r\n\
         Call-ID: {call}@127.0.0.1\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:u@127.0.0.1:5061>;expires=3600\r\nUser-Agent: bench\r\n\
         {authorization}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Feeds a message and what its commits bring; returns the response.
fn exchange(core: &mut Core, now: Now, flow: Flow, bytes: &[u8]) -> Vec<u8> {
    let mut outputs = core.step(now, Input::Received { flow, bytes });
    let mut response = Vec::new();
    while let Some(output) = outputs.pop() {
        match output {
            Output::Send { bytes, .. } => response = bytes.to_vec(),
            Output::Commit { token, ops, .. } => {
                let changes = ops.into_iter().map(|op| match op {
                    JournalOp::Set { key, value, .. } => (key, Some(value)),
                    JournalOp::Delete { key } => (key, None),
                });
                core.step(now, Input::Changed(changes.collect()));
                outputs.extend(core.step(
                    now,
                    Input::Committed {
                        token,
                        result: Ok(()),
                    },
                ));
            }
            _ => {}
        }
    }
    response
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |text| text.parse())?;
    let address = "127.0.0.1:5060".parse()?;
    let flow = Flow {
        transport: Transport::Udp,
        local: address,
        remote: "127.0.0.1:5061".parse()?,
    };
    let mut core = core(Listen {
        transport: Transport::Udp,
        address,
    });
    let now = Now {
        mono_ms: 1,
        wall_us: 1_800_000_000_000_000,
    };
    core.step(now, Input::Lead);
    let challenge = String::from_utf8(exchange(&mut core, now, flow, &register(0, 1, "")))?;
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let nonce = nonce.ok_or("no challenge")?;
    let (ha1, ha2) = (
        md5(&format!("u:{REALM}:secret")),
        md5(&format!("REGISTER:sip:{REALM}")),
    );
    // One nonce, used once more by each registration: a count that comes again is a replay.
    let authorization = |nc: usize| {
        let response = md5(&format!("{ha1}:{nonce}:{nc:08x}:c:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"u\",realm=\"{REALM}\",nonce=\"{nonce}\",\
             uri=\"sip:{REALM}\",response=\"{response}\",algorithm=MD5,cnonce=\"c\",qop=auth,\
             nc={nc:08x}\r\n"
        )
    };
    let pairs: Vec<_> = (1..=count)
        .map(|n| (register(n, 1, ""), register(n, 2, &authorization(n))))
        .collect();
    let started = Instant::now();
    let mut accepted = 0;
    for (first, second) in &pairs {
        exchange(&mut core, now, flow, first);
        let answer = exchange(&mut core, now, flow, second);
        accepted += usize::from(answer.starts_with(b"SIP/2.0 200"));
    }
    let each_us = started.elapsed().as_secs_f64() * 1e6 / count as f64;
    writeln!(
        std::io::stdout(),
        "{accepted} of {count} accepted, {each_us:.2} us each"
    )?;
    Ok(())
}
