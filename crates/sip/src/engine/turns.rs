//! Whether an application has handled what it was told: an acknowledged event-loop turn.
//!
//! drachtio-srf attaches the listeners of a dialog one turn after it was told of its answer;
//! a BYE in the same read would be lost. An answer of the application to something told
//! later proves that the turn is over. Without such a proof requests wait a moment, and then
//! go behind a frame that is longer than one read: order is kept, and the turn is certain.
use super::apps::Apps;
use super::metrics::Metrics;
use super::timers::Alarm;
use super::{AppId, Core, Id};
use crate::drachtio::format;
use crate::limits::{DIALOG_HOLD_MS, TURN_DOUBT_MS};

/// How an application stands to a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The frame, counted per connection, that must have been handled.
    pub frame: u64,
    /// When it was told, ms.
    pub told_ms: u64,
}

/// Whether a request may be delivered.
enum Readiness {
    Ready,
    /// Not before then, ms.
    Wait(u64),
    /// Behind a separating frame.
    Doubtful,
}

impl Apps {
    /// Counts a frame on its way to an application.
    pub fn count_told(&mut self, app: AppId) -> u64 {
        self.all.get_mut(&app).map_or(0, |state| {
            state.told += 1;
            state.told
        })
    }

    /// The number of the last frame told.
    pub fn told(&self, app: AppId) -> u64 {
        self.all.get(&app).map_or(0, |state| state.told)
    }

    /// The application answered this frame; gives the dialogs that waited for it.
    pub fn handled(&mut self, app: AppId, frame: u64) -> Vec<Id> {
        match self.all.get_mut(&app) {
            Some(state) if frame > state.handled => {
                state.handled = frame;
                std::mem::take(&mut state.waiting)
            }
            _ => Vec::new(),
        }
    }
}

impl Core {
    /// The next frame to the dialog's application must be handled before requests follow.
    pub(super) fn hold(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        let told = live.app.map_or(0, |app| self.apps.told(app));
        live.turn = Some(Turn {
            frame: told + 1,
            told_ms: self.now.mono_ms,
        });
    }

    /// The application answered a frame: requests that waited for that go on.
    pub(super) fn frame_handled(&mut self, app: AppId, frame: u64) {
        for dialog in self.apps.handled(app, frame) {
            self.release_held(&dialog);
        }
    }

    /// The application acknowledged an answer: it knows of the dialog.
    pub(super) fn turn_taken(&mut self, dialog: &Id) {
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        if let (Some(app), Some(turn)) = (live.app, live.turn.take()) {
            self.frame_handled(app, turn.frame);
        }
        self.release_held(dialog);
    }

    fn readiness(&self, dialog: &Id, app: AppId) -> Readiness {
        let Some(turn) = self.dialogs.get(dialog).and_then(|live| live.turn) else {
            return Readiness::Ready;
        };
        let handled = self.apps.all.get(&app).map_or(0, |state| state.handled);
        let age_ms = self.now.mono_ms.saturating_sub(turn.told_ms);
        if handled >= turn.frame || age_ms >= TURN_DOUBT_MS {
            Readiness::Ready
        } else if age_ms < DIALOG_HOLD_MS {
            Readiness::Wait(turn.told_ms + DIALOG_HOLD_MS)
        } else {
            Readiness::Doubtful
        }
    }

    /// Whether a request of a dialog may go to its application now; if not, the dialog is
    /// woken when it may.
    pub(super) fn takes_turn(&mut self, dialog: &Id, app: AppId) -> bool {
        match self.readiness(dialog, app) {
            Readiness::Ready => {}
            Readiness::Wait(at_ms) => {
                self.timers.arm(at_ms, Alarm::Hold(dialog.clone()));
                if let Some(state) = self.apps.all.get_mut(&app)
                    && !state.waiting.contains(dialog)
                {
                    state.waiting.push(dialog.clone());
                }
                return false;
            }
            Readiness::Doubtful => {
                Metrics::count(&self.setup.metrics.turns_forced);
                let frame = format::turn(&self.ids.uuid());
                self.tell(app, frame);
            }
        }
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.turn = None;
        }
        true
    }
}
