//! The tables of RFC 3261 section 17 as sequences of inputs and effects.
use super::Effect::*;
use super::Input::*;
use super::*;

/// Runs a machine through inputs and compares the effects of each.
fn run(kind: Kind, reliable: bool, begin: &[Effect], steps: &[(Input, &[Effect])]) -> Transaction {
    let (mut transaction, effects) = Transaction::start(kind, reliable);
    assert_eq!(effects, begin);
    for (number, (input, expected)) in steps.iter().enumerate() {
        assert_eq!(
            &transaction.step(*input),
            expected,
            "step {number}: {input:?}"
        );
    }
    transaction
}

#[test]
fn an_unanswered_invite_is_repeated_with_doubling_intervals_and_times_out() {
    let begin = [Transmit, Arm(Timer::B, 32_000), Arm(Timer::A, 500)];
    run(
        Kind::InviteClient,
        false,
        &begin,
        &[
            (Fired(Timer::A), &[Transmit, Arm(Timer::A, 1_000)]),
            (Fired(Timer::A), &[Transmit, Arm(Timer::A, 2_000)]),
            (Fired(Timer::A), &[Transmit, Arm(Timer::A, 4_000)]),
            (Fired(Timer::A), &[Transmit, Arm(Timer::A, 8_000)]),
            (Fired(Timer::B), &[TimedOut, Finished]),
            (Response(200), &[]),
        ],
    );
}

#[test]
fn a_refused_invite_is_acknowledged_each_time() {
    run(
        Kind::InviteClient,
        false,
        &Transaction::start(Kind::InviteClient, false).1,
        &[
            (Response(100), &[Deliver]),
            (Fired(Timer::A), &[]),
            (Fired(Timer::B), &[]),
            (Response(180), &[Deliver]),
            (
                Response(486),
                &[Acknowledge, Deliver, Arm(Timer::D, 32_000)],
            ),
            (Response(486), &[Acknowledge]),
            (Response(200), &[]),
            (Fired(Timer::D), &[Finished]),
        ],
    );
}

#[test]
fn every_2xx_to_an_invite_is_delivered() {
    let begin = [Transmit, Arm(Timer::B, 32_000)];
    run(
        Kind::InviteClient,
        true,
        &begin,
        &[
            (Response(200), &[Deliver, Arm(Timer::M, 32_000)]),
            (Response(200), &[Deliver]),
            (Response(180), &[]),
            (Fired(Timer::M), &[Finished]),
        ],
    );
}

#[test]
fn other_requests_are_repeated_up_to_t2_and_slower_when_proceeding() {
    let begin = [Transmit, Arm(Timer::F, 32_000), Arm(Timer::E, 500)];
    run(
        Kind::OtherClient,
        false,
        &begin,
        &[
            (Fired(Timer::E), &[Transmit, Arm(Timer::E, 1_000)]),
            (Fired(Timer::E), &[Transmit, Arm(Timer::E, 2_000)]),
            (Fired(Timer::E), &[Transmit, Arm(Timer::E, 4_000)]),
            (Fired(Timer::E), &[Transmit, Arm(Timer::E, 4_000)]),
            (Response(100), &[Deliver]),
            (Fired(Timer::E), &[Transmit, Arm(Timer::E, 4_000)]),
            (Response(200), &[Deliver, Arm(Timer::K, 5_000)]),
            (Response(200), &[]),
            (Fired(Timer::F), &[]),
            (Fired(Timer::K), &[Finished]),
        ],
    );
    run(
        Kind::OtherClient,
        true,
        &[Transmit, Arm(Timer::F, 32_000)],
        &[(Fired(Timer::F), &[TimedOut, Finished])],
    );
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    run(
        Kind::InviteServer,
        false,
        &[],
        &[
            (Request, &[Transmit]),
            (Respond(180), &[Transmit]),
            (
                Respond(486),
                &[Transmit, Arm(Timer::H, 32_000), Arm(Timer::G, 500)],
            ),
            (Request, &[Transmit]),
            (Fired(Timer::G), &[Transmit, Arm(Timer::G, 1_000)]),
            (Fired(Timer::G), &[Transmit, Arm(Timer::G, 2_000)]),
            (Fired(Timer::G), &[Transmit, Arm(Timer::G, 4_000)]),
            (Fired(Timer::G), &[Transmit, Arm(Timer::G, 4_000)]),
            (Ack, &[Arm(Timer::I, 5_000)]),
            (Ack, &[]),
            (Fired(Timer::G), &[]),
            (Fired(Timer::I), &[Finished]),
        ],
    );
    run(
        Kind::InviteServer,
        true,
        &[],
        &[
            (Respond(603), &[Transmit, Arm(Timer::H, 32_000)]),
            (Fired(Timer::H), &[Finished]),
        ],
    );
}

#[test]
fn an_answer_is_repeated_until_its_ack() {
    let accepted = [Transmit, Arm(Timer::Answer, 500), Arm(Timer::L, 32_000)];
    run(
        Kind::InviteServer,
        true,
        &[],
        &[
            (Respond(200), &accepted),
            (Request, &[]),
            (Fired(Timer::Answer), &[Transmit, Arm(Timer::Answer, 1_000)]),
            (Ack, &[]),
            (Fired(Timer::Answer), &[]),
            (Fired(Timer::L), &[Finished]),
        ],
    );
    run(
        Kind::InviteServer,
        false,
        &[],
        &[
            (Respond(200), &accepted),
            (Fired(Timer::L), &[Unacknowledged, Finished]),
        ],
    );
}

#[test]
fn answers_to_other_requests_are_repeated_on_demand_only() {
    run(
        Kind::OtherServer,
        false,
        &[],
        &[
            (Request, &[]),
            (Respond(100), &[Transmit]),
            (Request, &[Transmit]),
            (Respond(200), &[Transmit, Arm(Timer::J, 32_000)]),
            (Respond(500), &[]),
            (Request, &[Transmit]),
            (Fired(Timer::J), &[Finished]),
            (Request, &[]),
        ],
    );
}
