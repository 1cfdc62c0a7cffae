//! Commands about the sound of a party: playing, digits, blocking, forwarding. The words are
//! rtpengine's.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Refusal;
use super::bencode::{Dict, Value};
use super::request::text;
use crate::audio::clip::{Clip, Clips};
use crate::audio::speaker::{DigitOrder, Order, Sound};
use crate::dsp::tone::{Digit, Signal};
use crate::limits::SEQUENCE_MAX;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoundCommand {
    /// `play media`.
    Play,
    /// `stop media`.
    Stop,
    /// `play DTMF`.
    PlayDtmf,
    /// `block media`, `unblock media`.
    BlockMedia(bool),
    /// `block DTMF`, `unblock DTMF`.
    BlockDtmf(bool),
    /// `silence media`, `unsilence media`.
    Silence(bool),
    /// `start recording`, `stop recording`, `pause recording`.
    Record(Recorded),
    /// `start forwarding`, `stop forwarding`.
    Forward(bool),
}

/// What is to be done with the recording of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Begins it, or goes on with it.
    Start,
    /// Ends it.
    Stop,
    /// Leaves out what comes.
    Pause,
}

impl SoundCommand {
    /// From the name of the command.
    pub fn from_name(name: &str) -> Option<SoundCommand> {
        Some(match name {
            "play media" => SoundCommand::Play,
            "stop media" => SoundCommand::Stop,
            "play DTMF" => SoundCommand::PlayDtmf,
            "block media" => SoundCommand::BlockMedia(true),
            "unblock media" => SoundCommand::BlockMedia(false),
            "block DTMF" => SoundCommand::BlockDtmf(true),
            "unblock DTMF" => SoundCommand::BlockDtmf(false),
            "silence media" => SoundCommand::Silence(true),
            "unsilence media" => SoundCommand::Silence(false),
            "start recording" => SoundCommand::Record(Recorded::Start),
            "stop recording" => SoundCommand::Record(Recorded::Stop),
            "pause recording" => SoundCommand::Record(Recorded::Pause),
            "start forwarding" => SoundCommand::Forward(true),
            "stop forwarding" => SoundCommand::Forward(false),
            _ => return None,
        })
    }

    /// What rtpengine's statistics call it.
    pub fn short_name(self) -> &'static str {
        match self {
            SoundCommand::Play => "playmedia",
            SoundCommand::Stop => "stopmedia",
            SoundCommand::PlayDtmf => "playdtmf",
            SoundCommand::BlockMedia(true) => "blkmedia",
            SoundCommand::BlockMedia(false) => "unblkmedia",
            SoundCommand::BlockDtmf(true) => "blkdtmf",
            SoundCommand::BlockDtmf(false) => "unblkdtmf",
            SoundCommand::Silence(true) => "slnmedia",
            SoundCommand::Silence(false) => "unslnmedia",
            SoundCommand::Record(Recorded::Start) => "startrec",
            SoundCommand::Record(Recorded::Stop) => "stoprec",
            SoundCommand::Record(Recorded::Pause) => "pauserec",
            SoundCommand::Forward(true) => "startfwd",
            SoundCommand::Forward(false) => "stopfwd",
        }
    }

    /// Whether it needs a party: the others are for the whole call when none is named.
    pub fn needs_party(self) -> bool {
        matches!(
            self,
            SoundCommand::Play | SoundCommand::Stop | SoundCommand::PlayDtmf
        )
    }
}

/// What a command brings with it.
#[derive(Debug)]
pub enum SoundOrder {
    /// Nothing.
    None,
    /// What to play.
    Play(Order),
    /// Which digit to send.
    Digit(DigitOrder),
}

/// Reads what a command brings with it, files too.
///
/// # Errors
/// Values that make no sense, and files that cannot be played.
pub fn read(
    command: SoundCommand,
    dict: &Dict,
    clips: &Mutex<Clips>,
) -> Result<SoundOrder, Refusal> {
    match command {
        SoundCommand::Play => play(dict, clips).map(SoundOrder::Play),
        SoundCommand::PlayDtmf => digit(dict).map(SoundOrder::Digit),
        _ => Ok(SoundOrder::None),
    }
}

