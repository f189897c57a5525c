//! Chance that can be repeated.

/// SplitMix64: good enough to choose sectors, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Moves a random choice of `count` elements to the front.
    pub(crate) fn choose<T>(&mut self, from: &mut [T], count: usize) {
        for at in 0..count.min(from.len()) {
            let other = at + self.below((from.len() - at) as u64) as usize;
            from.swap(at, other);
        }
    }
}
