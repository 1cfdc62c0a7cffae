//! Many seeds, the same seed twice, and defects that must be noticed.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raftpbx_simulator::{Defect, Scenario, run};

/// Calls `each` for every seed, on all cores; gathers what it answers.
fn on_all_cores<T: Send>(seeds: std::ops::Range<u64>, each: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    found.lock().extend(each(seed));
                }
            });
        }
    });
    found.into_inner()
}

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let broken = on_all_cores(0..200, |seed| {
        let report = run(&Scenario::of_seed(seed));
        report.violation.map(|violation| (seed, violation.promise))
    });
    assert!(
        broken.is_empty(),
        "{broken:?}; replay with: cargo run -p raftpbx-simulator -- --seed SEED --trace"
    );
}

#[test]
fn a_seed_replays_exactly() {
    let different = on_all_cores(1_000..1_006, |seed| {
        let scenario = Scenario::of_seed(seed);
        let (one, two) = (run(&scenario), run(&scenario));
        let same = one.checksum == two.checksum && one.events == two.events;
        (!same || one.events < 1_000).then_some((seed, one.events, two.events))
    });
    assert!(different.is_empty(), "{different:?}");
}

/// The first seeds that notice a defect.
fn noticed(defect: Defect, seeds: u64) -> Vec<&'static str> {
    on_all_cores(0..seeds, |seed| {
        let scenario = Scenario {
            defect: Some(defect),
            ..Scenario::of_seed(seed)
        };
        run(&scenario).violation.map(|violation| violation.promise)
    })
}

#[test]
fn a_disk_that_does_not_flush_is_noticed() {
    assert!(!noticed(Defect::LyingDisk, 20).is_empty());
}

#[test]
fn a_leader_whose_clock_is_slow_is_noticed() {
    assert!(!noticed(Defect::SlowClock, 20).is_empty());
}

#[test]
fn a_request_that_is_applied_twice_is_noticed() {
    assert!(!noticed(Defect::RepeatedRequests, 10).is_empty());
}
