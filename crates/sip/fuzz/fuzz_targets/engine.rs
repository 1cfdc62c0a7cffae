//! Anything in any order: messages, applications, time, leadership. Nothing may panic, time
//! must be able to pass, and a node that follows has nothing live.
#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use libfuzzer_sys::fuzz_target;
use raftpbx_sip::digest::directory::Directory;
use raftpbx_sip::engine::flow::Flow;
use raftpbx_sip::engine::metrics::Metrics;
use raftpbx_sip::engine::{Core, Input, Now, Output, Setup};
use raftpbx_sip::journal::JournalOp;
use raftpbx_sip::{Listen, Offer, RegistrarConfig, RegistrarPolicy, Transport, digest_ha1};

const LISTEN: &str = "192.0.2.9:5060";

fn core(metrics: Arc<Metrics>) -> Core {
    let address = LISTEN.parse().expect("an address");
    let transports = [Transport::Udp, Transport::Tcp];
    Core::new(Setup {
        listen: transports
            .map(|transport| Listen { transport, address })
            .to_vec(),
        secret: "s".to_owned(),
        request_handlers: Vec::new(),
        trusted: Vec::new(),
        session_timer: raftpbx_sip::SessionTimer::default(),
        registrar: Some(RegistrarConfig {
            domains: Vec::new(),
            realm: "r".to_owned(),
            nonce_key: [1; 32],
            min_expires_s: 60,
            max_expires_s: 7_200,
            default_expires_s: 3_600,
            max_bindings: 10,
            offer: Offer::Md5,
            policy: RegistrarPolicy::default(),
        }),
        authenticate_calls: false,
        dialog_limits: raftpbx_sip::DialogLimits::default(),
        topology_hiding: raftpbx_sip::TopologyHiding {
            enabled: true,
            call_ids: true,
        },
        tag_key: [2; 32],
        seed: [3; 32],
        users: Directory::new(|user| Some(digest_ha1(user, "r", "p"))),
        source_address: |_| None,
        metrics,
    })
}

fn feed(core: &mut Core, now: Now, input: Input<'_>) {
    let mut outputs = VecDeque::from(core.step(now, input));
    while let Some(output) = outputs.pop_front() {
        if let Output::Commit { token, ops, .. } = output {
            let changes = ops.into_iter().map(|op| match op {
                JournalOp::Set { key, value, .. } => (key, Some(value)),
                JournalOp::Delete { key } => (key, None),
            });
            outputs.extend(core.step(now, Input::Changed(changes.collect())));
            let result = Ok(());
            outputs.extend(core.step(now, Input::Committed { token, result }));
        }
    }
}

fn pass(core: &mut Core, now: &mut Now, ms: u64) {
    let end_ms = now.mono_ms + ms;
    while let Some(at_ms) = core.next_tick_ms().filter(|at_ms| *at_ms <= end_ms) {
        now.mono_ms = at_ms.max(now.mono_ms);
        feed(core, *now, Input::Tick);
    }
    now.wall_us += ms * 1_000;
    now.mono_ms = end_ms;
}

fuzz_target!(|bytes: &[u8]| {
    let metrics = Arc::new(Metrics::default());
    let mut core = core(metrics.clone());
    let mut now = Now {
        mono_ms: 1,
        wall_us: 1_800_000_000_000_000,
    };
    feed(&mut core, now, Input::Lead);
    feed(&mut core, now, Input::AppConnected { app: 1 });
    for payload in ["a|authenticate|s", "a|route|invite", "a|route|message"] {
        feed(&mut core, now, Input::AppFrame { app: 1, payload });
    }
    // Inputs stand between bytes that no text has; the first byte of each says what it is.
    for one in bytes.split(|byte| *byte == 0xff) {
        let Some((kind, rest)) = one.split_first() else {
            continue;
        };
        let flow = |transport| Flow {
            transport,
            local: LISTEN.parse().expect("an address"),
            remote: ([198, 51, 100, kind % 3], 5060).into(),
        };
        match kind % 16 {
            0 => feed(
                &mut core,
                now,
                Input::Disconnected {
                    flow: flow(Transport::Tcp),
                },
            ),
            1 => pass(&mut core, &mut now, 100),
            2 => pass(&mut core, &mut now, 33_000),
            3 => feed(&mut core, now, Input::Follow),
            4 => feed(&mut core, now, Input::Lead),
            5 => feed(&mut core, now, Input::AppClosed { app: 1 }),
            6..9 => {
                let payload = &String::from_utf8_lossy(rest);
                feed(&mut core, now, Input::AppFrame { app: 1, payload });
            }
            9 => {
                let flow = flow(Transport::Tcp);
                feed(&mut core, now, Input::Received { flow, bytes: rest });
            }
            // A message as it is, so that files of messages are inputs, too.
            _ => {
                let flow = flow(Transport::Udp);
                feed(&mut core, now, Input::Received { flow, bytes: one });
            }
        }
    }
    pass(&mut core, &mut now, 600_000);
    feed(&mut core, now, Input::Follow);
    core.publish();
    assert_eq!(
        metrics.transactions.load(Relaxed),
        0,
        "a follower has transactions"
    );
});
