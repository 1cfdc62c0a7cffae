//! Random numbers that follow from the seed.

/// A generator; forks are independent of each other.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The series of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed ^ 0x05ee_d0f7_bed1_ce00);
        dice.bits();
        dice
    }

    /// A generator of its own for one purpose, so that more draws here change nothing there.
    pub fn fork(&mut self) -> Dice {
        Dice(self.bits())
    }

    /// 64 random bits (SplitMix64 by Sebastiano Vigna, public domain).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `from..=to`.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.bits() % (to - from + 1)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    /// One of some things; `None` when there are none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() {
            return None;
        }
        let at = self.bits() % of.len() as u64;
        usize::try_from(at).ok().map(|at| of[at])
    }

    /// One of some things by reference; `None` when there are none.
    pub fn pick_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let places: Vec<usize> = (0..of.len()).collect();
        self.pick(&places).map(|at| &of[at])
    }
}
