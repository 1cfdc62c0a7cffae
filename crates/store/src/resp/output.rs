//! How long a reply may be: it is measured before it is encoded.

use crate::limits::REPLY_BYTES_MAX;
use crate::reply::Reply;

/// Bytes of type, length and line ends beside a value, at most.
const FRAME_BYTES: usize = 32;

/// Whether a reply is short enough to be sent.
pub fn fits(reply: &Reply) -> bool {
    match reply {
        Reply::Array(_) | Reply::Map(_) | Reply::Set(_) | Reply::Pairs(_) => {
            take(reply, REPLY_BYTES_MAX).is_some()
        }
        Reply::Bulk(bytes) => bytes.len() <= REPLY_BYTES_MAX,
        _ => true,
    }
}

/// What is left of `room`; `None` when the reply does not fit.
fn take(reply: &Reply, room: usize) -> Option<usize> {
    let room = room.checked_sub(FRAME_BYTES)?;
    match reply {
        Reply::Bulk(bytes) => room.checked_sub(bytes.len()),
        Reply::Simple(text) | Reply::Error(text) | Reply::Verbatim(text) => {
            room.checked_sub(text.len())
        }
        Reply::Array(items) | Reply::Set(items) => {
            items.iter().try_fold(room, |room, item| take(item, room))
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
            .iter()
            .try_fold(room, |room, (key, value)| take(value, take(key, room)?)),
        _ => Some(room),
    }
}

/// What is sent instead.
pub fn refusal() -> Reply {
    Reply::Error(format!(
        "ERR the reply would be longer than {REPLY_BYTES_MAX} bytes; ask for less at once"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_reply_of_many_long_values_does_not_fit() {
        let value = Reply::Bulk(Bytes::from(vec![0; 1 << 20]));
        let number = REPLY_BYTES_MAX >> 20;
        assert!(fits(&Reply::Array(vec![value.clone(); number - 1])));
        assert!(!fits(&Reply::Array(vec![value.clone(); number])));
        let pairs = vec![(value.clone(), value); number / 2];
        assert!(!fits(&Reply::Map(pairs)));
    }
}
