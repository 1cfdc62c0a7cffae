//! The only crate with `#[napi]`: it carries plain values between TypeScript and the libraries.
//!
//! # Layout
//! - `store`: the replicated store and its watchers
//! - `sip`: the SIP engine, wired to the store
//! - `journal`: what the SIP engine commits, said to the store
//! - `vip`: the virtual address, wired to the store's leadership
//! - `media`: the media engine
//! - `log`: tracing events as batches of lines
//! - `wire`: the bytes of requests and replies
//!
//! No decision is taken here and no default is set here: TypeScript does both.

// A test build registers nothing with Node, so nothing calls the exports.
#![cfg_attr(test, allow(dead_code))]

mod backup;
mod journal;
mod log;
mod media;
mod sip;
mod store;
mod vip;
mod wire;

use std::fmt::Display;

use napi::bindgen_prelude::Status;
use napi::threadsafe_function::{
    ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue,
};
use napi_derive::napi;

/// A JavaScript function that takes batches as JSON text. Weak: it never keeps the process alive.
type Sink = ThreadsafeFunction<String, UnknownReturnValue, String, Status, false, true, 0>;

/// Hands one batch to JavaScript without waiting.
fn deliver(sink: &Sink, batch: &impl serde::Serialize) {
    match serde_json::to_string(batch) {
        Ok(text) => {
            sink.call(text, ThreadsafeFunctionCallMode::NonBlocking);
        }
        Err(error) => tracing::error!(%error, "a batch for JavaScript could not be written"),
    }
}

/// An error of a library as JavaScript sees it.
fn failure(error: impl Display) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}

/// Options that TypeScript wrote as JSON.
fn options<T: serde::de::DeserializeOwned>(text: &str) -> napi::Result<T> {
    serde_json::from_str(text).map_err(|error| failure(format!("PBX_OPTIONS: {error}")))
}

/// A certificate and its key, PEM.
#[napi(object)]
pub struct WireCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// Makes a certificate authority for one cluster.
#[napi]
pub fn create_authority() -> napi::Result<WireCertificate> {
    let (certificate, key) = raftpbx_store::certificates::create_authority().map_err(failure)?;
    Ok(WireCertificate { certificate, key })
}

/// Issues a certificate for `name` that is good for the addresses and host names given.
#[napi]
pub fn issue_certificate(
    authority_certificate: String,
    authority_key: String,
    name: String,
    addresses: Vec<String>,
    names: Vec<String>,
) -> napi::Result<WireCertificate> {
    let addresses = addresses
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|_| failure(format!("PBX_OPTIONS: bad address {text}")))
        })
        .collect::<napi::Result<Vec<std::net::IpAddr>>>()?;
    let (certificate, key) = raftpbx_store::certificates::issue(
        &authority_certificate,
        &authority_key,
        &name,
        &addresses,
        &names,
    )
    .map_err(failure)?;
    Ok(WireCertificate { certificate, key })
}
