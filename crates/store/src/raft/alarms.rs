//! What needs a person's eyes, by code.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::status::Alarm;

/// The alarms of this node; each code at most once.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: RwLock<BTreeMap<&'static str, Alarm>>,
}

impl Alarms {
    /// Raises an alarm (text and fix) or takes it back; a change of state is logged once.
    pub fn put(&self, code: &'static str, alarm: Option<(String, String)>) {
        let raised = self.raised.read().contains_key(code);
        match alarm {
            None if raised => {
                self.raised.write().remove(code);
                tracing::info!(code, "an alarm is over");
            }
            None => {}
            Some((text, fix)) => {
                if !raised {
                    tracing::error!(code, fix, "{text}");
                }
                let alarm = Alarm { code, text, fix };
                self.raised.write().insert(code, alarm);
            }
        }
    }

    /// All of them.
    pub fn list(&self) -> Vec<Alarm> {
        self.raised.read().values().cloned().collect()
    }
}
