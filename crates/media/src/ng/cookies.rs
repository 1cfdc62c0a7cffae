//! Answers kept for retransmitted requests. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::limits::{COOKIE_KEPT_MS, COOKIES_MAX};

type Key = (SocketAddr, Vec<u8>);

/// A bounded memory of answers: an old request repeated gets the old answer, not a second
/// effect.
#[derive(Default)]
pub struct Cookies {
    answers: HashMap<Key, (u64, Option<Vec<u8>>)>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Cookies {
    /// What is known about this cookie of this client. A new one is under way from now on: its
    /// answer follows by [`Self::keep`].
    pub fn begin(&mut self, from: SocketAddr, cookie: &[u8], now_ms: u64) -> Known {
        let key = (from, cookie.to_vec());
        match self.answers.get(&key) {
            Some((at, answer)) if now_ms.saturating_sub(*at) <= COOKIE_KEPT_MS => {
                answer.clone().map_or(Known::UnderWay, Known::Answered)
            }
            _ => {
                self.insert(key, None, now_ms);
                Known::New
            }
        }
    }

    /// Keeps an answer; the oldest ones make room.
    pub fn keep(&mut self, from: SocketAddr, cookie: &[u8], answer: Vec<u8>, now_ms: u64) {
        self.insert((from, cookie.to_vec()), Some(answer), now_ms);
    }

    fn insert(&mut self, key: Key, answer: Option<Vec<u8>>, now_ms: u64) {
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

/// What is known about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// It came before and is not answered yet.
    UnderWay,
    /// It was answered.
    Answered(Vec<u8>),
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
        assert_eq!(cookies.begin(client(1), b"a", 1_000), Known::New);
        assert_eq!(cookies.begin(client(1), b"a", 1_000), Known::UnderWay);
        cookies.keep(client(1), b"a", b"answer".to_vec(), 1_000);
        let answered = Known::Answered(b"answer".to_vec());
        assert_eq!(cookies.begin(client(1), b"a", 2_000), answered);
        assert_eq!(cookies.begin(client(2), b"a", 2_000), Known::New);
        let later = 1_001 + COOKIE_KEPT_MS;
        assert_eq!(cookies.begin(client(1), b"a", later), Known::New);
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
