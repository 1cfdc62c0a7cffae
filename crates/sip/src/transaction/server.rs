//! Server machines: RFC 3261 sections 17.2.1, 17.2.2 and 13.3.1.4, RFC 6026 section 7.1.
use super::{Effect, Input, LIFE_MS, State, T1_MS, T2_MS, T4_MS, Timer, Transaction};

pub(super) fn invite(tx: &mut Transaction, input: Input) -> Vec<Effect> {
    match (tx.state, input) {
        (State::Proceeding, Input::Request | Input::Respond(..=199)) => vec![Effect::Transmit],
        (State::Proceeding, Input::Respond(200..=299)) => {
            tx.state = State::Accepted;
            tx.interval_ms = T1_MS;
            let (again, over) = (
                Effect::Arm(Timer::Answer, T1_MS),
                Effect::Arm(Timer::L, LIFE_MS),
            );
            vec![Effect::Transmit, again, over]
        }
        (State::Proceeding, Input::Relay) => {
            tx.state = State::Accepted;
            tx.acknowledged = true;
            vec![Effect::Transmit, Effect::Arm(Timer::L, LIFE_MS)]
        }
        (State::Proceeding, Input::Respond(_)) => {
            tx.state = State::Completed;
            tx.interval_ms = T1_MS;
            let mut effects = vec![Effect::Transmit, Effect::Arm(Timer::H, LIFE_MS)];
            if !tx.reliable {
                effects.push(Effect::Arm(Timer::G, T1_MS));
            }
            effects
        }
        (State::Completed, Input::Request) => vec![Effect::Transmit],
        (State::Completed, Input::Fired(Timer::G)) => {
            let next_ms = tx.double(T2_MS);
            vec![Effect::Transmit, Effect::Arm(Timer::G, next_ms)]
        }
        (State::Completed, Input::Ack) => {
            tx.state = State::Confirmed;
            vec![Effect::Arm(Timer::I, if tx.reliable { 0 } else { T4_MS })]
        }
        (State::Completed, Input::Fired(Timer::H)) | (State::Confirmed, Input::Fired(Timer::I)) => {
            tx.finish()
        }
        (State::Accepted, _) => accepted(tx, input),
        _ => Vec::new(),
    }
}

/// The 2xx is repeated by us until the ACK comes, whatever the transport: there may be an
/// unreliable hop further on.
fn accepted(tx: &mut Transaction, input: Input) -> Vec<Effect> {
    match input {
        Input::Ack => {
            tx.acknowledged = true;
            Vec::new()
        }
        Input::Fired(Timer::Answer) if !tx.acknowledged => {
            let next_ms = tx.double(T2_MS);
            vec![Effect::Transmit, Effect::Arm(Timer::Answer, next_ms)]
        }
        Input::Fired(Timer::L) if tx.acknowledged => tx.finish(),
        Input::Fired(Timer::L) => {
            tx.state = State::Terminated;
            vec![Effect::Unacknowledged, Effect::Finished]
        }
        _ => Vec::new(),
    }
}

pub(super) fn other(tx: &mut Transaction, input: Input) -> Vec<Effect> {
    match (tx.state, input) {
        (State::Proceeding | State::Completed, Input::Request) => vec![Effect::Transmit],
        (State::Trying | State::Proceeding, Input::Respond(..=199)) => {
            tx.state = State::Proceeding;
            vec![Effect::Transmit]
        }
        (State::Trying | State::Proceeding, Input::Respond(_)) => {
            tx.state = State::Completed;
            let wait_ms = if tx.reliable { 0 } else { LIFE_MS };
            vec![Effect::Transmit, Effect::Arm(Timer::J, wait_ms)]
        }
        (State::Completed, Input::Fired(Timer::J)) => tx.finish(),
        _ => Vec::new(),
    }
}
