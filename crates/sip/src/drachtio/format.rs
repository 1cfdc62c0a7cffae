//! What the server says (sections 3 and 4 of the protocol).
use super::frame::write_frame;
use crate::engine::flow::Flow;

/// The version told to applications: from v0.8.2 on they ping.
pub const VERSION: &str = "v0.9.10";

/// Time of day as applications read it: `HH:MM:SS.uuuuuu`, UTC.
pub fn time_of_day(wall_us: u64) -> String {
    let (seconds, micros) = (wall_us / 1_000_000, wall_us % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

fn place(source: &str, message: &[u8], flow: &Flow, wall_us: u64) -> String {
    format!(
        "{source}|{}|{}|{}|{}|{}",
        message.len(),
        flow.transport,
        flow.remote.ip(),
        flow.remote.port(),
        time_of_day(wall_us)
    )
}

/// A request outside any dialog.
pub fn new_request(id: &str, message: &[u8], flow: &Flow, wall_us: u64, txn: &str) -> Vec<u8> {
    let place = place("network", message, flow, wall_us);
    let local = flow.local;
    let leader = format!(
        "{id}|sip|{place}|{txn}||{}|{}|\r\n",
        local.ip(),
        local.port()
    );
    write_frame(&leader, message)
}

/// A request in a dialog, or a response. `source` is `network` or `application`.
pub fn in_dialog(
    id: &str,
    source: &str,
    message: &[u8],
    flow: &Flow,
    wall_us: u64,
    (txn, dialog): (&str, &str),
) -> Vec<u8> {
    let place = place(source, message, flow, wall_us);
    write_frame(&format!("{id}|sip|{place}|{txn}|{dialog}|\r\n"), message)
}

/// The echo of a request the application sent.
pub fn request_sent(
    id: &str,
    answered: &str,
    message: &[u8],
    flow: &Flow,
    wall_us: u64,
    txn: &str,
) -> Vec<u8> {
    let place = place("application", message, flow, wall_us);
    write_frame(
        &format!("{id}|response|{answered}|OK|{place}|{txn}|Msg sent:|\r\n"),
        message,
    )
}

/// The echo of a response the application sent.
pub fn response_sent(
    id: &str,
    answered: &str,
    message: &[u8],
    flow: &Flow,
    wall_us: u64,
    (txn, dialog): (&str, &str),
) -> Vec<u8> {
    let place = place("application", message, flow, wall_us);
    let leader = format!("{id}|response|{answered}|OK|{place}|{txn}|{dialog}||Msg sent:|\r\n");
    write_frame(&leader, message)
}

/// One of several answers to a command: the application keeps waiting for the next one.
pub fn response_relayed(
    id: &str,
    answered: &str,
    message: &[u8],
    flow: &Flow,
    wall_us: u64,
) -> Vec<u8> {
    let place = place("network", message, flow, wall_us);
    let leader = format!("{id}|response|{answered}|OK|{place}|||continue\r\n");
    write_frame(&leader, message)
}

/// A call record: `attempt`, `start` or `stop`; `detail` is the role or the reason.
pub fn call_record(
    id: &str,
    kind: &str,
    source: &str,
    wall_us: u64,
    detail: &str,
    message: &[u8],
) -> Vec<u8> {
    let time = time_of_day(wall_us);
    let detail = if detail.is_empty() {
        String::new()
    } else {
        format!("|{detail}")
    };
    write_frame(
        &format!("{id}|cdr:{kind}|{source}|{time}{detail}\r\n"),
        message,
    )
}

/// Longer than what Node.js reads from a socket at once, in bytes.
const READ_BYTES: usize = 65_536;

/// A frame that applications ignore: the answer to nothing. What comes after it can not be
/// in the same read as what came before it, so the application had an event-loop turn.
pub fn turn(id: &str) -> Vec<u8> {
    let leader = format!("{id}|response|none|OK|");
    write_frame(&leader, &vec![b' '; READ_BYTES])
}

/// Any other answer: `OK`, `OK|pong`, `NO|reason`, `NOK|reason`.
pub fn answer(id: &str, answered: &str, text: &str) -> Vec<u8> {
    let text = text.replace(['\r', '\n'], " ");
    write_frame(&format!("{id}|response|{answered}|{text}"), b"")
}
