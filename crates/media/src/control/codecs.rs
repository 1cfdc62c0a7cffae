//! Which payload types are written to a party in place of those the other one named.
//!
//! Pure. With codec flags an offer may name more or fewer than were offered to us; whoever answers
//! with what the offerer has not is bridged (see [`crate::audio::bridge`]).

use crate::call::Line;
use crate::codec::Codec;
use crate::ng::codec_flags::CodecFlags;
use crate::sdp::{Coding, Format, FormatsOut, Media, Repack, Takes};

/// Names of payload types that need no `a=rtpmap` (RFC 3551 section 6).
const STATIC: [(u8, &str); 7] = [
    (0, "PCMU"),
    (3, "GSM"),
    (4, "G723"),
    (8, "PCMA"),
    (9, "G722"),
    (13, "CN"),
    (18, "G729"),
];

/// A payload type of an offer.
struct Listed {
    payload_type: u8,
    name: String,
    coding: Option<Coding>,
}

impl Listed {
    /// Goes along with sound and is none of its own.
    fn is_supplement(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        matches!(&name[..], "telephone-event" | "cn")
    }

    /// Whether a list of names means it; `all` means no supplements, `full` means everything.
    fn is_in(&self, names: &[String]) -> bool {
        names.iter().any(|name| match &name[..] {
            "full" => true,
            "all" => !self.is_supplement(),
            name => {
                let name = name.split('/').next().unwrap_or_default();
                name.eq_ignore_ascii_case(&self.name)
            }
        })
    }
}

fn listed(media: &Media<'_>) -> Vec<Listed> {
    let takes = Takes::of(media);
    let types = media.formats.split_ascii_whitespace();
    let types = types.filter_map(|text| text.parse::<u8>().ok().filter(|number| *number < 128));
    let name = |payload_type: u8| {
        let prefix = format!("a=rtpmap:{payload_type} ");
        let map = media
            .lines
            .iter()
            .find_map(|line| line.strip_prefix(&prefix));
        let known = STATIC.iter().find(|(number, _)| *number == payload_type);
        let map = map.or(known.map(|(_, name)| *name)).unwrap_or_default();
        map.trim().split('/').next().unwrap_or_default().to_owned()
    };
    let one = |payload_type| Listed {
        payload_type,
        name: name(payload_type),
        coding: takes.coding(payload_type),
    };
    types.map(one).collect()
}

/// Formats as they stand in a description; those that are described already, as `known` has it,
/// keep their attributes.
pub(super) fn written(takes: &Takes, known: &Takes) -> FormatsOut {
    let mut maps = Vec::new();
    for format in &takes.formats {
        if known.coding(format.payload_type) == Some(format.coding) {
            continue;
        }
        let number = format.payload_type;
        match format.coding {
            Coding::Audio(codec) => {
                maps.push(format!("rtpmap:{number} {}", codec.rtpmap()));
                let more = codec.fmtp();
                maps.extend(more.map(|more| format!("fmtp:{number} {more}")));
            }
            Coding::Events(clock_hz) => {
                maps.push(format!("rtpmap:{number} telephone-event/{clock_hz}"));
                maps.push(format!("fmtp:{number} 0-15"));
            }
            Coding::Noise(clock_hz) => maps.push(format!("rtpmap:{number} CN/{clock_hz}")),
        }
    }
    let list = takes.formats.iter().map(|format| format.payload_type);
    FormatsOut {
        list: list.collect(),
        maps,
    }
}

