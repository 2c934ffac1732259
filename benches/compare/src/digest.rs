//! Values that both sides make by one rule, and sums of values that tell whether two sets are the same.

use serde::Serialize;

/// Element `index` of variable `seed`: a float32 in [1, 2) whose bits tensorflow_peer.py computes the same way.
pub(crate) fn value(seed: usize, index: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "arithmetic modulo 2^32")]
    let (seed, index) = (seed as u32, index as u32);
    let mixed = index
        .wrapping_mul(2_654_435_761)
        .wrapping_add(seed.wrapping_mul(40_503));
    f32::from_bits((mixed >> 9) | 0x3F80_0000)
}

/// All elements of variable `seed`.
pub(crate) fn values(seed: usize, elements: usize) -> Vec<f32> {
    (0..elements).map(|index| value(seed, index)).collect()
}

/// Sums over the bits of float32 elements. Their order does not count, so that a transposed kernel, and the same
/// variables under other names, have the same sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Digest {
    elements: u64,
    sum: u64,
    squares: u64,
}

impl Digest {
    pub(crate) fn add(&mut self, elements: &[f32]) {
        self.elements += elements.len() as u64;
        for element in elements {
            let bits = u64::from(element.to_bits());
            self.sum = self.sum.wrapping_add(bits);
            self.squares = self.squares.wrapping_add(bits.wrapping_mul(bits));
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.elements * 4
    }
}
