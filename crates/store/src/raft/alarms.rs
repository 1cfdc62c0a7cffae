//! What needs a person's eyes: the one list of this node, by code and by whom it is about.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::status::Alarm;

/// The node an alarm is about when that is this node; no node has this id.
const OWN: u64 = 0;

/// The alarms of this node; each code at most once for each node it is about.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: RwLock<BTreeMap<(&'static str, u64), Alarm>>,
}

impl Alarms {
    /// Raises an alarm about this node; it is logged once.
    pub fn raise(&self, code: &'static str, text: impl Into<String>, fix: impl Into<String>) {
        self.raise_about(OWN, code, text, fix);
    }

    /// Raises an alarm about another node.
    pub fn raise_about(
        &self,
        node: u64,
        code: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (text, fix) = (text.into(), fix.into());
        let alarm = Alarm { code, text, fix };
        let previous = self.raised.write().insert((code, node), alarm.clone());
        // A number in the text may change all the time: that is no new alarm.
        if previous.is_none() {
            let Alarm { code, text, fix } = alarm;
            tracing::error!(code, fix, "{text}");
        }
    }

    /// Takes an alarm back.
    pub fn clear(&self, code: &'static str) {
        self.clear_about(OWN, code);
    }

    /// Takes an alarm about another node back.
    pub fn clear_about(&self, node: u64, code: &'static str) {
        let key = (code, node);
        if self.raised.read().contains_key(&key) && self.raised.write().remove(&key).is_some() {
            tracing::info!(code, node, "an alarm is over");
        }
    }

    /// Raises an alarm about this node (text and fix) or takes it back.
    pub fn put(&self, code: &'static str, alarm: Option<(String, String)>) {
        match alarm {
            None => self.clear(code),
            Some((text, fix)) => self.raise(code, text, fix),
        }
    }

    /// Takes back what is about other nodes than these.
    pub fn keep_about(&self, is_member: impl Fn(u64) -> bool) {
        self.raised
            .write()
            .retain(|(_, node), _| *node == OWN || is_member(*node));
    }

    /// All of them, in the order of their codes.
    pub fn list(&self) -> Vec<Alarm> {
        self.raised.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(alarms: &Alarms) -> Vec<&'static str> {
        alarms.list().iter().map(|alarm| alarm.code).collect()
    }

    #[test]
    fn an_alarm_is_in_the_list_until_it_is_taken_back() {
        let alarms = Alarms::default();
        alarms.raise("B", "text", "fix");
        alarms.raise("A", "text", "fix");
        alarms.raise("A", "another text", "fix");
        assert_eq!(codes(&alarms), ["A", "B"]);
        assert_eq!(alarms.list()[0].text, "another text");
        alarms.put("A", None);
        alarms.clear("A");
        assert_eq!(codes(&alarms), ["B"]);
    }

    #[test]
    fn alarms_about_two_nodes_stand_beside_each_other_and_end_with_their_membership() {
        let alarms = Alarms::default();
        for node in [2, 3] {
            alarms.raise_about(node, "A", "text", "fix");
        }
        alarms.raise("B", "text", "fix");
        assert_eq!(codes(&alarms), ["A", "A", "B"]);
        alarms.keep_about(|node| node == 3);
        assert_eq!(codes(&alarms), ["A", "B"]);
        alarms.clear_about(3, "A");
        assert_eq!(codes(&alarms), ["B"]);
    }
}
