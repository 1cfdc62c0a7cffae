//! Randomness: the operating system's, unless this thread was seeded by a simulation.
//!
//! The Raft library asks for it through a function without arguments, so the seed belongs to the
//! thread and not to [`super::Environment`].

use std::cell::RefCell;
use std::convert::Infallible;

use rand::rngs::{SmallRng, ThreadRng};
use rand::{Rng, SeedableRng, TryRng};

thread_local! {
    static SEEDED: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// From now on everything on this thread that is random follows from `seed`.
#[doc(hidden)]
pub fn seed_this_thread(seed: u64) {
    SEEDED.set(Some(SmallRng::seed_from_u64(seed)));
}

/// 64 random bits.
pub fn bits() -> u64 {
    Dice.next_u64()
}

/// A generator that reads this thread's randomness.
#[derive(Debug, Clone, Copy)]
pub struct Dice;

fn draw<T>(
    seeded: impl FnOnce(&mut SmallRng) -> T,
    real: impl FnOnce(ThreadRng) -> T,
) -> Result<T, Infallible> {
    Ok(SEEDED.with_borrow_mut(|present| match present {
        Some(generator) => seeded(generator),
        None => real(rand::rng()),
    }))
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        draw(Rng::next_u32, |mut real| real.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        draw(Rng::next_u64, |mut real| real.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        SEEDED.with_borrow_mut(|present| match present {
            Some(generator) => generator.fill_bytes(bytes),
            None => rand::rng().fill_bytes(bytes),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_real_dice_do_not() {
        let drawn = std::thread::spawn(|| {
            let series = || {
                seed_this_thread(7);
                [bits(), bits(), bits()]
            };
            (series(), series())
        });
        let (one, two) = drawn.join().expect("no panic");
        assert_eq!(one, two);
        assert_ne!(bits(), bits());
    }
}
