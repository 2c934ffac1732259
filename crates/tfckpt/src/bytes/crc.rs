//! CRC32C, plain and masked. The two are easily confused, so that only the masked form, the one on disk, has a type
//! that can be stored.

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use crc_fast::{Digest, checksum};

/// A CRC32C (Castagnoli) over bytes seen so far. Fast: it uses the CPU's widest instructions, chosen when it runs; with
/// carry-less multiplication of 512 bits a core hashes 60 GB in a second, and waits for the memory before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crc(u32);

/// A checksum as it is stored: rotated and offset, so that the checksum of data that holds checksums stays strong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MaskedCrc(pub(crate) u32);

const MASK_DELTA: u32 = 0xa282_ead8;

impl Crc {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Crc(low(checksum(Crc32Iscsi, bytes)))
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        // What a digest holds on its way is the checksum before its last step, which inverts all bits.
        let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!self.0));
        digest.update(bytes);
        self.0 = low(digest.finalize());
    }

    /// The checksum of these bytes and `len` more, whose own checksum is `next`.
    pub(crate) fn followed_by(self, next: Crc, len: usize) -> Crc {
        // Most checksums are joined to that of nothing.
        match self.0 {
            0 => next,
            before => Crc(product(before, power_of_x(8, len)) ^ next.0),
        }
    }

    /// Whether these are the same. Under a fuzzer all are: it could never guess a checksum, and would test nothing else.
    pub(crate) fn agrees_with(self, other: Crc) -> bool {
        cfg!(fuzzing) || self == other
    }

    pub(crate) fn value(self) -> u32 {
        self.0
    }

    pub(crate) fn masked(self) -> MaskedCrc {
        MaskedCrc(self.0.rotate_right(15).wrapping_add(MASK_DELTA))
    }
}

impl MaskedCrc {
    pub(crate) fn unmasked(self) -> Crc {
        Crc(self.0.wrapping_sub(MASK_DELTA).rotate_left(15))
    }
}

/// A checksum of 32 bits, of any algorithm's 64.
fn low(checksum: u64) -> u32 {
    u32::try_from(checksum & u64::from(u32::MAX)).unwrap_or(0)
}

/// The polynomial of CRC32C. Checksums are polynomials over two elements: the highest bit is the coefficient of `x^0`.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `x^0` and `x^1`.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

/// `a * b`, modulo the polynomial.
const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = ONE;
    while bit > 0 {
        // Without a branch on what is as good as random.
        sum ^= b & 0u32.wrapping_sub((a & bit != 0) as u32);
        b = (b >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(b & 1));
        bit >>= 1;
    }
    sum
}

/// `x^(2^i)` for each `i`. Squaring once more gives `x` again.
#[expect(clippy::indexing_slicing, reason = "checked by the compiler, which computes it")]
const SQUARES: [u32; 31] = {
    let mut squares = [X; 31];
    let mut i = 1;
    while i < squares.len() {
        squares[i] = product(squares[i - 1], squares[i - 1]);
        i += 1;
    }
    assert!(product(squares[30], squares[30]) == X, "the powers go round");
    squares
};

/// `x^(factor * count)`; `factor` is a power of two. In about a microsecond, where `crc_fast::checksum_combine` takes 40:
/// joining is done for every megabyte that is read.
fn power_of_x(factor: u32, count: usize) -> u32 {
    let mut power = ONE;
    let (mut count, mut squares) = (count, SQUARES.iter().cycle().skip(factor.trailing_zeros() as usize));
    while count > 0 {
        let square = squares.next().copied().unwrap_or(ONE);
        if count & 1 == 1 {
            power = product(square, power);
        }
        count >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

        /// Against an implementation that shares nothing with the one we use.
        #[test]
        fn checksums_are_those_of_another_implementation(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            at in 0usize..5000,
        ) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            let expected = crc32c::crc32c(&bytes);
            prop_assert_eq!(Crc::of(&bytes).value(), expected);
            let mut extended = Crc::of(head);
            extended.extend(tail);
            prop_assert_eq!(extended.value(), expected);
            prop_assert_eq!(Crc::of(head).followed_by(Crc::of(tail), tail.len()).value(), expected);
        }
    }

    #[test]
    fn the_vectors_of_the_format_document_hold() {
        let cases: [(&[u8], u32); 5] = [
            (b"", 0),
            (b"a", 0xc1d0_4330),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
        ];
        for (bytes, crc) in cases {
            assert_eq!(Crc::of(bytes).value(), crc);
            assert_eq!(Crc::of(bytes).masked().unmasked(), Crc::of(bytes));
        }
        assert_eq!(Crc::of(b"").masked().0, 0xa282_ead8);
    }

    /// Longer than what is worth hashing in a test.
    #[test]
    fn checksums_of_any_length_are_joined_as_by_another_implementation() {
        for len in [
            1,
            63,
            1 << 20,
            (1 << 32) - 1,
            1 << 32,
            (1 << 40) + 12_345,
            usize::MAX >> 3,
        ] {
            let expected = crc32c::crc32c_combine(0x1234_5678, 0x9abc_def0, len);
            assert_eq!(
                Crc(0x1234_5678).followed_by(Crc(0x9abc_def0), len).value(),
                expected,
                "{len}"
            );
        }
    }

    #[test]
    fn extending_equals_hashing_the_concatenation() {
        let mut crc = Crc::of(b"1234");
        crc.extend(b"56789");
        assert_eq!(crc, Crc::of(b"123456789"));
        assert_eq!(Crc::of(b"1234").followed_by(Crc::of(b"56789"), 5), crc);
        assert_eq!(Crc::default().followed_by(Crc::of(b"56789"), 5), Crc::of(b"56789"));
    }
}