impl Line {
    /// What an offer names towards the answerer; none: what it named itself.
    pub(super) fn offer_formats(
        &mut self,
        media: &Media<'_>,
        flags: &CodecFlags,
        offerer: usize,
    ) -> Option<FormatsOut> {
        self.wrote = [None, None];
        self.usable = None;
        if *flags == CodecFlags::default() || media.port == 0 || !self.is_sound() {
            return None;
        }
        let all = listed(media);
        let excepted = |one: &Listed| one.is_in(&flags.offer);
        let stripped = |one: &Listed| one.is_in(&flags.strip) && !excepted(one);
        let masked = |one: &Listed| one.is_in(&flags.mask) && !excepted(one);
        let kept: Vec<&Listed> = all
            .iter()
            .filter(|one| !stripped(one) && !masked(one))
            .collect();
        // Into what we cannot read nothing is changed, either.
        let readable = |one: &Listed| matches!(one.coding, Some(Coding::Audio(_)));
        let wanted = if all.iter().any(|one| readable(one) && !stripped(one)) {
            &flags.transcode[..]
        } else {
            &[]
        };
        let added = added(&all, &kept, wanted);
        let (supplements, sound): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|one| one.is_supplement());
        if sound.is_empty() && added.is_empty() {
            // As rtpengine has it: what would leave nothing is not done.
            return None;
        }
        let format = |one: &&Listed| {
            Some(Format {
                payload_type: one.payload_type,
                coding: one.coding?,
            })
        };
        let known = sound.iter().filter_map(format).chain(added.iter().copied());
        let takes = |formats: Box<[Format]>| Takes {
            formats,
            ..Takes::of(media)
        };
        let known = known.chain(supplements.iter().filter_map(format));
        self.wrote[1 - offerer] = Some(takes(known.collect()));
        let usable: Vec<&Listed> = all.iter().filter(|one| !stripped(one)).collect();
        self.usable = Some(takes(usable.iter().filter_map(format).collect()));
        let accepted = flags
            .accept
            .iter()
            .filter_map(|name| Codec::from_name(name));
        self.accepted = accepted.collect();
        let new = takes(added.into());
        let new = written(&new, &Takes::default());
        let numbers =
            |list: &[&Listed]| list.iter().map(|one| one.payload_type).collect::<Vec<_>>();
        Some(FormatsOut {
            list: [numbers(&sound), new.list, numbers(&supplements)].concat(),
            maps: new.maps,
        })
    }

    /// What an answer names towards the offerer; none: what it named itself.
    pub(super) fn answer_formats(
        &mut self,
        media: &Media<'_>,
        answerer: usize,
    ) -> Option<FormatsOut> {
        let usable = self.usable.as_ref().filter(|_| media.port != 0)?;
        let answer = Takes::of(media);
        // What we do not understand at all is only relayed.
        answer.first_audio()?;
        let sound = |format: &&Format| matches!(format.coding, Coding::Audio(_));
        let common = |format: &Format| answer.payload_type(format.coding).is_some();
        let accepted = |format: &Format| match format.coding {
            Coding::Audio(codec) => self.accepted.contains(&codec),
            Coding::Events(_) | Coding::Noise(_) => false,
        };
        let offered = || usable.formats.iter().filter(sound).copied();
        let chosen: Vec<Format> = if offered().any(|format| accepted(&format)) {
            offered()
                .filter(|format| common(format) || accepted(format))
                .collect()
        } else if offered().any(|format| common(&format)) {
            let same = |format: &Format| {
                usable
                    .payload_type(format.coding)
                    .map(|payload_type| Format {
                        payload_type,
                        ..*format
                    })
            };
            answer
                .formats
                .iter()
                .filter(sound)
                .filter_map(same)
                .collect()
        } else {
            offered().take(1).collect()
        };
        if chosen.is_empty() {
            return None;
        }
        // Events are told to everybody who can: whoever cannot hear them gets tones.
        let bridged = chosen.iter().any(|format| !common(format));
        let events = usable.formats.iter().filter(|format| !sound(format));
        let events = events.filter(|format| bridged || common(format)).copied();
        let takes = Takes {
            formats: chosen.into_iter().chain(events).collect(),
            ..usable.clone()
        };
        let mut out = written(&takes, &answer);
        // What we do not know is relayed as it is, and stands where the answer has it.
        for (place, one) in listed(media).iter().enumerate() {
            if one.coding.is_none() && !out.list.contains(&one.payload_type) {
                let place = place.min(out.list.len());
                out.list.insert(place, one.payload_type);
            }
        }
        self.wrote[1 - answerer] = Some(takes);
        Some(out)
    }

    /// What may be sent to each party: what it said; once there is an answer only what that
    /// left over of it, in the order of the answer (RFC 3264 section 7).
    pub(super) fn agreed_takes(&self) -> [Takes; 2] {
        let mut takes = self.agreed_formats();
        for (side, takes) in takes.iter_mut().enumerate() {
            let own = &self.takes[side];
            (takes.ptime_ms, takes.repack) = match self.ptimes_ms[side] {
                Some(ms) => (ms, Repack::Always),
                // The other party was asked for a length that this one did not ask for.
                None if self.ptimes_ms[1 - side].is_some() && own.repack == Repack::Bridged => {
                    (own.ptime_ms, Repack::Always)
                }
                None => (own.ptime_ms, own.repack),
            };
        }
        takes
    }

    fn agreed_formats(&self) -> [Takes; 2] {
        let mut takes = self.takes.clone();
        let Some(answerer) = self.answered_by else {
            return takes;
        };
        let offerer = 1 - answerer;
        if let Some(wrote) = &self.wrote[offerer] {
            takes[offerer] = wrote.clone();
            return takes;
        }
        let offered = &self.takes[offerer];
        let same = |format: &Format| {
            let payload_type = offered.payload_type(format.coding)?;
            Some(Format {
                payload_type,
                ..*format
            })
        };
        let left: Box<[_]> = self.takes[answerer]
            .formats
            .iter()
            .filter_map(same)
            .collect();
        if !left.is_empty() {
            takes[offerer].formats = left;
        }
        takes
    }

    /// What each party may send: what the other one takes, unless we told it otherwise.
    pub(super) fn agreed_sends(&self) -> [Takes; 2] {
        let [first, second] = self.agreed_takes();
        let mut sends = [second, first];
        if let Some(answerer) = self.answered_by
            && let [Some(offerer_was_told), Some(answerer_was_told)] =
                [&self.wrote[1 - answerer], &self.wrote[answerer]]
        {
            let agreed =
                |format: &&Format| self.takes[answerer].payload_type(format.coding).is_some();
            let formats = answerer_was_told.formats.iter().filter(agreed).copied();
            sends[1 - answerer] = offerer_was_told.clone();
            sends[answerer] = Takes {
                formats: formats.collect(),
                ..answerer_was_told.clone()
            };
        }
        sends
    }
}