/// A number, or text that is one.
pub(super) fn number(dict: &Dict, key: &str) -> Option<i64> {
    text(dict, key)?.trim().parse().ok()
}

pub(super) fn play<'a>(dict: &'a Dict, clips: &Mutex<Clips>) -> Result<Order, Refusal> {
    let files: Vec<&[u8]> = match dict.get(&b"file"[..]) {
        Some(Value::Bytes(name)) => vec![name],
        Some(Value::List(names)) => {
            let name = |value: &'a Value| match value {
                Value::Bytes(name) => Some(&name[..]),
                _ => None,
            };
            names.iter().filter_map(name).collect()
        }
        _ => Vec::new(),
    };
    let sounds = if let [_, ..] = &files[..] {
        if files.len() > SEQUENCE_MAX {
            return Err(Refusal::full("Too many media files specified"));
        }
        files
            .iter()
            .map(|name| sound(name, clips))
            .collect::<Result<_, _>>()?
    } else if let Some(Value::Bytes(blob)) = dict.get(&b"blob"[..]) {
        let clip = Clip::parse(blob).map_err(|error| {
            Refusal::error(&format!(
                "Failed to start media playback from blob: {error}"
            ))
        })?;
        vec![Sound::Clip(Arc::new(clip))]
    } else {
        return Err(Refusal::error("No media file specified"));
    };
    let names = files
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let positive = |key| number(dict, key).and_then(|value| u64::try_from(value).ok());
    let times = number(dict, "repeat-times").unwrap_or(1);
    let lasts_ms = positive("duration").or_else(|| positive("repeat-duration"));
    Ok(Order {
        sounds,
        // Until its end, or for ever, when only the time is bounded.
        times: match (times, positive("repeat-duration")) {
            (1, Some(_)) => None,
            (times, _) => u32::try_from(times).ok().map(|times| times.max(1)),
        },
        names: names.collect(),
        first: 0,
        start_ms: positive("start-pos").unwrap_or(0),
        lasts_ms: lasts_ms.filter(|lasts_ms| *lasts_ms > 0),
        volume: gain(number(dict, "volume").unwrap_or(0)),
        shared: text(dict, "shared").is_some_and(|value| value == "yes"),
    })
}

/// Decibels as a factor of 256.
fn gain(decibels: i64) -> i32 {
    let decibels = decibels.clamp(-60, 20) as f32;
    (256.0 * 10_f32.powf(decibels / 20.0)) as i32
}

/// A file, or `tone:<signal>:<country>`.
pub(crate) fn sound(name: &[u8], clips: &Mutex<Clips>) -> Result<Sound, Refusal> {
    let name = String::from_utf8_lossy(name);
    let failed =
        |why: &str| Refusal::error(&format!("Failed to start media playback from file: {why}"));
    if let Some(tone) = name.strip_prefix("tone:") {
        let (signal, country) = tone.split_once(':').unwrap_or((tone, "us"));
        let signal = Signal::from_name(signal).ok_or_else(|| failed("unknown tone"))?;
        let stretches = signal
            .stretches(country)
            .ok_or_else(|| failed("unknown country"))?;
        return Ok(Sound::Signal(stretches));
    }
    let clip = Clips::load(clips, Path::new(&*name));
    clip.map(Sound::Clip)
        .map_err(|error| failed(&error.to_string()))
}

