//! Commands about the sound of a party, carried out on its lines.

use super::{Control, unix_us};
use crate::audio::speaker::{Order, Sound};
use crate::call::{Call, Line};
use crate::epoll::monotonic_ns;
use crate::flow::Flow;
use crate::limits::SPEAKING_MAX;
use crate::ng::Refusal;
use crate::ng::bencode::Dict;
use crate::ng::request::Request;
use crate::ng::sound::{SoundCommand, SoundOrder};

/// A line and the side of the party that is meant.
type Place<'a> = (&'a Line, usize);

impl Control {
    /// Carries out a command; what the answer says beyond that it was.
    ///
    /// # Errors
    /// Unknown calls and parties, and parties that cannot get what was asked for.
    pub fn sound(
        &mut self,
        command: SoundCommand,
        request: &Request,
        order: SoundOrder,
    ) -> Result<Dict, Refusal> {
        self.check_party(command, request)?;
        let Some(call) = self.calls.get_mut(&request.call_id[..]) else {
            return Err(Refusal::error("Unknown call-ID"));
        };
        (call.signalled_us, call.signalled_ns) = (unix_us(), monotonic_ns());
        if let SoundCommand::Record(wanted) = command {
            let mut call = self.take_call(&request.call_id);
            let answer = self.change_recording(&mut call, request, wanted);
            self.calls.insert(std::sync::Arc::clone(&call.id), call);
            return answer;
        }
        if let SoundCommand::Forward(on) = command {
            return self.change_forwarding(request, on);
        }
        let call = &self.calls[&request.call_id[..]];
        let places = select(call, command, request)?;
        let mut answer = Dict::new();
        match (command, order) {
            (_, SoundOrder::Play(order)) => {
                if let Some(lasts_ms) = lasts_ms(&order) {
                    answer.insert(b"duration".to_vec(), lasts_ms.into());
                }
                for place in &places {
                    self.play(place, &order)?;
                }
            }
            (_, SoundOrder::Digit(order)) => {
                self.begin(&places, |flow, side, now_ns| {
                    flow.press(side, order, now_ns)
                })?;
            }
            (SoundCommand::Stop, _) => {
                let stopped = |place: &Place<'_>| self.on(place, Flow::stop)?;
                let positions: Vec<u64> = places.iter().filter_map(stopped).collect();
                if let Some(position_ms) = positions.first() {
                    answer.insert(b"last-frame-pos".to_vec(), (*position_ms).into());
                }
            }
            (command, _) => places.iter().for_each(|place| {
                self.on(place, |flow, side| {
                    flow.block(side, |blocks| match command {
                        SoundCommand::BlockMedia(on) => blocks.media = on,
                        SoundCommand::BlockDtmf(on) => blocks.dtmf = on,
                        SoundCommand::Silence(on) => blocks.sound = on,
                        _ => {}
                    });
                });
            }),
        }
        Ok(answer)
    }

    /// Whether a command is about somebody we know: asked before files are read for it.
    ///
    /// # Errors
    /// Unknown calls and parties.
    pub fn check_party(&self, command: SoundCommand, request: &Request) -> Result<(), Refusal> {
        if request.call_id.is_empty() {
            return Err(Refusal::error("No call-id in message"));
        }
        let call = self.calls.get(&request.call_id[..]);
        let call = call.ok_or_else(|| Refusal::error("Unknown call-ID"))?;
        select(call, command, request).map(drop)
    }

    /// Does something with the flow of a line, under its worker's lock.
    fn on<T>(
        &self,
        (line, side): &Place<'_>,
        act: impl FnOnce(&mut Flow, usize) -> T,
    ) -> Option<T> {
        let mut table = self.workers[line.worker].table();
        Some(act(table.get_mut(line.key)?, *side))
    }