/// Codecs to be offered beside those that are kept, with payload types of their own.
fn added(all: &[Listed], kept: &[&Listed], names: &[String]) -> Vec<Format> {
    let mut added: Vec<Format> = Vec::new();
    for codec in names.iter().filter_map(|name| Codec::from_name(name)) {
        let coding = Coding::Audio(codec);
        let there = kept.iter().any(|one| one.coding == Some(coding));
        if there || added.iter().any(|format| format.coding == coding) {
            continue;
        }
        let before = all.iter().find(|one| one.coding == Some(coding));
        let free = |number: &u8| {
            let mut used = all.iter().map(|one| one.payload_type);
            let mut new = added.iter().map(|format| format.payload_type);
            !used.any(|other| other == *number) && !new.any(|other| other == *number)
        };
        let own = before
            .map(|one| one.payload_type)
            .or_else(|| codec.static_type());
        if let Some(payload_type) = own.or_else(|| (96..=127).find(free)) {
            added.push(Format {
                payload_type,
                coding,
            });
        }
    }
    if let Some(events) = wide_events(kept, &added) {
        let used = |number: u8| {
            let mut new = added.iter().map(|format| format.payload_type);
            all.iter().any(|one| one.payload_type == number) || new.any(|other| other == number)
        };
        let free = (96..=127).find(|number| !used(*number));
        added.extend(free.map(|payload_type| Format {
            payload_type,
            coding: events,
        }));
    }
    added
}

/// Events in the clock of Opus, for whoever would not mix clocks (RFC 4733 section 2.1).
fn wide_events(kept: &[&Listed], added: &[Format]) -> Option<Coding> {
    let opus = Coding::Audio(Codec::Opus);
    let wide = Coding::Events(opus.clock_hz());
    let known = |coding: Coding| kept.iter().any(|one| one.coding == Some(coding));
    let events = kept
        .iter()
        .any(|one| matches!(one.coding, Some(Coding::Events(_))));
    let new = added.iter().any(|format| format.coding == opus);
    (events && new && !known(wide)).then_some(wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Sdp;

    fn all(line: &str) -> Vec<Listed> {
        let text = format!("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP {line}\r\n");
        listed(&Sdp::parse(&text).expect("an SDP").media[0])
    }

    #[test]
    fn names_mean_codecs_known_or_not() {
        let all = all("0 18 101 13\r\na=rtpmap:101 telephone-event/8000");
        let in_list = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            all.iter().map(|one| one.is_in(&names)).collect::<Vec<_>>()
        };
        assert_eq!(in_list(&["pcmu/8000"]), [true, false, false, false]);
        assert_eq!(in_list(&["G729"]), [false, true, false, false]);
        assert_eq!(in_list(&["all"]), [true, true, false, false]);
        assert_eq!(in_list(&["full"]), [true; 4]);
    }

    #[test]
    fn what_is_added_has_a_payload_type_of_its_own() {
        let all = all("96 8 97\r\na=rtpmap:96 telephone-event/8000\r\na=rtpmap:97 opus/48000/2");
        let kept: Vec<&Listed> = all.iter().take(2).collect();
        let names = ["opus", "L16/16000", "PCMA", "G722", "AMR"].map(str::to_owned);
        let added: Vec<u8> = added(&all, &kept, &names)
            .iter()
            .map(|f| f.payload_type)
            .collect();
        // The last one is for events in the clock of Opus.
        assert_eq!(added, [97, 98, 9, 99]);
    }
}
