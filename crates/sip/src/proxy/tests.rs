use super::*;

fn options(simultaneous: bool) -> Options {
    Options {
        invite: true,
        simultaneous,
        ..Options::default()
    }
}

fn targets(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("sip:{name}")).collect()
}

fn launched(effects: &[Effect]) -> Vec<usize> {
    let launch = |effect: &Effect| match effect {
        Effect::Launch(index) => Some(*index),
        _ => None,
    };
    effects.iter().filter_map(launch).collect()
}

fn fail(machine: &mut Machine, branch: usize, status: u16) -> Vec<Effect> {
    machine.step(Input::Final(branch, status, Vec::new()))
}

#[test]
fn one_after_the_other_until_one_answers() {
    let (mut machine, effects) = Machine::start(options(false), targets(&["a", "b", "c"]));
    assert_eq!(launched(&effects), [0]);
    assert_eq!(launched(&fail(&mut machine, 0, 486)), [1]);
    assert_eq!(
        machine.step(Input::Final(1, 200, Vec::new())),
        [Effect::Relay(1)]
    );
    assert!(machine.answered && machine.is_over());
}

#[test]
fn all_at_once_and_the_others_are_cancelled_when_one_answers() {
    let (mut machine, effects) = Machine::start(options(true), targets(&["a", "b", "c"]));
    assert_eq!(launched(&effects), [0, 1, 2]);
    assert_eq!(
        machine.step(Input::Provisional(2, 180)),
        [Effect::Arm(2, Timer::C, TIMER_C_MS), Effect::Relay(2)]
    );
    assert_eq!(
        machine.step(Input::Final(1, 200, Vec::new())),
        [Effect::Relay(1), Effect::Cancel(0), Effect::Cancel(2)]
    );
    assert!(!machine.is_over());
    assert_eq!(fail(&mut machine, 0, 487), []);
    // A second 2xx belongs to the caller, too.
    assert_eq!(
        machine.step(Input::Final(2, 200, Vec::new())),
        [Effect::Relay(2)]
    );
    assert!(machine.is_over());
}

#[test]
fn the_best_response_is_chosen_when_all_are_final() {
    for (statuses, chosen) in [
        ([486, 404, 500], 0),
        ([503, 500, 408], 2),
        ([404, 401, 480], 1),
        ([404, 302, 480], 1),
        ([408, 480, 503], 1),
    ] {
        let (mut machine, _) = Machine::start(options(true), targets(&["a", "b", "c"]));
        assert_eq!(fail(&mut machine, 0, statuses[0]), []);
        assert_eq!(fail(&mut machine, 1, statuses[1]), []);
        let effects = fail(&mut machine, 2, statuses[2]);
        assert_eq!(effects, [Effect::Conclude(chosen)], "{statuses:?}");
        assert!(machine.is_over());
    }
}

#[test]
fn a_6xx_ends_the_search() {
    let (mut machine, _) = Machine::start(options(true), targets(&["a", "b"]));
    assert_eq!(fail(&mut machine, 0, 603), [Effect::Cancel(1)]);
    assert_eq!(fail(&mut machine, 1, 487), [Effect::Conclude(0)]);
    let (mut machine, _) = Machine::start(options(false), targets(&["a", "b"]));
    assert_eq!(fail(&mut machine, 0, 600), [Effect::Conclude(0)]);
}

#[test]
fn a_challenge_ends_the_search_one_after_the_other() {
    let (mut machine, _) = Machine::start(options(false), targets(&["a", "b"]));
    assert_eq!(fail(&mut machine, 0, 407), [Effect::Conclude(0)]);
}

#[test]
fn redirects_are_followed_once_each_and_only_when_asked() {
    let redirect = || Input::Final(0, 302, targets(&["c", "a"]));
    let follow = Options {
        follow_redirects: true,
        ..options(false)
    };
    let (mut machine, _) = Machine::start(follow, targets(&["a"]));
    assert_eq!(launched(&machine.step(redirect())), [1]);
    assert_eq!(machine.branches[1].target, "sip:c");
    let back = Input::Final(1, 302, targets(&["a"]));
    assert_eq!(machine.step(back), [Effect::Conclude(0)]);
    let (mut machine, _) = Machine::start(options(false), targets(&["a"]));
    assert_eq!(machine.step(redirect()), [Effect::Conclude(0)]);
}

#[test]
fn a_silent_destination_is_left_and_a_late_answer_still_counts() {
    let timed = Options {
        provisional_ms: Some(1_000),
        final_ms: Some(5_000),
        ..options(false)
    };
    let (mut machine, effects) = Machine::start(timed, targets(&["a", "b"]));
    assert!(effects.contains(&Effect::Arm(0, Timer::Provisional, 1_000)));
    assert!(effects.contains(&Effect::Arm(0, Timer::Final, 5_000)));
    let effects = machine.step(Input::Fired(0, Timer::Provisional));
    assert_eq!(effects[0], Effect::Cancel(0));
    assert_eq!(launched(&effects), [1]);
    machine.step(Input::Provisional(1, 180));
    assert_eq!(machine.step(Input::Fired(1, Timer::Provisional)), []);
    assert_eq!(
        machine.step(Input::Final(0, 200, Vec::new())),
        [Effect::Relay(0), Effect::Cancel(1)]
    );
}

#[test]
fn ringing_for_ever_ends_with_timer_c() {
    let (mut machine, effects) = Machine::start(options(false), targets(&["a"]));
    assert!(effects.contains(&Effect::Arm(0, Timer::C, TIMER_C_MS)));
    machine.step(Input::Provisional(0, 180));
    assert_eq!(
        machine.step(Input::Fired(0, Timer::C)),
        [Effect::Cancel(0), Effect::Conclude(0)]
    );
}

#[test]
fn the_caller_gives_up() {
    let (mut machine, _) = Machine::start(options(true), targets(&["a", "b"]));
    assert_eq!(
        machine.step(Input::Cancel),
        [Effect::Cancel(0), Effect::Cancel(1)]
    );
    assert_eq!(fail(&mut machine, 0, 487), []);
    assert_eq!(fail(&mut machine, 1, 487), [Effect::Conclude(0)]);
}

#[test]
fn without_destinations_the_caller_is_told_so() {
    let (machine, effects) = Machine::start(options(false), Vec::new());
    assert_eq!(effects, [Effect::Answer(480)]);
    assert!(machine.is_over());
}

#[test]
fn durations_have_units() {
    for (text, expected) in [
        ("2s", Some(2_000)),
        ("1500ms", Some(1_500)),
        ("3", Some(3_000)),
        ("", None),
        ("0s", None),
        ("soon", None),
    ] {
        assert_eq!(duration_ms(text), expected, "{text}");
    }
}
