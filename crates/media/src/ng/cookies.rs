//! Answers kept for retransmitted requests. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::limits::{COOKIE_KEPT_MS, COOKIES_MAX};

type Key = (SocketAddr, Vec<u8>);

/// A bounded memory of answers: an old request repeated gets the old answer, not a second
/// effect.
#[derive(Default)]
pub struct Cookies {
    answers: HashMap<Key, (u64, Vec<u8>)>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Cookies {
    /// The answer given to this cookie of this client not long ago.
    pub fn find(&self, from: SocketAddr, cookie: &[u8], now_ms: u64) -> Option<&[u8]> {
        let (at, answer) = self.answers.get(&(from, cookie.to_vec()))?;
        (now_ms.saturating_sub(*at) <= COOKIE_KEPT_MS).then_some(&answer[..])
    }

    /// Keeps an answer; the oldest ones make room.
    pub fn keep(&mut self, from: SocketAddr, cookie: &[u8], answer: Vec<u8>, now_ms: u64) {
        let key = (from, cookie.to_vec());
        if self.answers.insert(key.clone(), (now_ms, answer)).is_none() {
            self.order.push_back(key);
        }
        while let Some(oldest) = self.order.front() {
            let old = self
                .answers
                .get(oldest)
                .is_none_or(|(at, _)| at + COOKIE_KEPT_MS < now_ms);
            if !old && self.order.len() <= COOKIES_MAX {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_answer_is_kept_for_its_client_and_for_a_while() {
        let mut cookies = Cookies::default();
        cookies.keep(client(1), b"a", b"answer".to_vec(), 1_000);
        assert_eq!(cookies.find(client(1), b"a", 2_000), Some(&b"answer"[..]));
        assert_eq!(cookies.find(client(2), b"a", 2_000), None);
        assert_eq!(cookies.find(client(1), b"a", 1_001 + COOKIE_KEPT_MS), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut cookies = Cookies::default();
        for n in 0..2 * COOKIES_MAX {
            cookies.keep(client(1), &n.to_be_bytes(), vec![1], 0);
        }
        assert_eq!(
            (cookies.answers.len(), cookies.order.len()),
            (COOKIES_MAX, COOKIES_MAX)
        );
    }
}
