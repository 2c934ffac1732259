//! An order that depends on two numbers and on nothing else.
//!
//! Not one of a crate for random numbers: those improve their shuffles from version to version, and with a new order in
//! the middle of an epoch a resumed run would see some rows twice and others not at all. This one is SplitMix64, Lemire's
//! bounded numbers and the shuffle of Fisher and Yates, and does not change.

/// `0..rows` in the order of this epoch.
pub(super) fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    // One step of the generator between the two, so that epoch 1 of seed 0 is not epoch 0 of seed 1.
    let mut random = SplitMix64(SplitMix64(seed).next() ^ epoch.wrapping_mul(0xd134_2543_de82_ef95));
    for i in (1..rows).rev() {
        order.swap(i, random.below(i + 1));
    }
    order
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, each as likely as the others. Lemire, "Fast random integer generation in an interval".
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the halves of the product are what is wanted"
    )]
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn orders_never_change() {
        // Checkpoints of runs in the middle of an epoch depend on it. Computed by another implementation.
        assert_eq!(shuffled(10, 0, 0), ORDER_0_0);
        assert_eq!(shuffled(10, 0, 1), ORDER_0_1);
        assert_eq!(shuffled(10, 7, 0), ORDER_7_0);
    }

    const ORDER_0_0: [usize; 10] = [1, 2, 5, 7, 0, 8, 4, 3, 9, 6];
    const ORDER_0_1: [usize; 10] = [3, 5, 6, 9, 2, 1, 8, 4, 7, 0];
    const ORDER_7_0: [usize; 10] = [6, 1, 8, 3, 0, 2, 9, 4, 5, 7];

    #[test]
    fn every_row_comes_once_and_every_order_is_as_likely_as_the_others() {
        let mut counts: HashMap<Vec<usize>, u32> = HashMap::new();
        for epoch in 0..24_000 {
            *counts.entry(shuffled(4, 42, epoch)).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        // 1000 each; 6 standard deviations are 186.
        assert!(counts.values().all(|&count| (814..1186).contains(&count)), "{counts:?}");
        for rows in [0, 1, 2, 1000] {
            let mut order = shuffled(rows, 1, 2);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..rows));
        }
    }

    #[test]
    fn seeds_and_epochs_are_not_interchangeable() {
        let orders: Vec<_> = (0..8).flat_map(|a| (0..8).map(move |b| shuffled(50, a, b))).collect();
        let distinct: std::collections::HashSet<_> = orders.iter().collect();
        assert_eq!(distinct.len(), orders.len());
    }
}
