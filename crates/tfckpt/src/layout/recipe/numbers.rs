//! Numbers of the dtypes that recipes compute with, as little-endian bytes.

use crate::dtype::DType;

/// Whether elements can be added.
pub(super) fn is_float(dtype: DType) -> bool {
    let is_half = matches!(dtype, DType::Float16 | DType::Bfloat16);
    matches!(dtype, DType::Float32 | DType::Float64) || (is_half && cfg!(feature = "half"))
}

/// A number as an element; `None` if the dtype does not have it. Floating point is rounded.
pub(super) fn bytes_of(dtype: DType, value: f64) -> Option<Vec<u8>> {
    macro_rules! whole {
        ($type:ty) => {{
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "compared with the value that it came from; some types are wide enough"
            )]
            let whole = value as $type;
            (whole as f64 == value).then(|| whole.to_le_bytes().to_vec())
        }};
    }
    match dtype {
        #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
        DType::Float32 => Some((value as f32).to_le_bytes().to_vec()),
        DType::Float64 => Some(value.to_le_bytes().to_vec()),
        #[cfg(feature = "half")]
        DType::Float16 => Some(half::f16::from_f64(value).to_le_bytes().to_vec()),
        #[cfg(feature = "half")]
        DType::Bfloat16 => Some(half::bf16::from_f64(value).to_le_bytes().to_vec()),
        DType::Bool => (value == 0.0 || value == 1.0).then(|| vec![u8::from(value == 1.0)]),
        DType::Uint8 => whole!(u8),
        DType::Uint16 => whole!(u16),
        DType::Uint32 => whole!(u32),
        DType::Int8 => whole!(i8),
        DType::Int16 => whole!(i16),
        DType::Int32 => whole!(i32),
        // Not every one of them is a float64, but each float64 that is whole and in range is one of them.
        DType::Int64 if value.abs() < 9e18 => whole!(i64),
        DType::Uint64 if (0.0..1.8e19).contains(&value) => whole!(u64),
        _ => None,
    }
}

/// Adds to each element of `to` an element of `numbers`, or its only one. Zero is not added, so that the sign of a zero
/// stays.
pub(super) fn add(dtype: DType, to: &mut [u8], numbers: &[u8]) {
    macro_rules! floats {
        ($type:ty, $zero:expr) => {{
            const SIZE: usize = size_of::<$type>();
            let (to, numbers) = (to.as_chunks_mut::<SIZE>().0, numbers.as_chunks::<SIZE>().0);
            for (element, number) in to.iter_mut().zip(numbers.iter().cycle()) {
                let (old, more) = (<$type>::from_le_bytes(*element), <$type>::from_le_bytes(*number));
                let sum = match (more == $zero, old == $zero) {
                    (true, _) => old,
                    (false, true) => more,
                    (false, false) => old + more,
                };
                *element = sum.to_le_bytes();
            }
        }};
    }
    match dtype {
        DType::Float32 => floats!(f32, 0.0),
        DType::Float64 => floats!(f64, 0.0),
        #[cfg(feature = "half")]
        DType::Float16 => floats!(half::f16, half::f16::ZERO),
        #[cfg(feature = "half")]
        DType::Bfloat16 => floats!(half::bf16, half::bf16::ZERO),
        // Was refused when the recipe was checked.
        _ => {}
    }
}
