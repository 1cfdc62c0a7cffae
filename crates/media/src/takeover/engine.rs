//! What the owner of an engine may ask of it about sessions and addresses that move.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Held, SessionState};
use crate::ng::Refusal;
use crate::{Core, MediaEngine, MediaError};

impl From<Refusal> for MediaError {
    fn from(refusal: Refusal) -> MediaError {
        MediaError::Refused(refusal.reason)
    }
}

impl Core {
    /// Goes on with a call that another engine has written down.
    pub(crate) fn restore(&self, state: &str) -> Result<Arc<str>, Refusal> {
        let mut state = SessionState::parse(state)?;
        // Files are read before calls are locked.
        state.load(&self.clips);
        self.control.lock().restore(state)
    }

    /// A floating address comes here.
    pub(crate) fn activate(&self, address: IpAddr) -> Result<(), Refusal> {
        self.addresses.take(address)?;
        self.control.lock().open(address, true);
        Ok(())
    }

    /// A floating address goes; true when it was here.
    pub(crate) fn deactivate(&self, address: IpAddr) -> bool {
        self.control.lock().open(address, false);
        self.addresses.drop(address)
    }
}

impl MediaEngine {
    /// Writes a call down for another engine; secret, to be kept as keys are.
    ///
    /// # Errors
    /// There is no such call, or it cannot move.
    pub fn snapshot(&self, call_id: &str) -> Result<String, MediaError> {
        let written = self.core.control.lock().snapshot(call_id);
        written.map_err(MediaError::from)
    }

    /// Goes on with a call that another engine has written down: armed, and silent until its
    /// addresses are here.
    ///
    /// # Errors
    /// It is no such call, or it cannot be here.
    pub fn restore(&self, state: &str) -> Result<(), MediaError> {
        let restored = self.core.restore(state);
        restored.map(drop).map_err(MediaError::from)
    }

    /// Brings a floating address here: whoever commands it knows that it is nowhere else.
    ///
    /// # Errors
    /// The configuration does not name it, or the kernel refuses it.
    pub fn activate(&self, address: IpAddr) -> Result<(), MediaError> {
        self.core.activate(address).map_err(MediaError::from)
    }

    /// Lets a floating address go; returns when it is gone, false when it was not here.
    pub fn deactivate(&self, address: IpAddr) -> bool {
        self.core.deactivate(address)
    }

    /// Floating addresses that are here.
    pub fn held(&self) -> Vec<Held> {
        let held = self.core.addresses.held();
        let control = self.core.control.lock();
        let counted = held.into_iter().map(|address| Held {
            address,
            calls: control.calls_at(address),
        });
        counted.collect()
    }
}
