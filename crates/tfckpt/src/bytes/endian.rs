//! Byte order. Everything that this crate hands out or takes in as raw bytes is little-endian; the swaps here serve
//! files written by big-endian machines, and big-endian machines themselves.

use crate::dtype::DType;

/// Reverses each word of `bytes` in place: 2, 4 or 8 bytes, each half of a complex number by itself.
pub(crate) fn swap(bytes: &mut [u8], dtype: DType) {
    let word = dtype.word_size();
    if word > 1 {
        bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
    }
}

/// Turns native elements into little-endian ones, and back. Does nothing on little-endian machines.
pub(crate) fn to_little(bytes: &mut [u8], dtype: DType) {
    if cfg!(target_endian = "big") {
        swap(bytes, dtype);
    }
}

/// A swapped copy.
pub(crate) fn swapped(bytes: &[u8], dtype: DType) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    swap(&mut copy, dtype);
    copy
}
