//! Applications: authentication, tags, routes, and who gets what.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::metrics::Metrics;
use super::sending::Ticket;
use super::timers::Alarm;
use super::{AppId, Core, Id, Output};
use crate::drachtio::command::{Command, Kind, SipCommand};
use crate::drachtio::format::VERSION;
use crate::limits::{AUTHENTICATE_MS, ROUTES_MAX, TAG_CHARS_MAX, TAGS_MAX};

/// What an application is and takes: who may stand in for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Home {
    /// Names it gave itself when it authenticated.
    pub tags: BTreeSet<String>,
    /// Lower-case methods and call records it asked for.
    pub routes: BTreeSet<String>,
}

/// One connection with an application.
#[derive(Debug, Default)]
pub(super) struct App {
    pub authenticated: bool,
    pub home: Home,
    /// Frames told so far.
    pub told: u64,
    /// The last frame it is known to have handled.
    pub handled: u64,
    /// Dialogs whose requests wait until it has handled something.
    pub waiting: Vec<Id>,
}

/// All connections with applications.
#[derive(Debug, Default)]
pub(super) struct Apps {
    pub all: BTreeMap<AppId, App>,
    /// One of them has had a call forwarded, since this process began.
    pub forwards_calls: bool,
    /// Per verb, who had the last turn.
    turns: HashMap<String, AppId>,
}

impl Apps {
    pub fn is_connected(&self, app: AppId) -> bool {
        self.all.contains_key(&app)
    }

    pub fn authenticated_count(&self) -> usize {
        self.all.values().filter(|app| app.authenticated).count()
    }

    /// What goes into the record of a dialog of this application.
    pub fn tags(&self, app: Option<AppId>) -> Vec<String> {
        let app = app.and_then(|app| self.all.get(&app));
        app.map_or_else(Vec::new, |app| app.home.tags.iter().cloned().collect())
    }

    /// Whether anybody takes new requests of this verb.
    pub fn has_route(&self, verb: &str) -> bool {
        self.all
            .values()
            .any(|app| app.authenticated && app.home.routes.contains(verb))
    }

    /// The next application for a verb, in turn.
    fn in_turn(&mut self, verb: &str, wanted: impl Fn(&App) -> bool) -> Option<AppId> {
        let last = self.turns.get(verb).copied().unwrap_or(0);
        let after = self.all.range(last + 1..).chain(self.all.range(..=last));
        let mut found = after
            .filter(|(_, app)| app.authenticated && wanted(app))
            .map(|(id, _)| *id);
        let app = found.next()?;
        match self.turns.get_mut(verb) {
            Some(turn) => *turn = app,
            None => {
                self.turns.insert(verb.to_owned(), app);
            }
        }
        Some(app)
    }

    /// Who gets a new request: one that routes the verb, with the tag if one is asked for.
    pub fn for_request(&mut self, verb: &str, tag: Option<&str>) -> Option<AppId> {
        self.in_turn(verb, |app| {
            app.home.routes.contains(verb) && tag.is_none_or(|tag| app.home.tags.contains(tag))
        })
    }

    /// Who takes over a dialog: an application with one of the tags of the one that is gone,
    /// without tags one that routes the same verbs. Of a dialog of before a takeover the tags
    /// are known and nothing else: without any, one that routes the verb, or calls, or anything.
    pub fn adopter(&mut self, home: Option<&Home>, verb: &str) -> Option<AppId> {
        match home {
            Some(home) if !home.tags.is_empty() => {
                self.in_turn(verb, |app| !app.home.tags.is_disjoint(&home.tags))
            }
            Some(home) => self.in_turn(verb, |app| app.home.routes.is_superset(&home.routes)),
            None => self
                .in_turn(verb, |app| app.home.routes.contains(verb))
                .or_else(|| self.in_turn(verb, |app| app.home.routes.contains("invite")))
                .or_else(|| self.in_turn(verb, |_| true)),
        }
    }
}

impl Core {
    pub(super) fn app_connected(&mut self, app: AppId) {
        self.apps.all.insert(app, App::default());
        let at_ms = self.now.mono_ms + AUTHENTICATE_MS;
        self.timers.arm(at_ms, Alarm::Unauthenticated(app));
    }

    /// A connection that never authenticated only takes the place of another.
    pub(super) fn unauthenticated(&mut self, app: AppId) {
        if self
            .apps
            .all
            .get(&app)
            .is_some_and(|app| !app.authenticated)
        {
            tracing::warn!(app, "an application did not authenticate in time");
            self.close_app(app);
        }
    }

