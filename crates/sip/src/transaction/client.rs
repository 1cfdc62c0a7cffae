//! Client machines: RFC 3261 sections 17.1.1 and 17.1.2, RFC 6026 section 7.2.
use super::{Effect, Input, LIFE_MS, State, T1_MS, T2_MS, T4_MS, Timer, Transaction};

/// Timer D must be at least this on unreliable transports, ms.
const D_MS: u64 = 32_000;

pub(super) fn begin(reliable: bool, retransmit: Timer, give_up: Timer) -> Vec<Effect> {
    let mut effects = vec![Effect::Transmit, Effect::Arm(give_up, LIFE_MS)];
    if !reliable {
        effects.push(Effect::Arm(retransmit, T1_MS));
    }
    effects
}

fn unreachable(tx: &mut Transaction) -> Vec<Effect> {
    tx.state = State::Terminated;
    vec![Effect::Unreachable, Effect::Finished]
}

pub(super) fn invite(tx: &mut Transaction, input: Input) -> Vec<Effect> {
    match (tx.state, input) {
        (State::Trying, Input::Fired(Timer::A)) => {
            let next_ms = tx.double(u64::MAX / 2);
            vec![Effect::Transmit, Effect::Arm(Timer::A, next_ms)]
        }
        (State::Trying, Input::Unreachable) => unreachable(tx),
        (State::Trying, Input::Fired(Timer::B)) => {
            tx.state = State::Terminated;
            vec![Effect::TimedOut, Effect::Finished]
        }
        (State::Trying | State::Proceeding, Input::Response(..=199)) => {
            tx.state = State::Proceeding;
            vec![Effect::Deliver]
        }
        (State::Trying | State::Proceeding, Input::Response(200..=299)) => {
            tx.state = State::Accepted;
            vec![Effect::Deliver, Effect::Arm(Timer::M, LIFE_MS)]
        }
        (State::Trying | State::Proceeding, Input::Response(_)) => {
            tx.state = State::Completed;
            let wait_ms = if tx.reliable { 0 } else { D_MS };
            vec![
                Effect::Acknowledge,
                Effect::Deliver,
                Effect::Arm(Timer::D, wait_ms),
            ]
        }
        (State::Completed, Input::Response(300..)) => vec![Effect::Acknowledge],
        (State::Accepted, Input::Response(200..=299)) => vec![Effect::Deliver],
        (State::Completed, Input::Fired(Timer::D)) | (State::Accepted, Input::Fired(Timer::M)) => {
            tx.finish()
        }
        _ => Vec::new(),
    }
}

pub(super) fn other(tx: &mut Transaction, input: Input) -> Vec<Effect> {
    match (tx.state, input) {
        (State::Trying, Input::Fired(Timer::E)) => {
            let next_ms = tx.double(T2_MS);
            vec![Effect::Transmit, Effect::Arm(Timer::E, next_ms)]
        }
        (State::Proceeding, Input::Fired(Timer::E)) => {
            tx.interval_ms = T2_MS;
            vec![Effect::Transmit, Effect::Arm(Timer::E, T2_MS)]
        }
        (State::Trying, Input::Unreachable) => unreachable(tx),
        (State::Trying | State::Proceeding, Input::Fired(Timer::F)) => {
            tx.state = State::Terminated;
            vec![Effect::TimedOut, Effect::Finished]
        }
        (State::Trying | State::Proceeding, Input::Response(..=199)) => {
            tx.state = State::Proceeding;
            vec![Effect::Deliver]
        }
        (State::Trying | State::Proceeding, Input::Response(_)) => {
            tx.state = State::Completed;
            let wait_ms = if tx.reliable { 0 } else { T4_MS };
            vec![Effect::Deliver, Effect::Arm(Timer::K, wait_ms)]
        }
        (State::Completed, Input::Fired(Timer::K)) => tx.finish(),
        _ => Vec::new(),
    }
}
