//! What a command says about codecs. Pure.

use super::bencode::{Dict, Value};
use super::request::words;
use crate::limits::CODEC_NAMES_MAX;

/// What to do about codecs (`codec` dictionary): names, or `all`, or `full`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodecFlags {
    /// Not for the answerer, and not used at all.
    pub strip: Vec<String>,
    /// Not for the answerer; the offerer may use them.
    pub mask: Vec<String>,
    /// Excepted from the two above.
    pub offer: Vec<String>,
    /// Offered too.
    pub transcode: Vec<String>,
    /// The offerer uses them even when the answerer does not.
    pub accept: Vec<String>,
}

impl CodecFlags {
    /// Adds names to a list; no more than there is room for.
    pub(super) fn add(&mut self, action: &str, names: impl IntoIterator<Item = String>) {
        let list = match action {
            "strip" => &mut self.strip,
            "mask" => &mut self.mask,
            "offer" | "except" => &mut self.offer,
            "transcode" => &mut self.transcode,
            "accept" => &mut self.accept,
            _ => return,
        };
        let room = CODEC_NAMES_MAX.saturating_sub(list.len());
        list.extend(names.into_iter().take(room));
    }

    /// Reads the dictionary of a command.
    pub(super) fn read(&mut self, dict: &Dict) {
        if let Some(Value::Dict(codecs)) = dict.get(&b"codec"[..]) {
            for action in codecs
                .keys()
                .filter_map(|key| std::str::from_utf8(key).ok())
            {
                self.add(action, words(codecs, action));
            }
        }
    }
}
