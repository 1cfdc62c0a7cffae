//! Rules for messages from an application (section 8 of the protocol).
use std::borrow::Cow;
use std::net::SocketAddr;

use crate::message::{Message, Name, Writer, canonical};

/// Why a message from the application is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppMessageError {
    /// It cannot be parsed.
    #[error("malformed sip message: {0}")]
    Malformed(String),
    /// A body of unknown kind.
    #[error("missing content-type")]
    ContentType,
}

/// Completes the text of an application, which may end after the last header.
pub fn complete(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n\r\n") {
        Cow::Borrowed(text)
    } else {
        let end = if text.ends_with("\r\n") {
            "\r\n"
        } else {
            "\r\n\r\n"
        };
        Cow::Owned(format!("{text}{end}"))
    }
}

/// Parses a completed message; its Content-Length is ignored.
pub fn parse(text: &str) -> Result<Message<'_>, AppMessageError> {
    let mut message = Message::parse(text.as_bytes())
        .map_err(|error| AppMessageError::Malformed(error.to_string()))?;
    if let Some(end) = text.find("\r\n\r\n") {
        message.body = &text.as_bytes()[end + 4..];
    }
    Ok(message)
}

/// Headers the engine writes itself whatever the application says.
pub fn is_ours(name: Name) -> bool {
    use Name::*;
    matches!(
        name,
        Via | Route | RecordRoute | RSeq | ContentLength | XLeg | XAuthenticatedUser
    )
}

/// Copies the application's headers, but those in `skip` and those that are ours, with
/// `@localhost` replaced and names spelled as usual; adds Content-Type for SDP.
pub fn copy_headers(
    writer: &mut Writer,
    message: &Message<'_>,
    skip: &[Name],
    local: SocketAddr,
) -> Result<(), AppMessageError> {
    for header in &message.headers {
        if is_ours(header.name) || skip.contains(&header.name) {
            continue;
        }
        writer.named(
            &canonical(header.text),
            &localise(header.name, header.value, local),
        );
    }
    if !message.body.is_empty() && message.get(Name::ContentType).is_none() {
        if !message.body.starts_with(b"v=0") {
            return Err(AppMessageError::ContentType);
        }
        writer.header(Name::ContentType, "application/sdp");
    }
    Ok(())
}

/// Replaces the host `localhost` after an `@` in address headers by the real one.
pub fn localise(name: Name, value: &str, local: SocketAddr) -> Cow<'_, str> {
    use Name::*;
    if !matches!(name, From | To | Contact | PAssertedIdentity) || !value.contains("@localhost") {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() + 16);
    let mut rest = value;
    while let Some(at) = rest.find("@localhost") {
        let after = &rest[at + "@localhost".len()..];
        text.push_str(&rest[..=at]);
        if after.starts_with(|next: char| next.is_ascii_alphanumeric() || "-._".contains(next)) {
            text.push_str("localhost");
        } else if after.starts_with(':') {
            text.push_str(&host_text(local));
        } else {
            text.push_str(&local.to_string());
        }
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// An IP address as it stands in a URI.
pub fn host_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}
