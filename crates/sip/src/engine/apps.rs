//! Applications: authentication, routes, and who gets what.
use std::collections::{BTreeMap, BTreeSet};

use super::metrics::Metrics;
use super::sending::Ticket;
use super::{AppId, Core, Output};
use crate::drachtio::command::{Command, Kind};
use crate::drachtio::format::VERSION;

#[derive(Debug, Default)]
struct App {
    authenticated: bool,
    routes: BTreeSet<String>,
}

/// All connections with applications.
#[derive(Debug, Default)]
pub(super) struct Apps {
    all: BTreeMap<AppId, App>,
    turn: AppId,
}

impl Apps {
    pub fn is_connected(&self, app: AppId) -> bool {
        self.all.contains_key(&app)
    }

    pub fn authenticated_count(&self) -> usize {
        self.all.values().filter(|app| app.authenticated).count()
    }

    /// Whether anybody takes new requests of this verb.
    pub fn has_route(&self, verb: &str) -> bool {
        self.all
            .values()
            .any(|app| app.authenticated && app.routes.contains(verb))
    }

    /// The next application for a verb, in turn.
    fn in_turn(&mut self, wanted: impl Fn(&App) -> bool) -> Option<AppId> {
        let after = self
            .all
            .range(self.turn + 1..)
            .chain(self.all.range(..=self.turn));
        let mut found = after
            .filter(|(_, app)| app.authenticated && wanted(app))
            .map(|(id, _)| *id);
        self.turn = found.next()?;
        Some(self.turn)
    }

    /// Who gets a request: the one it belongs to, else one that takes such requests, else
    /// one that takes calls, else anybody.
    pub fn owner(&mut self, preferred: Option<AppId>, method: &str) -> Option<AppId> {
        if let Some(app) = preferred.filter(|app| self.is_connected(*app)) {
            return Some(app);
        }
        let verb = method.to_ascii_lowercase();
        self.in_turn(|app| app.routes.contains(&verb))
            .or_else(|| self.in_turn(|app| app.routes.contains("invite")))
            .or_else(|| self.in_turn(|_| true))
    }
}

impl Core {
    pub(super) fn app_connected(&mut self, app: AppId) {
        self.apps.all.insert(app, App::default());
    }

    /// What belonged to a lost connection goes to another one, or waits for one.
    pub(super) fn app_closed(&mut self, app: AppId) {
        if self.apps.all.remove(&app).is_none() {
            return;
        }
        tracing::info!(app, "an application disconnected");
        self.abandon(app);
        self.redeliver();
    }

    pub(super) fn app_frame(&mut self, app: AppId, payload: &str) {
        let Some(state) = self.apps.all.get_mut(&app) else {
            return;
        };
        let authenticated = state.authenticated;
        let Some(command) = Command::parse(payload) else {
            self.close_app(app);
            return;
        };
        let ticket = Ticket {
            app,
            id: command.id.to_owned(),
        };
        match command.kind {
            Kind::Authenticate { secret } => self.authenticate_app(&ticket, secret),
            _ if !authenticated => {
                self.answer(&ticket, "NO|not authenticated");
                self.close_app(app);
            }
            Kind::Route { verb } => {
                state.routes.insert(verb.to_ascii_lowercase());
                self.answer(&ticket, "OK");
                self.redeliver();
            }
            Kind::RemoveRoute { verb } => {
                if state.routes.remove(&verb.to_ascii_lowercase()) {
                    self.answer(&ticket, "OK");
                } else {
                    self.answer(&ticket, "NO|no such route");
                    self.close_app(app);
                }
            }
            Kind::Ping => self.answer(&ticket, "OK|pong"),
            Kind::Proxy => self.fail(&ticket, "proxy is not offered"),
            Kind::Unknown => {
                self.answer(&ticket, "NO|Unknown message type");
                self.close_app(app);
            }
            Kind::Sip(_) if !self.leading => self.fail(&ticket, "this server does not lead"),
            Kind::Sip(sip) => self.sip_command(ticket, &sip),
        }
    }

    fn authenticate_app(&mut self, ticket: &Ticket, secret: &str) {
        let known = self.setup.secret.as_bytes();
        let same = known.len() == secret.len()
            && known
                .iter()
                .zip(secret.bytes())
                .fold(0, |acc, (a, b)| acc | (a ^ b))
                == 0;
        if !same {
            Metrics::count(&self.setup.metrics.rejected_credentials);
            tracing::warn!(app = ticket.app, "an application presented a wrong secret");
            self.answer(ticket, "NO|incorrect secret");
            self.close_app(ticket.app);
            return;
        }
        if let Some(app) = self.apps.all.get_mut(&ticket.app) {
            app.authenticated = true;
        }
        let places: Vec<String> = self.setup.listen.iter().map(ToString::to_string).collect();
        let places = places.join(",");
        self.answer(ticket, &format!("OK|{places}|{VERSION}|{places}"));
    }

    fn close_app(&mut self, app: AppId) {
        self.out.push(Output::CloseApp { app });
        self.app_closed(app);
    }
}
