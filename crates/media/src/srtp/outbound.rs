//! What is sent to a party.

use super::cipher::Protection;
use super::index::{Window, rollover};
use super::keys::{MasterKey, Stream};
use super::state::{OutboundState, SourceState, ahead};
use super::{ENCRYPTED, GROWTH_MAX, payload_at, rtcp_source, rtp_fields};
use crate::limits::SRTP_SOURCES_MAX;

/// RTCP packets under one key at most (RFC 3711 section 9.2).
const RTCP_INDEX_MAX: u32 = 0x7fff_ffff;

struct Source {
    ssrc: u32,
    sent: Window,
    /// Another engine has sent more than we know of.
    behind: bool,
}

/// Protects packets under one key.
pub struct Outbound {
    key: MasterKey,
    rtp: Protection,
    rtcp: Protection,
    sources: Vec<Source>,
    rtcp_index: u32,
}

impl Outbound {
    /// Nothing was sent yet. RTCP is counted from `rtcp_index` on: what another engine may have
    /// sent under the same key had smaller ones, for no index may be used twice.
    pub fn new(key: MasterKey, rtcp_index: u32) -> Outbound {
        Outbound {
            rtp: key.session(Stream::Rtp),
            rtcp: key.session(Stream::Rtcp),
            key,
            sources: Vec::new(),
            rtcp_index: rtcp_index & (RTCP_INDEX_MAX >> 1),
        }
    }

    /// Goes on where another engine was some time ago; its reports are counted from `rtcp_index`
    /// on, or from where it was if that is further.
    pub fn resumed(state: OutboundState, rtcp_index: u32) -> Outbound {
        let mut out = Outbound::new(state.key, rtcp_index);
        out.rtcp_index = out.rtcp_index.max(state.rtcp_index);
        let known = state.sources.into_iter().take(SRTP_SOURCES_MAX);
        out.sources = known
            .map(|source| Source {
                ssrc: source.ssrc,
                sent: source.rtp.map_or_else(Window::default, Window::at),
                behind: true,
            })
            .collect();
        out
    }

    /// What another engine needs to go on.
    pub fn state(&self) -> OutboundState {
        let sources = self.sources.iter().map(|source| SourceState {
            ssrc: source.ssrc,
            rtp: source.sent.newest(),
            rtcp: None,
        });
        OutboundState {
            key: self.key.clone(),
            sources: sources.collect(),
            rtcp_index: self.rtcp_index,
        }
    }

    /// The key it works with.
    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// Protects an RTP packet of `length` bytes in place; answers its new length. None: it is no
    /// RTP packet, there is no room behind it, or the same packet was sent long ago.
    pub fn protect_rtp(&mut self, room: &mut [u8], length: usize) -> Option<usize> {
        if room.len() < length + GROWTH_MAX {
            return None;
        }
        let (sequence, ssrc) = rtp_fields(&room[..length])?;
        let from = payload_at(&room[..length])?;
        let source = self.source(ssrc);
        if let (true, Some(known)) = (source.behind, source.sent.newest()) {
            let index = ahead(known, sequence);
            // What stands before it was sent by another engine, or never will be.
            source.sent = Window::at(index.saturating_sub(1));
        }
        source.behind = false;
        let index = source.sent.guess(sequence);
        // The same packet twice under one index is only harmless when it is the same one; a relay
        // repeats what the network repeated, but never another payload (RFC 3711 section 9.1).
        if !source.sent.is_new(index) {
            return None;
        }
        source.sent.note(index);
        let rollover = rollover(index);
        let extra = self.rtp.rollover_for_tag(&rollover);
        let tag = self.rtp.seal(&mut room[..length], from, extra, ssrc, index);
        let end = length + self.rtp.tag_bytes();
        room[length..end].copy_from_slice(&tag[..self.rtp.tag_bytes()]);
        Some(end)
    }

    /// Protects an RTCP packet of `length` bytes in place; answers its new length. None: it is no
    /// RTCP packet, there is no room behind it, or the key is used up.
    pub fn protect_rtcp(&mut self, room: &mut [u8], length: usize) -> Option<usize> {
        if room.len() < length + GROWTH_MAX || self.rtcp_index == RTCP_INDEX_MAX {
            return None;
        }
        let ssrc = rtcp_source(&room[..length])?;
        self.rtcp_index += 1;
        let word = (self.rtcp_index | ENCRYPTED).to_be_bytes();
        let index = u64::from(self.rtcp_index);
        let tag = self.rtcp.seal(&mut room[..length], 8, &word, ssrc, index);
        let tag = &tag[..self.rtcp.tag_bytes()];
        let end = length + tag.len() + word.len();
        if self.rtcp.is_aead() {
            room[length..length + tag.len()].copy_from_slice(tag);
            room[length + tag.len()..end].copy_from_slice(&word);
        } else {
            room[length..length + word.len()].copy_from_slice(&word);
            room[length + word.len()..end].copy_from_slice(tag);
        }
        Some(end)
    }

    fn source(&mut self, ssrc: u32) -> &mut Source {
        let found = self.sources.iter().position(|source| source.ssrc == ssrc);
        let at = found.unwrap_or_else(|| {
            if self.sources.len() == SRTP_SOURCES_MAX {
                self.sources.remove(0);
            }
            self.sources.push(Source {
                ssrc,
                sent: Window::default(),
                behind: false,
            });
            self.sources.len() - 1
        });
        &mut self.sources[at]
    }
}
