//! A bounded map that forgets without a list of ages: in two generations, of which the older is
//! dropped whole. Pure; its time is a number in whatever unit its owner counts.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// At most `2 * max` entries; each stays for at least `life` and until `max` newer ones came.
#[derive(Debug)]
pub struct Generations<K, V> {
    max: usize,
    life: u64,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// When the younger generation was begun.
    young_since: u64,
    old_since: u64,
}

impl<K: Hash + Eq, V> Generations<K, V> {
    /// An empty map; `life` is [`u64::MAX`] where only the room counts.
    pub fn new(max: usize, life: u64) -> Self {
        Self {
            max,
            life,
            young: HashMap::new(),
            old: HashMap::new(),
            young_since: 0,
            old_since: 0,
        }
    }

    /// What is known of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Puts an entry into the younger generation.
    pub fn insert(&mut self, key: K, value: V, now: u64) {
        self.turn(now);
        self.young.insert(key, value);
    }

    /// An entry of the older generation moves to the younger one.
    pub fn renew<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, now: u64)
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value, now);
        }
    }

    /// Drops the older generation if the younger one is full or its time is over; what was
    /// inserted before [`Generations::known_since`] may be forgotten then.
    pub fn turn(&mut self, now: u64) {
        if now.saturating_sub(self.young_since) > self.life || self.young.len() >= self.max {
            self.old = std::mem::take(&mut self.young);
            self.old_since = std::mem::replace(&mut self.young_since, now);
        }
    }

    /// Since when nothing was forgotten.
    pub fn known_since(&self) -> u64 {
        self.old_since
    }

    /// Forgets a key.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// How many entries there are; one that was renewed with an insert may count twice.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything, and gives back its memory.
    pub fn clear(&mut self) {
        *self = Self::new(self.max, self.life);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_twice_the_limit_and_the_newest_stay() {
        let mut numbers = Generations::new(10, u64::MAX);
        for number in 0..1_000_u64 {
            numbers.insert(number, number, 0);
            assert!(numbers.len() <= 20);
            for kept in number.saturating_sub(9)..=number {
                assert_eq!(numbers.get(&kept), Some(&kept));
            }
        }
        assert_eq!(numbers.get(&900), None);
        numbers.clear();
        assert!(numbers.is_empty());
    }

    #[test]
    fn an_entry_lives_as_long_as_it_may_and_longer_when_it_is_renewed() {
        let mut names = Generations::new(10, 60);
        names.insert("a".to_owned(), 1, 100);
        names.insert("b".to_owned(), 2, 150);
        names.turn(161);
        assert_eq!(names.known_since(), 100);
        assert_eq!(names.get("a"), Some(&1));
        names.renew("a", 161);
        names.turn(222);
        assert_eq!(names.known_since(), 161);
        assert_eq!((names.get("a"), names.get("b")), (Some(&1), None));
        names.remove("a");
        assert!(names.is_empty());
    }
}
