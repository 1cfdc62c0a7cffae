//! A port of a peer written down, for another engine.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Named, Stream};
use crate::address::RawAddress;
use crate::limits::PROVED_MAX;

/// What is known of a port of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    named: Named,
    remote: Option<SocketAddr>,
    proved: Vec<SocketAddr>,
}

impl Stream {
    /// What another engine needs to go on.
    pub fn state(&self) -> StreamState {
        let proved = self.proved.iter();
        StreamState {
            named: self.named,
            remote: self.remote.and_then(RawAddress::to_std),
            proved: proved.filter_map(|one| one.to_std()).collect(),
        }
    }

    /// Goes on where another engine was. Packets go where they went; the peer may have moved since,
    /// so its address is learned once more.
    pub fn resumed(state: StreamState) -> Stream {
        let proved = state.proved.into_iter().take(PROVED_MAX);
        Stream {
            named: state.named,
            remote: state.remote.map(RawAddress::from),
            proved: proved.map(RawAddress::from).collect(),
            ..Stream::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_successor_sends_where_was_learned_and_learns_once_more() {
        let named = Named {
            address: Some(address("192.168.1.5:4000")),
            signalling: Some(address("203.0.113.7:1").ip()),
            ..Named::default()
        };
        let mut old = Stream::new();
        old.name(named);
        old.learn(&RawAddress::from(address("203.0.113.7:61000")));
        let mut new = Stream::resumed(old.state());
        assert_eq!(new.state(), old.state());
        let remote = new.remote().and_then(|remote| remote.to_std());
        assert_eq!(remote, Some(address("203.0.113.7:61000")));
        let moved = RawAddress::from(address("203.0.113.7:61002"));
        assert_eq!(new.judge(&moved), Source::Learned);
        let stranger = RawAddress::from(address("203.0.113.8:61000"));
        assert_eq!(new.judge(&stranger), Source::Wrong);
        new.learn(&moved);
        assert_eq!(new.judge(&moved), Source::Accepted);
    }

    #[test]
    fn what_checks_have_proved_stays_proved() {
        let mut old = Stream::new();
        old.name(Named {
            checked: true,
            ..Named::default()
        });
        let at = RawAddress::from(address("10.0.0.9:1"));
        old.prove(&at, true);
        let new = Stream::resumed(old.state());
        assert_eq!(new.judge(&at), Source::Accepted);
        assert!(new.remote().is_some_and(|remote| remote.same(&at)));
    }
}
