//! The end of a dialog, from either side.
use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::call_records::{Source, stop_reason};
use super::commits::Then;
use super::flow::Flow;
use super::sending::Ticket;
use super::timers::Alarm;
use super::{Core, Id};
use crate::drachtio::format;
use crate::durable::{End, dialog_key};
use crate::journal::JournalOp;
use crate::limits::ENDED_DIALOG_MS;
use crate::message::{Essentials, Message};

impl Core {
    /// A BYE of the peer: "ended" is committed before it is answered.
    pub(super) fn bye_received(
        &mut self,
        dialog: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let server = self.add_server(message, essentials, flow, None, Some(dialog.clone()));
        let at_ms = self.now.wall_ms();
        let Some(bye) = self.servers.get(&server).map(|s| s.request.to_vec()) else {
            return;
        };
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        tracing::info!(callId = live.call(), peer = %flow.remote, "BYE");
        if !live.confirmed {
            self.deliver_when_ready(dialog, server);
            return;
        }
        let (bye, transaction_id) = (ByteBuf::from(bye), server.to_string());
        live.record.end = Some(End::Remote {
            bye,
            flow,
            transaction_id,
            at_ms,
        });
        let op = live.op();
        let early = self.hears_early(dialog);
        if early {
            self.early.begin(server.clone());
        }
        self.commit(
            vec![op],
            Then::ByeStored {
                server: server.clone(),
                dialog: dialog.clone(),
            },
        );
        if early && self.servers.contains_key(&server) {
            self.deliver_when_ready(dialog, server);
        }
    }

    /// The peer's BYE is safe: the application's 200 may go out.
    pub(super) fn bye_stored(&mut self, server: Id, dialog: &Id) {
        let bye = self
            .servers
            .get(&server)
            .map(|server| server.request.clone());
        self.record_stop(Source::Network, "normal-release", &bye.unwrap_or_default());
        self.timers.arm(
            self.now.mono_ms + ENDED_DIALOG_MS,
            Alarm::Ended(dialog.clone()),
        );
        if self.early.has(&server) {
            self.end_early(&server);
        } else {
            self.deliver_when_ready(dialog, server);
        }
    }

    /// The peer's BYE could not be stored: it will come again.
    pub(super) fn bye_not_stored(&mut self, dialog: &Id) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.record.end = None;
        }
    }

    /// Nobody deleted the record of a remotely ended dialog.
    pub(super) fn ended(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        if matches!(live.record.end, Some(End::Remote { .. })) {
            self.forget_dialog(id);
        }
    }

    /// Deletes the record and the live dialog.
    pub(super) fn forget_dialog(&mut self, id: &Id) {
        if self.outlives_call(id) {
            return;
        }
        self.drop_dialog(id);
        self.commit(
            vec![JournalOp::Delete {
                key: dialog_key(id),
            }],
            Then::Nothing,
        );
    }

    /// Commits that we end a dialog; `unsolicited` tells the application why.
    pub(super) fn store_local_bye(
        &mut self,
        dialog: &Id,
        client: &Id,
        ticket: Option<Ticket>,
        unsolicited: Option<&'static str>,
    ) {
        let Some(bye) = self.clients.get(client) else {
            return;
        };
        let (flow, bye) = (bye.flow, ByteBuf::from(bye.request.to_vec()));
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        let transaction_id = client.to_string();
        live.record.end = Some(End::Local {
            bye,
            flow,
            transaction_id,
        });
        let op = live.op();
        let (client, dialog) = (client.clone(), dialog.clone());
        self.commit(
            vec![op],
            Then::ByeReady {
                client,
                dialog,
                ticket,
                unsolicited,
            },
        );
    }

    /// Our BYE is safe: send it.
    pub(super) fn bye_ready(
        &mut self,
        client: &Id,
        dialog: &Id,
        ticket: Option<Ticket>,
        unsolicited: Option<&'static str>,
    ) {
        self.launch(client);
        let Some(request) = self.clients.get(client).map(|c| c.request.clone()) else {
            return;
        };
        if let Some(ticket) = &ticket
            && let Some(flow) = self.clients.get(client).map(|c| c.flow)
        {
            self.echo_request(ticket, &request, &flow, client);
        }
        self.record_stop(Source::Application, stop_reason(unsolicited), &request);
        if unsolicited.is_some() {
            self.tell_unsolicited(dialog, &request);
        }
    }

    fn tell_unsolicited(&mut self, dialog: &Id, bye: &Bytes) {
        let Some(live) = self.dialogs.get(dialog) else {
            return;
        };
        let flow = live.record.flow;
        let Some(app) = self.app_of_dialog(dialog, "BYE") else {
            return;
        };
        let (id, wall_us) = (self.ids.uuid(), self.now.wall_us);
        let ids = ("unsolicited", &**dialog);
        let frame = format::in_dialog(&id, "application", bye, &flow, wall_us, ids);
        self.tell(app, frame);
    }

    /// The engine ends a dialog on its own.
    pub(super) fn hang_up(&mut self, id: &Id, why: &'static str) {
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        if live.record.end.is_some() {
            return;
        }
        tracing::warn!(callId = live.call(), why, "ending a dialog");
        live.record.dialog.local_seq += 1;
        let flow = live.destination();
        let branch = self.ids.branch();
        let via = self.via(&flow, &branch);
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        let dialog = &live.record.dialog;
        let mut writer = dialog.write("BYE", &dialog.target, dialog.local_seq, &via);
        writer.named("Reason", &format!("SIP ;cause=200 ;text=\"{why}\""));
        let bytes = Bytes::from(writer.finish(b""));
        let client = self.add_own_client("BYE", branch, flow, bytes, Some(id));
        self.store_local_bye(id, &client, None, Some(why));
    }

    /// Our BYE got its final response, or none: either way the dialog is over, unless the
    /// peer wants to know who asks.
    pub(super) fn bye_done(&mut self, dialog: &Id, status: u16) {
        if matches!(status, 401 | 407) {
            if let Some(live) = self.dialogs.get_mut(dialog) {
                live.record.end = None;
                let op = live.op();
                self.commit(vec![op], Then::Nothing);
            }
            return;
        }
        self.forget_dialog(dialog);
    }
}