    /// What belonged to a lost connection goes to another one, or waits for one.
    pub(super) fn app_closed(&mut self, app: AppId) {
        self.not_reached(app);
        let Some(state) = self.apps.all.remove(&app) else {
            return;
        };
        tracing::info!(app, "an application disconnected");
        self.abandon(app, &Rc::new(state.home));
        self.redeliver();
    }

    pub(super) fn app_frame(&mut self, app: AppId, payload: &str) {
        let Some(state) = self.apps.all.get_mut(&app) else {
            return;
        };
        let authenticated = state.authenticated;
        let Some(command) = Command::parse(payload) else {
            let id = payload.split(['|', '\r']).next().unwrap_or_default();
            let id = id.to_owned();
            self.refuse_app(&Ticket { app, id }, "Invalid message format");
            return;
        };
        let ticket = Ticket {
            app,
            id: command.id.to_owned(),
        };
        match command.kind {
            Kind::Authenticate { secret, tags } => self.authenticate_app(&ticket, secret, tags),
            _ if !authenticated => self.refuse_app(&ticket, "not authenticated"),
            Kind::Route { verb } => self.add_route(&ticket, &verb.to_ascii_lowercase()),
            Kind::RemoveRoute { verb } => {
                if state.home.routes.remove(&verb.to_ascii_lowercase()) {
                    self.answer(&ticket, "OK");
                } else {
                    self.refuse_app(&ticket, "no such route");
                }
            }
            Kind::Ping => self.answer(&ticket, "OK|pong"),
            Kind::Invalid(reason) => self.refuse_app(&ticket, reason),
            Kind::Proxy(_) | Kind::Sip(_) if !self.leading => {
                self.fail(&ticket, "this server does not lead");
            }
            _ if self.waits(app, &command, payload) => {}
            Kind::Proxy(proxy) => self.proxy_command(ticket, &proxy),
            Kind::Sip(sip) => {
                let message = &self.veil_body(sip.message);
                self.sip_command(ticket, &SipCommand { message, ..sip });
            }
        }
    }

    fn add_route(&mut self, ticket: &Ticket, verb: &str) {
        if !is_verb(verb) {
            self.refuse_app(ticket, "Route request includes unsupported verb");
            return;
        }
        let Some(state) = self.apps.all.get_mut(&ticket.app) else {
            return;
        };
        if state.home.routes.len() >= ROUTES_MAX {
            Metrics::count(&self.setup.metrics.refused);
            self.refuse_app(ticket, "too many routes");
            return;
        }
        state.home.routes.insert(verb.to_owned());
        self.answer(ticket, "OK");
        self.redeliver();
    }

    fn authenticate_app(&mut self, ticket: &Ticket, secret: &str, tags: &str) {
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
            self.refuse_app(ticket, "incorrect secret");
            return;
        }
        let tags: BTreeSet<String> = tags
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect();
        let long = |tag: &String| tag.chars().count() > TAG_CHARS_MAX;
        if tags.len() > TAGS_MAX || tags.iter().any(long) {
            self.refuse_app(ticket, "at most 20 tags of 32 characters");
            return;
        }
        let Some(app) = self.apps.all.get_mut(&ticket.app) else {
            return;
        };
        app.authenticated = true;
        app.home.tags = tags;
        let is_known = !app.home.tags.is_empty();
        let places: Vec<String> = self.setup.listen.iter().map(ToString::to_string).collect();
        let places = places.join(",");
        self.answer(ticket, &format!("OK|{places}|{VERSION}|{places}"));
        self.reached(ticket.app);
        // Without tags its routes tell what it is, and they come next.
        if is_known {
            self.redeliver();
        }
    }

    /// Answers `NO` and closes: the application speaks another protocol, or is not ours.
    pub(super) fn refuse_app(&mut self, ticket: &Ticket, reason: &str) {
        self.answer(ticket, &format!("NO|{reason}"));
        self.close_app(ticket.app);
    }

    pub(super) fn close_app(&mut self, app: AppId) {
        self.out.push(Output::CloseApp { app });
        self.app_closed(app);
    }
}

/// Whether a verb can be routed: a method in lower case, or one of the call records.
fn is_verb(verb: &str) -> bool {
    match verb.strip_prefix("cdr:") {
        Some(record) => matches!(record, "attempt" | "start" | "stop"),
        None => {
            !verb.is_empty()
                && verb.len() <= TAG_CHARS_MAX
                && verb.bytes().all(|byte| byte.is_ascii_lowercase())
        }
    }
}
