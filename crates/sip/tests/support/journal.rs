//! A journal in memory whose commits can be held back, shared by several engines.
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use raftpbx_sip::journal::Done;
use raftpbx_sip::{Credentials, Engine, EngineEvent, Journal, JournalError, JournalOp, digest_ha1};

use super::PATIENCE;

#[derive(Default)]
struct State {
    values: BTreeMap<String, Vec<u8>>,
    engines: Vec<Weak<Engine>>,
    events: Vec<EngineEvent>,
    held: Vec<(Vec<JournalOp>, Done)>,
    is_holding: bool,
}

#[derive(Default)]
pub struct TestJournal {
    state: Mutex<State>,
    changed: Condvar,
}

impl TestJournal {
    pub fn new() -> Arc<TestJournal> {
        Arc::default()
    }

    /// Feeds an engine with everything stored now and from now on.
    pub fn feed(&self, engine: &Arc<Engine>) {
        let mut state = self.state.lock();
        engine.changed(
            state
                .values
                .iter()
                .map(|(k, v)| (k.clone(), Some(v.clone())))
                .collect(),
        );
        state.engines.push(Arc::downgrade(engine));
    }

    /// Stops feeding everybody.
    pub fn forget(&self) {
        self.state.lock().engines.clear();
    }

    /// A sink that records the events of an engine here.
    pub fn events(self: &Arc<Self>) -> impl Fn(Vec<EngineEvent>) + Send + use<> {
        let journal = self.clone();
        move |batch| {
            journal.state.lock().events.extend(batch);
            journal.changed.notify_all();
        }
    }

    /// Keeps commits back from now on.
    pub fn hold(&self) {
        self.state.lock().is_holding = true;
    }

    /// Waits until a commit is held back.
    pub fn wait_held(&self) {
        self.wait(|state| !state.held.is_empty(), "a commit");
    }

    pub fn wait_event(&self, wanted: impl Fn(&EngineEvent) -> bool) {
        self.wait(|state| state.events.iter().any(&wanted), "an event");
    }

    /// Waits until the keys with a prefix are as many as said.
    pub fn wait_keys(&self, prefix: &str, count: usize) {
        let counts = |state: &State| {
            state
                .values
                .keys()
                .filter(|k| k.starts_with(prefix))
                .count()
        };
        self.wait(|state| counts(state) == count, prefix);
    }

    fn wait(&self, done: impl Fn(&State) -> bool, what: &str) {
        let mut state = self.state.lock();
        while !done(&state) {
            let late = self.changed.wait_for(&mut state, PATIENCE).timed_out();
            assert!(!late, "no {what} in time");
        }
    }

    /// Lets held commits through, and all later ones.
    pub fn release(&self) {
        let held = {
            let mut state = self.state.lock();
            state.is_holding = false;
            std::mem::take(&mut state.held)
        };
        for (ops, done) in held {
            self.apply(ops);
            done(Ok(()));
        }
    }

    /// Fails held commits; later ones go through.
    pub fn refuse(&self, error: JournalError) {
        let held = {
            let mut state = self.state.lock();
            state.is_holding = false;
            std::mem::take(&mut state.held)
        };
        for (_, done) in held {
            done(Err(error.clone()));
        }
    }

    /// Deletes a key as another client of the store would.
    pub fn delete(&self, key: &str) {
        self.apply(vec![JournalOp::Delete {
            key: key.to_owned(),
        }]);
    }

    /// Sets a key as another client of the store would.
    pub fn set(&self, key: &str, value: Vec<u8>) {
        self.apply(vec![JournalOp::Set {
            key: key.to_owned(),
            value,
            expires_at_ms: None,
        }]);
    }

    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.state.lock().values.get(key).cloned()
    }

    fn apply(&self, ops: Vec<JournalOp>) {
        let mut state = self.state.lock();
        let changes: Vec<(String, Option<Vec<u8>>)> = ops
            .into_iter()
            .map(|op| match op {
                JournalOp::Set { key, value, .. } => (key, Some(value)),
                JournalOp::Delete { key } => (key, None),
            })
            .collect();
        for (key, value) in &changes {
            match value {
                Some(value) => state.values.insert(key.clone(), value.clone()),
                None => state.values.remove(key),
            };
        }
        let engines: Vec<_> = state.engines.iter().filter_map(Weak::upgrade).collect();
        for engine in engines {
            engine.changed(changes.clone());
        }
        self.changed.notify_all();
    }
}

impl Journal for TestJournal {
    fn commit(&self, ops: Vec<JournalOp>, _patience: Duration, done: Done) {
        let mut state = self.state.lock();
        if state.is_holding {
            state.held.push((ops, done));
            self.changed.notify_all();
            return;
        }
        drop(state);
        self.apply(ops);
        done(Ok(()));
    }

    fn credentials(&self, user: &str) -> Option<Credentials> {
        (user == "1001").then(|| digest_ha1("1001", "pbx.test", "secret"))
    }

    fn now_ms(&self) -> u64 {
        0
    }
}
