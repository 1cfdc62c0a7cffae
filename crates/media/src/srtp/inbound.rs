//! What comes from a party.

use super::cipher::Protection;
use super::index::{Window, rollover};
use super::keys::{MasterKey, Stream};
use super::state::{InboundState, SourceState, ahead};
use super::{ENCRYPTED, Unopened, payload_at, rtcp_source, rtp_fields};
use crate::limits::{ROLLOVERS_TRIED, SRTP_SOURCES_MAX};

struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// Another engine has heard more than we know of.
    behind: bool,
}

impl Source {
    fn new(ssrc: u32) -> Source {
        Source {
            ssrc,
            rtp: Window::default(),
            rtcp: Window::default(),
            behind: false,
        }
    }
}

/// Opens packets under one key.
pub struct Inbound {
    key: MasterKey,
    rtp: Protection,
    rtcp: Protection,
    /// Sources that sent something genuine, the latest first.
    sources: Vec<Source>,
    /// Bytes of the master key identifier (MKI) in each packet.
    mki_bytes: usize,
    /// Another engine may have heard sources we know nothing of.
    resumed: bool,
}

impl Inbound {
    /// Nothing was heard yet. `mki_bytes` of a master key identifier stand in each packet; there
    /// is one key, so what they say does not matter.
    pub fn new(key: MasterKey, mki_bytes: usize) -> Inbound {
        Inbound {
            mki_bytes,
            resumed: false,
            rtp: key.session(Stream::Rtp),
            rtcp: key.session(Stream::Rtcp),
            key,
            sources: Vec::new(),
        }
    }

    /// Goes on where another engine was some time ago.
    pub fn resumed(state: InboundState) -> Inbound {
        let mut inbound = Inbound::new(state.key, state.mki_bytes);
        inbound.resumed = true;
        let window = |newest: Option<u64>| newest.map_or_else(Window::default, Window::at);
        let known = state.sources.into_iter().take(SRTP_SOURCES_MAX);
        inbound.sources = known
            .map(|source| Source {
                ssrc: source.ssrc,
                rtp: window(source.rtp),
                rtcp: window(source.rtcp),
                behind: true,
            })
            .collect();
        inbound
    }

    /// What another engine needs to go on.
    pub fn state(&self) -> InboundState {
        let sources = self.sources.iter().map(|source| SourceState {
            ssrc: source.ssrc,
            rtp: source.rtp.newest(),
            rtcp: source.rtcp.newest(),
        });
        InboundState {
            key: self.key.clone(),
            mki_bytes: self.mki_bytes,
            sources: sources.collect(),
        }
    }

    /// The key it works with.
    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// Opens an RTP packet in place; answers its length without the tag.
    ///
    /// # Errors
    /// See [`Unopened`]; the packet must not be used then.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Unopened> {
        let packet = self
            .without_mki(packet, &self.rtp)
            .ok_or(Unopened::Malformed)?;
        let (sequence, ssrc) = rtp_fields(packet).ok_or(Unopened::Malformed)?;
        let from = payload_at(packet).ok_or(Unopened::Malformed)?;
        let place = self.place(ssrc);
        let window = place.map_or_else(Window::default, |at| self.sources[at].rtp);
        let end = packet.len().checked_sub(self.rtp.tag_bytes());
        let end = end.filter(|end| *end >= from).ok_or(Unopened::Malformed)?;
        if place.map_or(self.resumed, |at| self.sources[at].behind) {
            let known = window
                .newest()
                .map_or(u64::from(sequence), |newest| ahead(newest, sequence));
            let index = self.find_index(packet, from, ssrc, known)?;
            let source = self.heard(place, ssrc);
            (source.behind, source.rtp) = (false, Window::at(index));
            return Ok(end);
        }
        let index = window.guess(sequence);
        if !window.is_new(index) {
            return Err(Unopened::Replayed);
        }
        let rollover = rollover(index);
        let extra = self.rtp.rollover_for_tag(&rollover);
        if !self.rtp.open(packet, from, extra, ssrc, index) {
            return Err(Unopened::Forged);
        }
        self.heard(place, ssrc).rtp.note(index);
        Ok(end)
    }

    /// Opens the first packet of a source that another engine has heard before: its tag says how
    /// often the counter has rolled over since `known` was the least that it could be.
    fn find_index(
        &self,
        packet: &mut [u8],
        from: usize,
        ssrc: u32,
        known: u64,
    ) -> Result<u64, Unopened> {
        for turns in 0..ROLLOVERS_TRIED {
            let index = known + (turns << 16);
            let rollover = rollover(index);
            let extra = self.rtp.rollover_for_tag(&rollover);
            // A packet that was tried in vain is not to be used any more.
            let mut tried = packet.to_vec();
            if self.rtp.open(&mut tried, from, extra, ssrc, index) {
                packet.copy_from_slice(&tried);
                return Ok(index);
            }
        }
        Err(Unopened::Forged)
    }

    /// Opens an RTCP packet in place; answers its length without tag and index.
    ///
    /// # Errors
    /// See [`Unopened`]; the packet must not be used then.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Unopened> {
        let packet = self
            .without_mki(packet, &self.rtcp)
            .ok_or(Unopened::Malformed)?;
        let ssrc = rtcp_source(packet).ok_or(Unopened::Malformed)?;
        let tag_bytes = self.rtcp.tag_bytes();
        let end = packet.len().checked_sub(tag_bytes + 4);
        let end = end.filter(|end| *end >= 8).ok_or(Unopened::Malformed)?;
        // The index stands before the tag, with GCM behind it.
        let word_at = if self.rtcp.is_aead() {
            end + tag_bytes
        } else {
            end
        };
        let word = packet[word_at..]
            .first_chunk::<4>()
            .copied()
            .ok_or(Unopened::Malformed)?;
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED == 0 {
            // Authentication alone was not agreed on.
            return Err(Unopened::Forged);
        }
        let index = u64::from(index & !ENCRYPTED);
        let place = self.place(ssrc);
        let window = place.map_or_else(Window::default, |at| self.sources[at].rtcp);
        if !window.is_new(index) {
            return Err(Unopened::Replayed);
        }
        if !self.rtcp.is_aead() {
            packet.copy_within(end + 4.., end);
        }
        let sealed = &mut packet[..end + tag_bytes];
        if !self.rtcp.open(sealed, 8, &word, ssrc, index) {
            return Err(Unopened::Forged);
        }
        self.heard(place, ssrc).rtcp.note(index);
        Ok(end)
    }

    /// The packet with the identifier of the key taken out: it stands before the tag, with GCM at
    /// the end (RFC 3711 section 3.1, RFC 7714 section 5.1).
    fn without_mki<'a>(&self, packet: &'a mut [u8], with: &Protection) -> Option<&'a mut [u8]> {
        let length = packet.len().checked_sub(self.mki_bytes)?;
        if self.mki_bytes > 0 && !with.is_aead() {
            let tag_at = length.checked_sub(with.tag_bytes())?;
            packet.copy_within(tag_at + self.mki_bytes.., tag_at);
        }
        Some(&mut packet[..length])
    }

    fn place(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.ssrc == ssrc)
    }

    /// A genuine packet came: only now may its source take the place of another.
    fn heard(&mut self, place: Option<usize>, ssrc: u32) -> &mut Source {
        let at = place.unwrap_or_else(|| {
            if self.sources.len() == SRTP_SOURCES_MAX {
                self.sources.pop();
            }
            self.sources.insert(0, Source::new(ssrc));
            0
        });
        &mut self.sources[at]
    }
}
