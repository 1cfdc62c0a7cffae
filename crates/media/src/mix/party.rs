//! One party of a room: what was asked for it, and what becomes of its voice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::meter::Meter;
use super::mixer::shape;
use super::writer::{Form, Writer};
use crate::worker::FlowKey;

/// Names a party wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// NG `call-id`.
    pub call_id: Arc<str>,
    /// Its tag.
    pub tag: Arc<str>,
}

/// What was asked for a party.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wishes {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deaf: bool,
    /// It is a listener: not even its packets are read.
    pub listen_only: bool,
    /// How much louder it is for the others, dB.
    pub gain_db: i32,
    /// The only one who hears it.
    pub whisper_to: Option<Who>,
}

impl Wishes {
    /// Whether its packets are of any use.
    pub fn speaks(&self) -> bool {
        !self.muted && !self.listen_only
    }
}

/// Softest and loudest a party may be made, dB.
pub const GAIN_DB: std::ops::RangeInclusive<i32> = -30..=20;

/// Where a party's packets come from and go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The flow of its media line.
    pub key: FlowKey,
    /// Its side of it.
    pub side: usize,
}

/// What a party hears in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears {
    /// Everybody.
    All,
    /// Something that nobody else hears.
    Own,
    /// Nothing.
    Silence,
}

/// One party.
pub struct Party {
    /// Its name.
    pub who: Who,
    /// Its flow.
    pub place: Place,
    /// What was asked for it.
    pub wishes: Wishes,
    /// When it came, seconds since 1970.
    pub since_s: u64,
    /// How loud it is.
    pub meter: Meter,
    /// What it says in this frame, as others hear it.
    pub voice: Box<[i16]>,
    /// By which factor, at the end of the last frame.
    factor: f32,
    /// It is among those who are heard.
    pub chosen: bool,
    /// It says something in this frame.
    pub speaks: bool,
    /// The index of the one it whispers to.
    pub whispers_to: Option<usize>,
    /// Somebody whispers to it.
    pub whispered_to: bool,
    /// What others were told about its talking.
    pub told_talking: bool,
    /// Its own writer, while it hears what nobody else does.
    pub own: Option<Writer>,
    /// The common writer that it hears.
    pub class: Option<(Form, Hears)>,
}

impl Party {
    /// Somebody new, in a room with frames of so many samples.
    pub fn new(who: Who, place: Place, wishes: Wishes, samples: usize, since_s: u64) -> Party {
        Party {
            who,
            place,
            wishes,
            since_s,
            meter: Meter::default(),
            voice: vec![0; samples].into(),
            factor: 0.0,
            chosen: false,
            speaks: false,
            whispers_to: None,
            whispered_to: false,
            told_talking: false,
            own: None,
            class: None,
        }
    }

    /// What it hears.
    pub fn hears(&self) -> Hears {
        if self.wishes.deaf {
            Hears::Silence
        } else if (self.speaks && self.whispers_to.is_none()) || self.whispered_to {
            Hears::Own
        } else {
            Hears::All
        }
    }

    /// Brings its voice to the loudness asked for; whoever is no longer chosen fades out within
    /// this frame.
    pub fn raise(&mut self, auto_level: bool) {
        let correction_db = if auto_level {
            self.meter.correction_db()
        } else {
            0.0
        };
        let wanted = if self.chosen && self.wishes.speaks() {
            10_f32.powf((self.wishes.gain_db as f32 + correction_db) / 20.0)
        } else {
            0.0
        };
        self.speaks = wanted > 0.0 || self.factor > 0.0;
        if self.speaks {
            shape(&mut self.voice, self.factor, wanted);
        }
        self.factor = wanted;
    }

    /// It gets nothing from the room for a while.
    pub fn turn_away(&mut self) {
        (self.own, self.class) = (None, None);
    }
}
