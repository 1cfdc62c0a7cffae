//! Deadlines. A timer is never cancelled: whoever it wakes looks whether it still matters.
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::transaction::Timer;

/// Whom a deadline wakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A server transaction.
    Server(Rc<str>, Timer),
    /// A client transaction.
    Client(Rc<str>, Timer),
    /// The application left this request without any response.
    Silence(Rc<str>),
    /// Requests held back for this dialog may go on.
    Hold(Rc<str>),
    /// A branch of a forwarded request.
    Proxy(Rc<str>, usize, crate::proxy::Timer),
    /// Nobody may have come for this request whose application is gone.
    Alone(Rc<str>),
    /// This connection of an application should have authenticated.
    Unauthenticated(u64),
    /// Nobody finished this remotely ended dialog.
    Ended(Rc<str>),
    /// A cancelled INVITE got no final response.
    Cancelled(Rc<str>),
    /// The application is to hear of a CANCEL accepted before a takeover.
    CancelAgain(Rc<str>),
    /// A reliable provisional response, by its RSeq, got no PRACK.
    Reliable(Rc<str>, u32),
    /// The session timer of a dialog may be due; the number tells stale alarms apart.
    Session(Rc<str>, u64),
    /// The subscription of a dialog that expires then, Unix milliseconds.
    Subscription(Rc<str>, u64),
    /// A request other than INVITE has waited so long that a 100 is due.
    Slow(Rc<str>),
    /// An INVITE of before a takeover is to be sent again.
    Launch(Rc<str>),
    /// More devices are to be asked.
    Qualify,
    /// New bans are to be stored.
    Bans,
    /// The server of this branch of an INVITE says nothing.
    NextTarget(Rc<str>, String),
}

/// All deadlines in order.
#[derive(Default)]
pub struct Timers {
    alarms: BTreeMap<(u64, u64), Alarm>,
    count: u64,
}

impl Timers {
    /// Wakes `alarm` at `at_ms` of the engine's clock.
    pub fn arm(&mut self, at_ms: u64, alarm: Alarm) {
        self.count += 1;
        self.alarms.insert((at_ms, self.count), alarm);
    }

    /// The next deadline.
    pub fn next_ms(&self) -> Option<u64> {
        self.alarms.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Takes one alarm that is due.
    pub fn due(&mut self, now_ms: u64) -> Option<Alarm> {
        let first = self.alarms.first_entry()?;
        (first.key().0 <= now_ms).then(|| first.remove())
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.alarms.clear();
    }
}
