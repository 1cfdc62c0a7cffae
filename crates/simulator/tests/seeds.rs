//! Many seeds, the same seed twice, and defects that must be noticed.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raftpbx-simulator"))
        .args(arguments)
        .output()
        .expect("the simulator was built with this test")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let output = simulate(&["--seeds", "0..200"]);
    assert!(output.status.success(), "{}", text(&output));
}

/// A server lost its power while it installed a snapshot: the leader waited for the answer of a
/// machine that had long come back.
#[test]
fn a_seed_that_failed_keeps_every_promise_now() {
    let output = simulate(&["--seed", "9882", "--nodes", "5", "--seconds", "12"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in ["1000", "1001", "1002", "1003", "1004", "1005"] {
        let once = simulate(&["--seed", seed]);
        assert!(once.status.success(), "{}", text(&once));
        assert_eq!(text(&once), text(&simulate(&["--seed", seed])));
    }
}

#[test]
fn another_seed_is_another_run() {
    let checksum = |seed| {
        let said = text(&simulate(&["--seed", seed, "--seconds", "2"]));
        let rest = said
            .split_once("checksum ")
            .map(|(_, rest)| rest.to_owned());
        rest.and_then(|rest| rest.split_once(',').map(|(sum, _)| sum.to_owned()))
    };
    assert!(checksum("1").is_some());
    assert_ne!(checksum("1"), checksum("2"));
}

/// What the oracle said about the first seeds with a defect; there must be something.
fn noticed(defect: &str, seeds: &str) -> String {
    let output = simulate(&["--seeds", seeds, "--defect", defect]);
    assert_eq!(output.status.code(), Some(1), "nobody noticed {defect}");
    text(&output)
}

#[test]
fn a_disk_that_does_not_flush_is_noticed() {
    noticed("lying-disk", "0..20");
}

#[test]
fn a_leader_whose_clock_is_slow_is_noticed() {
    let said = noticed("slow-clock", "0..20");
    assert!(said.contains("one lease at a time"), "{said}");
}

#[test]
fn damage_that_looks_like_the_end_of_the_log_is_noticed() {
    noticed("silent-damage", "0..20");
}

#[test]
fn a_server_that_gets_an_old_copy_of_its_disk_back_is_noticed() {
    noticed("old-copy", "0..10");
}

#[test]
fn a_request_that_is_applied_twice_is_noticed() {
    let said = noticed("repeated-requests", "0..10");
    assert!(said.contains("linearizable"), "{said}");
}
