//! Which dtype of TensorFlow is which of safetensors.

use safetensors::Dtype;
use tfckpt::DType;

/// Pairs whose elements have the same bits. The formats' other dtypes have no counterpart: a quantised int8 stored
/// as plain int8 would lose its meaning without a word.
const PAIRS: [(DType, Dtype); 18] = [
    (DType::Bool, Dtype::BOOL),
    (DType::Uint8, Dtype::U8),
    (DType::Int8, Dtype::I8),
    (DType::Float8E5m2, Dtype::F8_E5M2),
    (DType::Float8E4m3fn, Dtype::F8_E4M3),
    (DType::Float8E4m3fnuz, Dtype::F8_E4M3FNUZ),
    (DType::Float8E5m2fnuz, Dtype::F8_E5M2FNUZ),
    (DType::Int16, Dtype::I16),
    (DType::Uint16, Dtype::U16),
    (DType::Float16, Dtype::F16),
    (DType::Bfloat16, Dtype::BF16),
    (DType::Int32, Dtype::I32),
    (DType::Uint32, Dtype::U32),
    (DType::Float32, Dtype::F32),
    (DType::Complex64, Dtype::C64),
    (DType::Float64, Dtype::F64),
    (DType::Int64, Dtype::I64),
    (DType::Uint64, Dtype::U64),
];

/// The safetensors dtype with the same elements.
pub(super) fn to_safetensors(dtype: DType) -> Option<Dtype> {
    PAIRS.iter().find(|pair| pair.0 == dtype).map(|pair| pair.1)
}

/// The TensorFlow dtype with the same elements.
pub(super) fn to_tensorflow(dtype: Dtype) -> Option<DType> {
    PAIRS.iter().find(|pair| pair.1 == dtype).map(|pair| pair.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paired_dtypes_have_elements_of_one_size() {
        for (tensorflow, safetensors) in PAIRS {
            assert_eq!(tensorflow.size().map(|size| size * 8), Some(safetensors.bitsize()));
            assert_eq!(to_safetensors(tensorflow), Some(safetensors));
            assert_eq!(to_tensorflow(safetensors), Some(tensorflow));
        }
    }

    #[test]
    fn dtypes_without_a_counterpart_have_none() {
        for dtype in [
            DType::String,
            DType::Qint8,
            DType::Int4,
            DType::Complex128,
            DType::Float8E4m3b11fnuz,
        ] {
            assert_eq!(to_safetensors(dtype), None);
        }
        assert_eq!(to_tensorflow(Dtype::F4), None);
        assert_eq!(to_tensorflow(Dtype::F8_E8M0), None);
    }
}
