//! Who hears the same music in the same form hears it as one stream; see [`crate::audio::choir`].

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::audio::choir::{Choir, Member};
use crate::audio::clip::Clip;
use crate::audio::speaker::{Order, Sound, Voice};
use crate::codec::Codec;
use crate::metrics::Count;

/// What makes streams the same: the thread, the form of packets, and what is played how loud.
#[derive(PartialEq, Eq)]
struct Kind {
    worker: usize,
    codec: Codec,
    frame_ms: u32,
    /// The clips, by where their samples are.
    clips: Vec<usize>,
    volume: i32,
}

/// All of them. A choir lives while somebody hears it.
#[derive(Default)]
pub struct Choirs {
    list: Mutex<Vec<(Kind, Weak<Mutex<Choir>>)>>,
    /// Frames that need not be encoded.
    pub saved: Arc<Count>,
}

impl Choirs {
    /// A place among those who hear this at a worker; none for what cannot be shared.
    pub fn join(&self, worker: usize, voice: Voice, order: &Order) -> Option<Member> {
        let clips: Option<Vec<_>> = order.sounds.iter().map(clip).collect();
        let clips = clips.filter(|_| order.shared)?;
        let kind = Kind {
            worker,
            codec: voice.audio.1,
            frame_ms: voice.frame_ms,
            clips: clips
                .iter()
                .map(|clip| Arc::as_ptr(clip) as usize)
                .collect(),
            volume: order.volume,
        };
        let mut list = self.list.lock();
        list.retain(|(_, choir)| choir.strong_count() > 0);
        let known = list.iter().find(|(known, _)| *known == kind);
        if let Some(choir) = known.and_then(|(_, choir)| choir.upgrade()) {
            return Some(Member::of(choir));
        }
        let rate_hz = clips.iter().map(|clip| clip.rate_hz).max()?;
        let order = Order {
            times: None,
            lasts_ms: None,
            ..order.clone()
        };
        let choir = Choir::new(order, voice, rate_hz, Arc::clone(&self.saved))?;
        let choir = Arc::new(Mutex::new(choir));
        list.push((kind, Arc::downgrade(&choir)));
        Some(Member::of(choir))
    }
}

fn clip(sound: &Sound) -> Option<&Arc<Clip>> {
    match sound {
        Sound::Clip(clip) => Some(clip),
        Sound::Signal(_) | Sound::Noise(_) => None,
    }
}
