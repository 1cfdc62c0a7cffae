//! What of a call is forwarded. Pure.
//!
//! As in rtpengine, the whole call and single parties are begun and ended apart: who ends the
//! call's ends no party's, unless `all` is said.

use std::sync::Arc;

/// What commands have asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Everybody, also who comes later.
    call: bool,
    /// What the streams begin with whose party has nothing of its own.
    metadata: Option<Arc<str>>,
    /// Tags of single parties, and what their streams begin with.
    parties: Vec<(Arc<str>, Option<Arc<str>>)>,
}

impl Wanted {
    /// Nothing is forwarded.
    pub fn is_nothing(&self) -> bool {
        !self.call && self.parties.is_empty()
    }

    /// Everybody is forwarded from now on.
    pub fn begin_call(&mut self, metadata: Option<Arc<str>>) {
        self.call = true;
        self.metadata = metadata.or_else(|| self.metadata.take());
    }

    /// A party is forwarded from now on.
    pub fn begin(&mut self, tag: &Arc<str>, metadata: Option<Arc<str>>) {
        let known = self.parties.iter_mut().find(|(other, _)| other == tag);
        match known {
            Some((_, known)) => *known = metadata.or_else(|| known.take()),
            None => self.parties.push((Arc::clone(tag), metadata)),
        }
    }

    /// The call is no longer forwarded, but for single parties; with `all` these, too.
    pub fn end_call(&mut self, all: bool) {
        self.call = false;
        if all {
            self.parties.clear();
        }
    }

    /// What was begun for a party has ended.
    pub fn end(&mut self, tag: &str) {
        self.parties.retain(|(other, _)| &**other != tag);
    }

    /// What the stream of a party begins with, empty when nothing was said; none when it is not
    /// forwarded. Its tag is not known before its first answer.
    pub fn metadata(&self, tag: Option<&str>) -> Option<Arc<str>> {
        let mut parties = self.parties.iter();
        let own = parties.find(|(other, _)| Some(&**other) == tag);
        if own.is_none() && !self.call {
            return None;
        }
        let own = own.and_then(|(_, metadata)| metadata.as_ref());
        let metadata = own.or(self.metadata.as_ref());
        Some(metadata.map_or_else(|| "".into(), Arc::clone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Arc<str>> {
        Some(text.into())
    }

    #[test]
    fn a_call_is_everybody_also_who_has_no_tag_yet() {
        let mut wanted = Wanted::default();
        assert!(wanted.is_nothing() && wanted.metadata(Some("a")).is_none());
        wanted.begin_call(text("m"));
        assert_eq!(wanted.metadata(Some("a")), text("m"));
        assert_eq!(wanted.metadata(None), text("m"));
        wanted.begin_call(None);
        assert_eq!(wanted.metadata(None), text("m"), "said once is enough");
        wanted.end_call(false);
        assert!(wanted.is_nothing() && wanted.metadata(None).is_none());
    }

    #[test]
    fn parties_are_begun_and_ended_apart_from_the_call() {
        let mut wanted = Wanted::default();
        wanted.begin(&"a".into(), text("of a"));
        assert_eq!(wanted.metadata(Some("a")), text("of a"));
        assert_eq!(
            (wanted.metadata(Some("b")), wanted.metadata(None)),
            (None, None)
        );
        wanted.begin_call(text("m"));
        assert_eq!(wanted.metadata(Some("a")), text("of a"));
        assert_eq!(wanted.metadata(Some("b")), text("m"));
        wanted.end_call(false);
        assert_eq!(wanted.metadata(Some("a")), text("of a"));
        assert_eq!(wanted.metadata(Some("b")), None);
        wanted.end("a");
        assert!(wanted.is_nothing());
        wanted.begin(&"a".into(), None);
        assert_eq!(
            wanted.metadata(Some("a")),
            text("m"),
            "the call's, or nothing"
        );
        wanted.end_call(true);
        assert!(wanted.is_nothing());
    }

    #[test]
    fn who_says_nothing_gets_nothing_to_begin_with() {
        let mut wanted = Wanted::default();
        wanted.begin(&"a".into(), None);
        assert_eq!(wanted.metadata(Some("a")), text(""));
        wanted.begin(&"a".into(), text("later"));
        wanted.begin(&"a".into(), None);
        assert_eq!(wanted.metadata(Some("a")), text("later"));
    }
}
