//! A room at an NG server, with calls that lead into it.

use std::net::SocketAddr;

use raftpbx_media::codec::Codec;
use serde_json::json;

use super::Options;
use crate::BenchError;
use crate::ng::Client;
use crate::profile::sdp;

/// A room and its calls.
pub struct Made {
    client: Client,
    room: String,
    calls: usize,
    /// Where each party sends to.
    pub targets: Vec<SocketAddr>,
}

/// The payload type of a codec in our descriptions.
pub fn payload_type(codec: Codec) -> u8 {
    codec.static_type().unwrap_or(111)
}

/// Makes the room; the parties receive at these addresses.
///
/// # Errors
/// The server refuses.
pub fn make(
    ng: SocketAddr,
    options: &Options,
    addresses: &[SocketAddr],
) -> Result<Made, BenchError> {
    let mut made = Made {
        client: Client::connect(ng)?,
        room: format!("roomload{}", std::process::id()),
        calls: 0,
        targets: Vec::new(),
    };
    let room = json!({
        "command": "room create", "room": made.room, "rate": options.rate_hz,
        "speakers": options.talkers.max(8),
    });
    made.client.ask(&room)?;
    let joined = addresses.iter().try_for_each(|address| {
        // The other party of each call is an address where nobody listens.
        let nobody = SocketAddr::new(address.ip(), 9);
        let codec = options.codec;
        let words = [*address, nobody].map(|place| sdp(place, codec, payload_type(codec), None));
        let relay = made.client.set_up_with(made.calls, &words[0], &words[1])?;
        made.calls += 1;
        let command = json!({
            "command": "room join", "room": made.room,
            "call-id": made.client.call_id(made.calls - 1), "from-tag": "a",
        });
        made.client.ask(&command)?;
        made.targets.push(relay.from_a);
        Ok(())
    });
    match joined {
        Ok(()) => Ok(made),
        Err(error) => {
            made.take_down()?;
            Err(error)
        }
    }
}

impl Made {
    /// Leaves the server as it was found.
    ///
    /// # Errors
    /// The server refuses.
    pub fn take_down(mut self) -> Result<(), BenchError> {
        let room = json!({"command": "room delete", "room": self.room});
        self.client.ask(&room)?;
        (0..self.calls).try_for_each(|call| self.client.take_down(call))
    }
}
