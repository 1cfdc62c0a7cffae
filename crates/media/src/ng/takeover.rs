//! Commands about sessions and addresses that go from one engine to another; see
//! [`crate::takeover`]. Words of ours.

use std::net::IpAddr;

use super::Refusal;
use super::bencode::{Dict, Value, dict};
use super::request::{Request, text};
use crate::Core;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeoverCommand {
    /// `snapshot`.
    Snapshot,
    /// `restore`.
    Restore,
    /// `activate`.
    Activate,
    /// `deactivate`.
    Deactivate,
}

impl TakeoverCommand {
    /// From the name of the command.
    pub fn from_name(name: &str) -> Option<TakeoverCommand> {
        Some(match name {
            "snapshot" => TakeoverCommand::Snapshot,
            "restore" => TakeoverCommand::Restore,
            "activate" => TakeoverCommand::Activate,
            "deactivate" => TakeoverCommand::Deactivate,
            _ => return None,
        })
    }
}

/// Carries a command out.
pub fn execute(
    core: &Core,
    command: TakeoverCommand,
    fields: &Dict,
    request: &Request,
) -> Result<Dict, Refusal> {
    let mut answer = match command {
        TakeoverCommand::Snapshot => {
            let state = core.control.lock().snapshot(&request.call_id)?;
            dict([("state", state.into())])
        }
        TakeoverCommand::Restore => {
            let state =
                text(fields, "state").ok_or_else(|| Refusal::error("No state in message"))?;
            let id = core.control.lock().restore(&state)?;
            dict([("call-id", (&*id).into())])
        }
        TakeoverCommand::Activate => {
            core.activate(address(fields)?)?;
            Dict::new()
        }
        TakeoverCommand::Deactivate => {
            let was_here = core.deactivate(address(fields)?);
            dict([("was-here", Value::Int(was_here.into()))])
        }
    };
    answer.insert(b"result".to_vec(), "ok".into());
    Ok(answer)
}

fn address(fields: &Dict) -> Result<IpAddr, Refusal> {
    let address = text(fields, "address").and_then(|address| address.parse().ok());
    address.ok_or_else(|| Refusal::error("No address in message"))
}

/// Whether the answer to an offer or answer is to say what another engine needs to go on.
pub fn wants_state(fields: &Dict) -> bool {
    text(fields, "snapshot").is_some_and(|word| word == "yes")
}
