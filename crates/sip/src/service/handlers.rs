//! Web servers that are asked about requests, and applications the engine connects to.
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::applications::{prepare, serve};
use super::shell::Shared;
use crate::config::HandlerMethod;
use crate::engine::handlers::{Place, QUESTION_MS, Question};
use crate::engine::{AppId, Input};
use crate::limits::{HANDLER_ANSWER_BYTES_MAX, HANDLERS_ASKED_MAX};
use crate::transport::tls::{Tls, Wire};

/// How long a connection to an application may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const QUESTION_TIMEOUT: Duration = Duration::from_millis(QUESTION_MS);

/// Asks and connects as the core says, for ever.
pub(super) async fn errands(shared: Shared) {
    let wake = shared.borrow().handlers.clone();
    let client = {
        let tls = shared.borrow().tls.clone();
        Rc::new(client(tls.as_deref()))
    };
    let places = Rc::new(Semaphore::new(HANDLERS_ASKED_MAX));
    loop {
        let (questions, dials) = {
            let mut shell = shared.borrow_mut();
            (
                std::mem::take(&mut shell.questions),
                std::mem::take(&mut shell.dials),
            )
        };
        for (token, question) in questions {
            let (shared, client) = (shared.clone(), client.clone());
            let places = places.clone();
            spawn_local(async move {
                let asked = async {
                    let _place = places.acquire().await.ok()?;
                    let client = (*client).clone();
                    let asked = spawn_blocking(move || ask(&client, &question)).await;
                    asked.ok().flatten()
                };
                // The wait for a place counts.
                let answer = timeout(QUESTION_TIMEOUT, asked).await.ok().flatten();
                let answer = answer.as_deref();
                shared
                    .borrow_mut()
                    .turn(Input::HandlerAnswered { token, answer });
            });
        }
        for (app, place) in dials {
            spawn_local(dial(shared.clone(), app, place));
        }
        wake.notified().await;
    }
}

/// Believes the authority of `sip.tls` when there is one, else those known to the public.
fn client(tls: Option<&Tls>) -> ureq::Agent {
    let mut trust = TlsConfig::builder();
    if let Some(authority) = tls.and_then(Tls::authority) {
        let known = authority
            .iter()
            .map(|one| Certificate::from_der(one).to_owned());
        trust = trust.root_certs(RootCerts::new_with_certs(&known.collect::<Vec<_>>()));
    }
    ureq::Agent::config_builder()
        .timeout_global(Some(QUESTION_TIMEOUT))
        .max_redirects(3)
        .tls_config(trust.build())
        .build()
        .into()
}

/// The body of a 200.
fn ask(client: &ureq::Agent, question: &Question) -> Option<String> {
    let url = &question.url;
    let query = question
        .query
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = match question.method {
        HandlerMethod::Get => client.get(url).query_pairs(query).call(),
        HandlerMethod::Post => client
            .post(url)
            .query_pairs(query)
            .content_type("text/plain")
            .send(question.body.as_str()),
    };
    let mut answer = match answer {
        Ok(answer) if answer.status() == 200 => answer,
        Ok(answer) => {
            tracing::warn!(url, status = %answer.status(), "a request handler refused");
            return None;
        }
        Err(error) => {
            tracing::warn!(url, %error, "a request handler cannot be asked");
            return None;
        }
    };
    let body = answer
        .body_mut()
        .with_config()
        .limit(HANDLER_ANSWER_BYTES_MAX);
    body.read_to_string().ok()
}

async fn dial(shared: Shared, app: AppId, place: Place) {
    let tls = shared.borrow().tls.clone();
    match timeout(CONNECT_TIMEOUT, connect(app, &place, tls)).await {
        Ok(Ok(wire)) => return serve(shared, wire, app).await,
        Ok(Err(error)) => {
            tracing::warn!(host = %place.host, port = place.port, %error, "cannot connect");
        }
        Err(_) => {
            tracing::warn!(host = %place.host, port = place.port, "cannot connect in time");
        }
    }
    shared.borrow_mut().turn(Input::AppUnreachable { app });
}

async fn connect(app: AppId, place: &Place, tls: Option<Arc<Tls>>) -> io::Result<Box<dyn Wire>> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    prepare(&stream, app);
    if !place.secure {
        return Ok(Box::new(stream));
    }
    let tls = tls.ok_or_else(|| io::Error::other("TLS needs a certificate: set sip.tls"))?;
    let address = stream.peer_addr()?.ip();
    // An address in place of a name is what the certificate must show then.
    let name = (place.host.parse::<IpAddr>().is_err()).then_some(place.host.as_str());
    tls.connect(stream, name, address).await
}
