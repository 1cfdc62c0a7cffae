//! Commands about sessions and addresses that go from one engine to another; see
//! [`crate::takeover`]. Words of ours.

use std::net::IpAddr;

use super::Refusal;
use super::bencode::{Dict, Value, dict};
use super::request::{Command, Request, text};
use super::sound::SoundCommand;
use crate::control::Control;
use crate::{Core, MediaEvent};

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
            let id = core.restore(&state)?;
            let mut answer = dict([("call-id", (&*id).into())]);
            let control = core.control.lock();
            let call = control.calls.get(&id);
            if let Some(recording) = call.and_then(|call| call.recording.as_ref()) {
                let base = recording.base.to_string_lossy().into_owned();
                answer.insert(b"recording".to_vec(), base.into());
            }
            answer
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

/// Whether a command changes what another engine needs to go on. An offer does so with its answer.
fn changes(command: Command) -> bool {
    match command {
        Command::Answer | Command::Delete | Command::SubscribeAnswer | Command::Unsubscribe => true,
        // A digit is over before anybody could go on with it.
        Command::Sound(command) => command != SoundCommand::PlayDtmf,
        _ => false,
    }
}

/// A command was carried out: the answer says what another engine needs now, if that was asked
/// for. Else whoever keeps what was needed before is to be told.
pub(super) fn note(
    control: &mut Control,
    command: Command,
    request: &Request,
    fields: &Dict,
    answer: &mut Dict,
) -> Option<MediaEvent> {
    let call_id = &request.call_id;
    let changes = changes(command);
    if !changes && command != Command::Offer {
        return None;
    }
    if text(fields, "snapshot").is_some_and(|word| word == "yes") {
        // Without it the call is anchored anew when this engine dies.
        if let Ok(state) = control.snapshot(call_id) {
            answer.insert(b"state".to_vec(), state.into());
        }
        return None;
    }
    let call = control.calls.get_mut(&call_id[..]).filter(|_| changes)?;
    let was_kept = std::mem::replace(&mut call.is_kept, false);
    was_kept.then(|| MediaEvent::Changed {
        call_id: call_id.clone(),
    })
}