    fn play(&self, place: &Place<'_>, order: &Order) -> Result<(), Refusal> {
        let voice = self.on(place, |flow, side| flow.voice(side)).flatten();
        let join = |voice| self.choirs.join(place.0.worker, voice, order);
        let mut member = voice.filter(|_| order.shared).and_then(join);
        self.begin(
            std::slice::from_ref(place),
            |flow, side, now_ns| match member.take() {
                Some(member) => flow.join(side, member, now_ns),
                None => flow.play(side, order.clone(), now_ns),
            },
        )
    }

    /// Plays on what another engine has played to the party of each side; without it the call goes
    /// on all the same.
    pub(crate) fn resume_playing(&self, line: &Line, orders: [Option<Order>; 2]) {
        for (side, order) in orders.into_iter().enumerate() {
            let played = order.map_or(Ok(()), |order| self.play(&(line, side), &order));
            if let Err(refusal) = played {
                let reason = refusal.reason;
                tracing::warn!(reason, "a call goes on without what was played");
            }
        }
    }

    /// Begins to speak on lines and wakes their workers.
    fn begin(
        &self,
        places: &[Place<'_>],
        mut act: impl FnMut(&mut Flow, usize, u64) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let speaking: usize = self
            .workers
            .iter()
            .map(|worker| worker.table().speaking())
            .sum();
        if speaking + places.len() > SPEAKING_MAX {
            return Err(Refusal::full("Too many media players"));
        }
        let now_ns = monotonic_ns();
        for place in places {
            self.on(place, |flow, side| act(flow, side, now_ns))
                .unwrap_or(Ok(()))?;
            self.workers[place.0.worker].rouse(place.0.key);
        }
        Ok(())
    }
}

/// How long an order lasts, ms, when that is known.
pub(super) fn lasts_ms(order: &Order) -> Option<u64> {
    let one = |sound: &Sound| match sound {
        Sound::Clip(clip) => Some(clip.lasts_ms()),
        Sound::Signal(_) | Sound::Noise(_) => None,
    };
    order.sounds.iter().map(one).sum()
}

/// The lines of sound that a command is about.
pub(super) fn select<'a>(
    call: &'a Call,
    command: SoundCommand,
    request: &Request,
) -> Result<Vec<Place<'a>>, Refusal> {
    let places = parties(call, command, request)?
        .into_iter()
        .flat_map(|(n, side)| {
            let lines = call.dialogues[n].lines.iter();
            // Pictures are blocked too.
            let all = matches!(command, SoundCommand::BlockMedia(_));
            let lines = lines.filter(move |line| line.is_sound() || all && line.is_rtp());
            lines.map(move |line| (line, side))
        });
    Ok(places.collect())
}

/// The parties that a command is about, by dialogue and side.
pub(super) fn parties(
    call: &Call,
    command: SoundCommand,
    request: &Request,
) -> Result<Vec<(usize, usize)>, Refusal> {
    let party: Box<dyn Fn(usize, usize) -> bool> = if request.all {
        Box::new(|_, _| true)
    } else if let Some(label) = &request.label {
        Box::new(move |n, side| call.dialogues[n].parties[side].label.as_ref() == Some(label))
    } else if let Some(address) = &request.address {
        let address = address.parse();
        let address = address.map_err(|_| Refusal::error("Failed to parse network address"))?;
        Box::new(move |n, side| {
            let mut lines = call.dialogues[n].lines.iter();
            lines.any(|line| line.named[side] == Some(address))
        })
    } else if let Some(tag) = &request.from_tag {
        Box::new(move |n, side| call.dialogues[n].parties[side].tag.as_deref() == Some(tag))
    } else if command.needs_party() {
        return Err(Refusal::error("No participant party specified"));
    } else {
        Box::new(|_, _| true)
    };
    let sides = (0..call.dialogues.len()).flat_map(|n| [(n, 0), (n, 1)]);
    let meant: Vec<(usize, usize)> = sides.filter(|(n, side)| party(*n, *side)).collect();
    if meant.is_empty() {
        return Err(Refusal::error(if request.label.is_some() {
            "No monologue matching the given label"
        } else if request.address.is_some() {
            "Failed to match address to any tag"
        } else {
            "From-tag given, but no such tag exists"
        }));
    }
    Ok(meant)
}
