//! What is done when a commit comes back: the only place that sends what it was waiting for.
use bytes::Bytes;

use super::answers::Answer;
use super::client::Cancel;
use super::flow::Flow;
use super::metrics::Metrics;
use super::reliable::Provisionally;
use super::responses::Decision;
use super::sending::Ticket;
use super::server::Stage;
use super::{Core, Id};
use crate::journal::JournalError;

/// What waits for a commit.
#[derive(Debug)]
pub(super) enum Then {
    /// A REGISTER's 200.
    Registered {
        user: String,
        reply: Flow,
        response: Bytes,
    },
    /// An INVITE of the network: 100, and to the application.
    InviteStored { id: Id },
    /// A CANCEL of the network: 200, 487, and to the application.
    Cancelled {
        id: Id,
        reply: Flow,
        ok: Bytes,
        cancel: Bytes,
    },
    /// A final response of the application to an INVITE.
    Answered(Answer),
    /// A 2xx of the application to an UPDATE.
    Updated(Answer),
    /// A 2xx of the application to a SUBSCRIBE or REFER.
    Subscribed(Answer),
    /// An INVITE of the application, or of the engine.
    InviteReady { id: Id, ticket: Option<Ticket> },
    /// The same INVITE for the next server; the ACK to the refusal of the one before.
    Moved { id: Id, ack: Option<(Flow, Bytes)> },
    /// A CANCEL of the application.
    Cancelling { id: Id, ticket: Option<Ticket> },
    /// A final response of the network to an INVITE.
    Decided(Decision),
    /// A dialog whose 2xx the application knows of already: its ACK.
    DialogStored { dialog: Id },
    /// A BYE of the network.
    ByeStored { server: Id, dialog: Id },
    /// A BYE of ours.
    ByeReady {
        client: Id,
        dialog: Id,
        ticket: Option<Ticket>,
        unsolicited: Option<&'static str>,
    },
    /// What the machine of a forwarded INVITE wants done.
    Proxied {
        id: Id,
        effects: Vec<crate::proxy::Effect>,
        decided: Option<(Id, u16)>,
    },
    /// A reliable provisional response.
    ProvisionalStored {
        id: Id,
        rseq: u32,
        one: Provisionally,
    },
    /// A PRACK of the network for the INVITE `id`.
    PrackStored { id: Id, prack: Id, dialog: Id },
    /// Nobody waits.
    Nothing,
}

impl Core {
    pub(super) fn committed(&mut self, token: u64, result: Result<(), JournalError>) {
        let Some((then, since)) = self.commits.remove(&token) else {
            return;
        };
        if let Err(error) = result {
            Metrics::count(&self.setup.metrics.commits_failed);
            tracing::warn!(%error, "a commit failed");
            self.commit_failed(then, &error);
            return;
        }
        let us = self.now.us_since(since);
        if !matches!(then, Then::Nothing) {
            self.setup.metrics.timings.committed(us);
        }
        match then {
            Then::Registered {
                user,
                reply,
                response,
            } => {
                // It waited for nothing else.
                self.setup.metrics.timings.answered("REGISTER", us);
                self.speculations.settle(&user, false);
                self.setup.metrics.sent_response(200);
                self.send(reply, response);
            }
            Then::InviteStored { id } => self.invite_stored(&id),
            Then::Cancelled {
                id,
                reply,
                ok,
                cancel,
            } => self.cancelled(&id, reply, ok, &cancel),
            Then::Answered(answer) => self.answered(answer),
            Then::InviteReady { id, ticket } => match ticket {
                Some(ticket) => self.launch_and_echo(&id, &ticket),
                None => self.launch(&id),
            },
            Then::Updated(answer) => self.updated(answer),
            Then::Subscribed(answer) => self.subscribed(answer),
            Then::Moved { id, ack } => self.moved(&id, ack),
            Then::Cancelling { id, ticket } => self.cancelling(&id, ticket),
            Then::Decided(decision) => self.decided(decision),
            Then::DialogStored { dialog } => self.end_early(&dialog),
            Then::ByeStored { server, dialog } => self.bye_stored(server, &dialog),
            Then::ByeReady {
                client,
                dialog,
                ticket,
                unsolicited,
            } => {
                self.bye_ready(&client, &dialog, ticket, unsolicited);
            }
            Then::Proxied {
                id,
                effects,
                decided,
            } => self.perform_proxy(&id, effects, decided),
            Then::ProvisionalStored { id, rseq, one } => self.provisional_stored(&id, rseq, one),
            Then::PrackStored { id, prack, dialog } => self.prack_stored(&id, prack, &dialog),
            Then::Nothing => {}
        }
    }

