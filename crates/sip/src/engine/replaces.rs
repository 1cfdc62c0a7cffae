//! INVITE with Replaces (RFC 3891): the dialog it names must be one of ours, unless applications
//! have calls forwarded, of which nothing is kept. The application reads the header as it is;
//! dialog ids follow from it.
use super::Core;
use super::LiveDialog;
use super::flow::Flow;
use crate::message::{Essentials, Message, Name, Params};
use crate::view::Role;

impl Core {
    /// Whether the INVITE was refused for its Replaces.
    pub(super) fn refuses_replacement(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> bool {
        let mut all = message.all(Name::Replaces);
        let Some(value) = all.next() else {
            return false;
        };
        let status = if all.next().is_some() {
            Some(400)
        } else {
            self.replacement_status(value)
        };
        if let Some(status) = status {
            self.respond(flow, message, essentials, status, &[]);
        }
        status.is_some()
    }

    /// The refusal RFC 3891 section 3 wants; None when the dialog may be replaced.
    fn replacement_status(&self, value: &str) -> Option<u16> {
        let (call_id, params) = value.split_once(';').unwrap_or((value, ""));
        let params = Params(params);
        let (Some(ours), Some(theirs)) = (params.get("to-tag"), params.get("from-tag")) else {
            return Some(400);
        };
        let Some(live) = self.dialog_of(call_id.trim(), ours, theirs) else {
            // A call that is only passed on leaves nothing here to be found: whoever has calls
            // passed on decides, by passing this on to the one who knows it.
            let hiding = &self.setup.topology_hiding;
            let forwards = self.apps.forwards_calls || (hiding.enabled && hiding.call_ids);
            return (!forwards).then_some(481);
        };
        if !live.record.is_call {
            return Some(481);
        }
        if live.record.end.is_some() {
            return Some(603);
        }
        match (live.confirmed, live.record.role) {
            (true, _) if params.get("early-only").is_some() => Some(486),
            // Only the caller may have its early dialog replaced.
            (false, Role::Uas) => Some(481),
            _ => None,
        }
    }

    fn dialog_of(&self, call_id: &str, ours: &str, theirs: &str) -> Option<&LiveDialog> {
        [(theirs, Role::Uas), (ours, Role::Uac)]
            .into_iter()
            .find_map(|(tag, role)| {
                let id = crate::dialog::dialog_id(call_id, tag);
                let live = self.dialogs.get(id.as_str())?;
                let dialog = &live.record.dialog;
                let same = dialog.local_tag == ours && dialog.remote_tag == theirs;
                (same && live.record.role == role).then_some(live)
            })
    }
}
