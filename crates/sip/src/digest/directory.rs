//! The digests of users, with a copy of those that were right lately: to read a row costs a
//! registration more than the rest of its check.
//!
//! A copy counts as long as the number of the table stays. A password that is wrong by the copy
//! is compared with the table itself, so that a user who is known takes as long to be refused as
//! one whom nobody knows.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generations::Generations;
use crate::journal::Credentials;
use crate::limits::USERS_REMEMBERED_MAX;

/// Reads the digests of a user.
type LookUp = Box<dyn Fn(&str) -> Option<Credentials> + Send>;

/// Users, from where they are kept, and copies of some.
pub struct Directory {
    look_up: LookUp,
    /// Grows with each change of any user; none: nothing is copied.
    changes: Option<Arc<AtomicU64>>,
    copies: Generations<Box<str>, Credentials>,
    /// The number the copies belong to.
    copied_at: u64,
    /// Checks that needed no read.
    pub remembered: u64,
    /// Reads.
    pub read: u64,
}

impl Directory {
    /// Users that `look_up` reads each time.
    pub fn new(look_up: impl Fn(&str) -> Option<Credentials> + Send + 'static) -> Directory {
        Directory {
            look_up: Box::new(look_up),
            changes: None,
            // A copy is as good as its number, however old.
            copies: Generations::new(USERS_REMEMBERED_MAX, u64::MAX),
            copied_at: 0,
            remembered: 0,
            read: 0,
        }
    }

    /// The same with copies, good as long as `changes` stays: it grows after a change can be
    /// read and before the change is acknowledged.
    #[must_use]
    pub fn with_copies(self, changes: Option<Arc<AtomicU64>>) -> Directory {
        Directory { changes, ..self }
    }

    /// Whether `matches` says yes to the digests of a user. It is asked about [`None`] when there
    /// is no such user, and once only: a check must take the same time for everybody.
    pub fn check(&mut self, user: &str, matches: impl Fn(Option<&Credentials>) -> bool) -> bool {
        // Before the read: what is read may be newer than its number says, never older.
        let now_at = self.changes.as_ref().map(|one| one.load(Ordering::Acquire));
        if now_at.is_some_and(|now_at| now_at != self.copied_at) {
            self.forget();
            self.copied_at = now_at.unwrap_or_default();
        }
        let refused = match self.copies.get(user) {
            Some(copy) if matches(Some(copy)) => {
                self.remembered += 1;
                self.copies.renew(user, 0);
                return true;
            }
            copy => copy.cloned(),
        };
        self.read += 1;
        let known = (self.look_up)(user);
        if refused.is_some() && refused == known {
            return false;
        }
        let right = matches(known.as_ref());
        if let (true, Some(known), true) = (right, known, now_at.is_some()) {
            self.copies.insert(user.into(), known, 0);
        }
        right
    }

    /// Forgets every copy.
    pub fn forget(&mut self) {
        self.copies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Journal;
    use crate::journal::{MemoryJournal, digest_ha1};

    const REALM: &str = "pbx.test";

    struct Office {
        journal: Arc<MemoryJournal>,
        directory: Directory,
    }

    impl Office {
        fn new() -> Office {
            let journal = Arc::new(MemoryJournal::new());
            let (reads, changes) = (journal.clone(), journal.user_changes());
            let directory = Directory::new(move |user| reads.credentials(user));
            let directory = directory.with_copies(changes);
            Office { journal, directory }
        }

        fn set(&self, user: &str, password: &str) {
            self.journal
                .set_user(user, digest_ha1(user, REALM, password));
        }

        fn knows(&mut self, user: &str, password: &str) -> bool {
            let given = digest_ha1(user, REALM, password);
            self.directory.check(user, |known| known == Some(&given))
        }

        fn counts(&self) -> (u64, u64) {
            (self.directory.remembered, self.directory.read)
        }
    }

    #[test]
    fn a_right_password_is_read_once() {
        let mut office = Office::new();
        office.set("ann", "secret");
        assert!((0..5).all(|_| office.knows("ann", "secret")));
        assert_eq!(office.counts(), (4, 1));
    }

    #[test]
    fn a_changed_password_counts_at_once_and_the_old_one_no_more() {
        let mut office = Office::new();
        office.set("ann", "old");
        assert!(office.knows("ann", "old"));
        office.set("ann", "new");
        assert!(!office.knows("ann", "old"));
        assert!(office.knows("ann", "new"));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_are_looked_up_each_time() {
        let mut office = Office::new();
        office.set("ann", "secret");
        assert!(office.knows("ann", "secret"));
        for turn in 0..3 {
            assert!(!office.knows("ann", "guess"));
            assert!(!office.knows("nobody", "guess"));
            assert_eq!(office.counts(), (0, 3 + 2 * turn));
        }
        assert!(office.knows("ann", "secret"));
        assert_eq!(office.counts().0, 1, "a guess takes no copy away");
    }

    #[test]
    fn what_changes_during_a_read_is_read_again() {
        let journal = Arc::new(MemoryJournal::new());
        journal.set_user("ann", digest_ha1("ann", REALM, "old"));
        let reads = journal.clone();
        let directory = Directory::new(move |user| {
            let found = reads.credentials(user);
            // Right behind the read, before its result is kept.
            reads.set_user(user, digest_ha1(user, REALM, "new"));
            found
        });
        let directory = directory.with_copies(journal.user_changes());
        let mut office = Office { journal, directory };
        assert!(office.knows("ann", "old"));
        assert!(!office.knows("ann", "old"));
        assert!(office.knows("ann", "new"));
    }

    #[test]
    fn the_copies_are_bounded_and_those_in_use_stay() {
        let mut office = Office::new();
        office.set("ann", "secret");
        let everybody = digest_ha1("all", REALM, "secret");
        let same = everybody.clone();
        let directory = Directory::new(move |_| Some(same.clone()));
        office.directory = directory.with_copies(office.journal.user_changes());
        let right = |known: Option<&Credentials>| known == Some(&everybody);
        for turn in 0..3 * USERS_REMEMBERED_MAX {
            assert!(office.directory.check(&turn.to_string(), right));
            assert!(office.directory.check("ann", right));
        }
        assert!(office.directory.copies.len() <= 2 * USERS_REMEMBERED_MAX);
        let reads = 3 * USERS_REMEMBERED_MAX as u64 + 1;
        assert_eq!(office.directory.read, reads, "ann was read once");
    }

    #[test]
    fn without_a_number_nothing_is_copied() {
        let mut office = Office::new();
        office.set("ann", "secret");
        let reads = office.journal.clone();
        office.directory = Directory::new(move |user| reads.credentials(user));
        assert!((0..3).all(|_| office.knows("ann", "secret")));
        assert_eq!(office.counts(), (0, 3));
    }
}