    /// Takes back what was prepared: senders that repeat themselves get nothing, the
    /// application gets NOK.
    pub(super) fn commit_failed(&mut self, then: Then, error: &JournalError) {
        match then {
            Then::Registered {
                user,
                reply,
                response,
            } => {
                self.register_failed(&user, reply, &response, error);
            }
            Then::InviteStored { id } => {
                self.unstore_server(&id);
                self.take_back(&id, error);
                self.respond_to_failure(&id, error);
            }
            Then::Cancelled { id, .. } => {
                if let Some(server) = self.servers.get_mut(&id) {
                    server.cancelled = false;
                }
            }
            Then::Answered(answer) | Then::Updated(answer) | Then::Subscribed(answer) => {
                if let Some(server) = self.servers.get_mut(&answer.server) {
                    server.stage = Stage::Open;
                }
                self.fail_ticket(answer.ticket, error);
            }
            Then::InviteReady { id, ticket } => self.invite_not_stored(&id, ticket, error),
            Then::Moved { id, .. } => self.give_up(&id),
            Then::Cancelling { id, ticket } => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.cancel = Cancel::No;
                }
                self.fail_ticket(ticket, error);
            }
            Then::Decided(decision) => {
                if let Some(client) = self.clients.get_mut(&decision.client) {
                    client.deciding = false;
                }
            }
            Then::DialogStored { dialog } => self.dialog_not_stored(&dialog),
            Then::ByeStored { server, dialog } => {
                self.bye_not_stored(&dialog);
                self.fail_early(&server, error);
                self.respond_to_failure(&server, error);
            }
            Then::ByeReady {
                client,
                dialog,
                ticket,
                ..
            } => {
                self.bye_not_stored(&dialog);
                self.forget_client(&client);
                self.fail_ticket(ticket, error);
            }
            Then::Proxied { id, decided, .. } => self.proxy_not_stored(&id, decided, error),
            Then::ProvisionalStored { id, one, .. } => {
                self.provisional_not_stored(&id);
                self.fail_ticket(one.ticket, error);
            }
            Then::PrackStored { id, prack, .. } => {
                self.prack_not_stored(&id);
                self.respond_to_failure(&prack, error);
            }
            Then::Nothing => {}
        }
    }

    fn invite_not_stored(&mut self, id: &Id, ticket: Option<Ticket>, error: &JournalError) {
        if let Some(client) = self.clients.get_mut(id) {
            client.stored = false;
        }
        self.forget_client(id);
        self.fail_ticket(ticket, error);
    }

    fn unstore_server(&mut self, id: &Id) {
        if let Some(server) = self.servers.get_mut(id) {
            server.stored = false;
        }
    }

    fn fail_ticket(&mut self, ticket: Option<Ticket>, error: &JournalError) {
        if let Some(ticket) = ticket {
            self.fail(&ticket, &error.to_string());
        }
    }

    /// Applications always get an answer, also when this node stops leading.
    pub(super) fn fail_commits(&mut self) {
        self.fail_all_early();
        for (then, _) in std::mem::take(&mut self.commits).into_values() {
            let ticket = match then {
                Then::Answered(answer) | Then::Updated(answer) | Then::Subscribed(answer) => {
                    answer.ticket
                }
                Then::InviteReady { ticket, .. }
                | Then::Cancelling { ticket, .. }
                | Then::ByeReady { ticket, .. } => ticket,
                Then::ProvisionalStored { one, .. } => one.ticket,
                _ => None,
            };
            self.fail_ticket(ticket, &JournalError::NotLeader);
        }
    }
}
