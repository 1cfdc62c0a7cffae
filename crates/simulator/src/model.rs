//! What one object does when its operations come one after the other.

use crate::history::{Action, Shape, Told};

/// The state of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// A value; `expiring` ones may vanish at any time.
    Value {
        /// The value.
        value: Option<u64>,
        /// Whether it may vanish.
        expiring: bool,
    },
    /// A sum.
    Sum(i64),
    /// The items of a queue, in order.
    Items(Vec<u64>),
}

impl State {
    /// An object that nobody has touched.
    pub fn new(shape: Shape) -> Self {
        match shape {
            Shape::Text | Shape::Field | Shape::Expiring => State::Value {
                value: None,
                expiring: false,
            },
            Shape::Counter | Shape::FieldCounter => State::Sum(0),
            Shape::Queue => State::Items(Vec::new()),
        }
    }

    /// The state after an action that was told `told` (`None`: anything). `None` when the object
    /// cannot have said that. A value that may vanish has vanished when the answer needs it.
    pub fn after(&self, action: Action, told: Option<Told>) -> Option<State> {
        if let Some(next) = self.step(action, told) {
            return Some(next);
        }
        match self {
            State::Value { expiring: true, .. } => {
                let vanished = State::Value {
                    value: None,
                    expiring: false,
                };
                vanished.step(action, told)
            }
            _ => None,
        }
    }

    fn step(&self, action: Action, told: Option<Told>) -> Option<State> {
        let (next, answer) = match self {
            State::Value { value, expiring } => value_step(*value, *expiring, action)?,
            State::Sum(sum) => match action {
                Action::Read => (self.clone(), Told::Number(*sum)),
                Action::Add(by) => (State::Sum(sum + by), Told::Number(sum + by)),
                _ => return None,
            },
            State::Items(items) => queue_step(items, action)?,
        };
        told.is_none_or(|told| told == answer).then_some(next)
    }
}

fn value_step(value: Option<u64>, expiring: bool, action: Action) -> Option<(State, Told)> {
    let lasting = |value| State::Value {
        value,
        expiring: false,
    };
    let present = State::Value { value, expiring };
    Some(match action {
        Action::Read => (present, Told::Value(value)),
        Action::Write(new) => (lasting(Some(new)), Told::Done),
        Action::WriteFor(new, _) => {
            let next = State::Value {
                value: Some(new),
                expiring: true,
            };
            (next, Told::Done)
        }
        Action::Swap(new) => (lasting(Some(new)), Told::Value(value)),
        Action::Claim(new) if value.is_none() => (lasting(Some(new)), Told::Flag(true)),
        Action::Claim(_) => (present, Told::Flag(false)),
        Action::Remove => (lasting(None), Told::Flag(value.is_some())),
        _ => return None,
    })
}

fn queue_step(items: &[u64], action: Action) -> Option<(State, Told)> {
    let mut next = items.to_vec();
    let told = match action {
        Action::Read => Told::Number(i64::try_from(items.len()).unwrap_or(i64::MAX)),
        Action::Push(item) => match next.binary_search(&item) {
            Ok(_) => Told::Flag(false),
            Err(place) => {
                next.insert(place, item);
                Told::Flag(true)
            }
        },
        Action::Pop if next.is_empty() => Told::Value(None),
        Action::Pop => Told::Value(Some(next.remove(0))),
        _ => return None,
    };
    Some((State::Items(next), told))
}
