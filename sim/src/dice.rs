//! Chance, from the seed alone: one ChaCha8 stream for each purpose.
//!
//! Integers are sampled here from `next_u64`, so that a seed means the same run whatever version of `rand` is built.
//! Nothing else in the simulator draws.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is for. Drawing more for one purpose never shifts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Plan,
    Network,
    Disk,
    Clock,
    Schedule,
    Workload,
    /// The seeds handed to the shards.
    Core,
    /// Part of the plan too.
    Damage,
}

/// One stream of chance.
#[derive(Clone)]
pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    pub fn new(seed: u64, purpose: Purpose) -> Dice {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8 + 1;
        Dice { rng: ChaCha8Rng::from_seed(key) }
    }

    pub fn word(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Uniform in `0..n`, by multiply and shift: the bias is below 2^-32 for the sizes used here.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "below(0)");
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "between({low}, {high})");
        low + self.below(high - low + 1)
    }

    /// True `ppm` times in a million. Draws nothing for 0, so that a fault switched off costs nothing.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    pub fn coin(&mut self) -> bool {
        self.word() >> 63 == 1
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Spread over magnitudes: `scale` doubled 0 to 5 times, each half as likely, plus a uniform part.
    pub fn skewed(&mut self, scale: u64) -> u64 {
        let doublings = (self.word() >> 32).trailing_zeros().min(5);
        let top = scale << doublings;
        top / 2 + self.below(top.max(2) / 2 + 1)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    pub fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        self.fill(&mut key);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeat() {
        let first = |purpose| Dice::new(7, purpose).word();
        assert_eq!(first(Purpose::Disk), first(Purpose::Disk));
        assert_ne!(first(Purpose::Disk), first(Purpose::Clock));
        assert_ne!(Dice::new(8, Purpose::Disk).word(), first(Purpose::Disk));
    }

    #[test]
    fn samples_stay_in_range() {
        let mut dice = Dice::new(1, Purpose::Plan);
        for _ in 0..1000 {
            assert!(dice.below(3) < 3);
            assert!((5..=9).contains(&dice.between(5, 9)));
            assert!(dice.skewed(100) <= 6400);
        }
        assert!(!dice.chance(0) && dice.chance(1_000_000));
    }
}
