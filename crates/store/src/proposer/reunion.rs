//! When the next batch is large enough.
//!
//! Clients that wait for each answer before they ask again fall into two groups that take turns,
//! and every entry carries half of what it could; an entry costs all nodes a flush and a dozen
//! thread switches, whatever is in it. So after a batch was answered the next one waits until as
//! many requests are there as were answered and waiting then, but not for long.

use std::time::Duration;

use tokio::time::Instant;

/// How long a batch waits for the clients that were just answered, at most.
const WAIT_MAX: Duration = Duration::from_millis(2);

/// What the next batch waits for.
#[derive(Debug)]
pub struct Reunion {
    expected: usize,
    /// Then it is enough anyway.
    pub until: Instant,
}

impl Reunion {
    /// After a batch of `answered` requests, when `waiting` are there already.
    pub fn of(answered: usize, waiting: usize, now: Instant) -> Reunion {
        Reunion {
            expected: answered + waiting,
            until: now + WAIT_MAX,
        }
    }

    /// Whether `waiting` requests are enough.
    pub fn is_over(&self, waiting: usize, now: Instant) -> bool {
        waiting >= self.expected || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_those_who_were_answered_but_not_for_long() {
        let now = Instant::now();
        let reunion = Reunion::of(30, 34, now);
        assert!(!reunion.is_over(63, now));
        assert!(reunion.is_over(64, now));
        assert!(!reunion.is_over(1, now + WAIT_MAX / 2));
        assert!(reunion.is_over(1, now + WAIT_MAX));
    }

    #[test]
    fn a_single_client_never_waits_for_anybody() {
        let now = Instant::now();
        assert!(Reunion::of(1, 0, now).is_over(1, now));
    }
}
