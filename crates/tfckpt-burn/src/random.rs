//! Numbers that follow from others, and look as if they did not.

/// One number out of several: SplitMix64, with each of them added in turn. Checkpoints of runs that are seeded for each
/// step depend on it, so that it never changes.
pub(crate) fn mixed(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |state, number| {
        let z = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_is_splitmix64_and_no_two_steps_are_alike() {
        // The first number of a generator whose state is the seed.
        assert_eq!(mixed(&[1_234_567]), 6_457_827_717_110_365_317);
        let all: HashSet<u64> = (0..20)
            .flat_map(|seed| (0..20).flat_map(move |step| (0..20).map(move |pass| mixed(&[seed, step, pass]))))
            .collect();
        assert_eq!(all.len(), 8000);
    }
}