fn digit(dict: &Dict) -> Result<DigitOrder, Refusal> {
    // As rtpengine has it, times out of range are brought into it.
    let time = |key, default| number(dict, key).unwrap_or(default).clamp(100, 5_000) as u32;
    let code = text(dict, "code").ok_or_else(|| Refusal::error("No valid 'code' specified"))?;
    let digit = match (code.parse::<i64>(), code.as_bytes()) {
        (Ok(code), _) => {
            let code = u8::try_from(code).ok().and_then(Digit::from_code);
            code.ok_or_else(|| Refusal::error("Out of range 'code' specified"))?
        }
        (Err(_), [key]) => {
            let key = Digit::from_key(*key);
            key.ok_or_else(|| Refusal::error("Invalid 'code' character"))?
        }
        _ => return Err(Refusal::error("Given 'code' is not a single digit")),
    };
    let volume = number(dict, "volume").unwrap_or(-8).unsigned_abs();
    Ok(DigitOrder {
        digit,
        lasts_ms: time("duration", 250),
        pause_ms: time("pause", 100),
        volume: volume.min(63) as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::super::bencode::dict;
    use super::*;
    use proptest::prelude::*;

    fn refused(command: SoundCommand, dict: &Dict) -> String {
        read(command, dict, &Mutex::default())
            .expect_err("refused")
            .reason
    }

    #[test]
    fn digits_are_read_as_codes_and_as_keys() {
        let digit = |code: Value| digit(&dict([("code", code)])).map(|order| order.digit.key());
        assert_eq!(digit(11_i64.into()), Ok('#'));
        assert_eq!(digit("5".into()), Ok('5'));
        assert_eq!(digit("*".into()), Ok('*'));
        let refusal = |code: Value| digit(code).expect_err("refused").reason;
        assert_eq!(refusal(16_i64.into()), "Out of range 'code' specified");
        assert_eq!(refusal("x".into()), "Invalid 'code' character");
        assert_eq!(refusal("##".into()), "Given 'code' is not a single digit");
        assert_eq!(
            refused(SoundCommand::PlayDtmf, &Dict::new()),
            "No valid 'code' specified"
        );
    }

    #[test]
    fn times_out_of_range_are_brought_into_it() {
        let entries = [
            ("code", 1_i64.into()),
            ("duration", 9_i64.into()),
            ("volume", 100_i64.into()),
        ];
        let order = digit(&dict(entries)).expect("an order");
        assert_eq!(
            (order.lasts_ms, order.pause_ms, order.volume),
            (100, 100, 63)
        );
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        assert_eq!(
            refused(SoundCommand::Play, &Dict::new()),
            "No media file specified"
        );
        let file = |name: &str| refused(SoundCommand::Play, &dict([("file", name.into())]));
        assert_eq!(
            file("/none.wav"),
            "Failed to start media playback from file: it is not below the folder media.prompts"
        );
        assert_eq!(
            file("tone:busy:xx"),
            "Failed to start media playback from file: unknown country"
        );
        let blob = refused(SoundCommand::Play, &dict([("blob", "x".into())]));
        assert!(
            blob.starts_with("Failed to start media playback from blob: "),
            "{blob}"
        );
    }

    #[test]
    fn an_order_is_read_whole() {
        let Ok(SoundOrder::Play(order)) = read(
            SoundCommand::Play,
            &dict([
                (
                    "file",
                    Value::List(vec!["tone:busy:de".into(), "tone:ring-back".into()]),
                ),
                ("repeat-times", 3_i64.into()),
                ("start-pos", 1_500_i64.into()),
                ("duration", "9000".into()),
                ("volume", (-6_i64).into()),
            ]),
            &Mutex::default(),
        ) else {
            panic!("an order")
        };
        assert_eq!((order.sounds.len(), order.times), (2, Some(3)));
        assert_eq!((order.start_ms, order.lasts_ms), (1_500, Some(9_000)));
        assert_eq!(order.volume, 128);
    }

    proptest! {
        #[test]
        fn no_values_make_it_panic(
            value in prop_oneof![
                any::<i64>().prop_map(Value::Int),
                prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
            ],
            key in 0_usize..9,
        ) {
            let keys = ["code", "duration", "pause", "volume", "file", "blob", "repeat-times",
                "start-pos", "repeat-duration"];
            let mut entries = dict([("code", 1_i64.into()), ("file", "tone:busy".into())]);
            entries.insert(keys[key].as_bytes().to_vec(), value);
            let _ = read(SoundCommand::Play, &entries, &Mutex::default());
            let _ = read(SoundCommand::PlayDtmf, &entries, &Mutex::default());
        }
    }
}
