//! Writing messages.
use super::names::Name;

/// A message under construction.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A request.
    pub fn request(method: &str, uri: &str) -> Writer {
        let mut writer = Writer {
            bytes: Vec::with_capacity(1024),
        };
        writer.text(method).text(" ").text(uri).text(" SIP/2.0\r\n");
        writer
    }

    /// A response.
    pub fn response(status: u16, reason: &str) -> Writer {
        let mut writer = Writer {
            bytes: Vec::with_capacity(1024),
        };
        writer
            .text("SIP/2.0 ")
            .text(&status.to_string())
            .text(" ")
            .text(reason)
            .text("\r\n");
        writer
    }

    fn text(&mut self, text: &str) -> &mut Writer {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// A header with any name. Line ends in a value would forge headers: they become spaces.
    pub fn named(&mut self, name: &str, value: &str) -> &mut Writer {
        self.text(name).text(": ");
        if value.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
            self.text(&value.replace(['\r', '\n'], " "));
        } else {
            self.text(value);
        }
        self.text("\r\n")
    }

    /// A header the engine knows.
    pub fn header(&mut self, name: Name, value: &str) -> &mut Writer {
        self.named(name.text(), value)
    }

    /// Content-Length, the empty line and the body: the finished message.
    pub fn finish(mut self, body: &[u8]) -> Vec<u8> {
        self.named("Content-Length", &body.len().to_string());
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(body);
        self.bytes
    }
}

/// The usual reason phrase of a status code (RFC 3261 section 21).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        414 => "Request-URI Too Long",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        440 => "Max-Breadth Exceeded",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Unknown",
    }
}
