//! Who hears what, written as seldom as possible: one writer for each form and mix that several
//! hear, one for each party that hears what nobody else does.

use super::mixer::Mixer;
use super::party::{Hears, Party};
use super::writer::{Form, Writer};

/// A writer that all share who hear the same in the same form.
struct Shared {
    form: Form,
    hears: Hears,
    writer: Writer,
    /// Who hears it in this frame.
    listeners: usize,
}

/// The common writers of a room.
#[derive(Default)]
pub struct Hall {
    shared: Vec<Shared>,
    /// Frames that were encoded.
    pub encoded: u64,
}

impl Hall {
    /// Nobody is counted yet in this frame.
    pub fn clear(&mut self) {
        self.shared
            .iter_mut()
            .for_each(|shared| shared.listeners = 0);
    }

    /// Finds the writer of a party that takes packets of this form: a common one that is counted,
    /// or its own; none until packets of its form begin.
    pub fn seat(&mut self, party: &mut Party, form: Form, rate_hz: u32, frame: u64) {
        let begins = form.begins_at(frame);
        if party.own.as_ref().is_some_and(|own| own.form() != form) {
            party.own = None;
        }
        let hears = party.hears();
        if hears == Hears::Own {
            if party.own.is_none() {
                let common = party.class.filter(|class| *class == (form, Hears::All));
                let common = common.and_then(|class| self.find(class));
                party.own = match common {
                    Some(at) => self.shared[at].writer.fork(),
                    None if begins => Writer::new(form, rate_hz),
                    None => None,
                };
            }
            party.class = None;
            return;
        }
        if party.own.is_some() && !begins {
            // The packet it is in has to become full.
            return;
        }
        let class = (form, hears);
        if party.class != Some(class) {
            party.class = None;
            if !begins {
                return;
            }
            if !self.join(class, party.own.take(), rate_hz) {
                return;
            }
            party.class = Some(class);
        }
        if let Some(at) = self.find(class) {
            self.shared[at].listeners += 1;
        }
    }

    fn find(&self, (form, hears): (Form, Hears)) -> Option<usize> {
        let mut shared = self.shared.iter();
        shared.position(|shared| (shared.form, shared.hears) == (form, hears))
    }

    /// Somebody comes to a common writer, perhaps with his own; false without memory.
    fn join(&mut self, class: (Form, Hears), own: Option<Writer>, rate_hz: u32) -> bool {
        if let Some(at) = self.find(class) {
            self.shared[at].writer.stand_alone();
            return true;
        }
        // Who comes first brings his writer, so that his decoder notices nothing.
        let Some(writer) = own.or_else(|| Writer::new(class.0, rate_hz)) else {
            return false;
        };
        self.shared.push(Shared {
            form: class.0,
            hears: class.1,
            writer,
            listeners: 0,
        });
        true
    }

    /// Writes what many hear; writers that nobody hears any more are gone.
    pub fn write(&mut self, mixer: &Mixer, mix: &mut [i16]) {
        self.shared.retain(|shared| shared.listeners > 0);
        for shared in &mut self.shared {
            match shared.hears {
                Hears::Silence => mix.fill(0),
                _ => mixer.all(mix),
            }
            shared.writer.write(mix);
            self.encoded += shared.writer.payloads().count() as u64;
        }
    }

    /// The writer that a party hears in this frame.
    pub fn writer<'a>(&'a self, party: &'a Party) -> Option<&'a Writer> {
        if let Some(own) = &party.own {
            return Some(own);
        }
        let at = self.find(party.class?)?;
        Some(&self.shared[at].writer)
    }

    /// Common writers in use.
    pub fn classes(&self) -> usize {
        self.shared.len()
    }
}
