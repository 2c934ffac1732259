//! In which dtype of Candle a dtype of TensorFlow is computed.
//!
//! Candle computes with floats; integers of 16 and 32 bits only store. All integers are carried as I64 on the CPU, and
//! their dtype is remembered, so that they wrap around where TensorFlow's do. Truths are U8.

use tfckpt::DType;

/// The dtype of Candle; `None` for those that cannot be computed with.
pub(crate) fn carried(dtype: DType) -> Option<candle_core::DType> {
    use candle_core::DType as Candle;
    Some(match dtype {
        DType::Float32 => Candle::F32,
        DType::Float64 => Candle::F64,
        DType::Float16 => Candle::F16,
        DType::Bfloat16 => Candle::BF16,
        DType::Bool => Candle::U8,
        dtype if is_int(dtype) => Candle::I64,
        _ => return None,
    })
}

/// Whether a node with this dtype can be compiled.
pub(crate) fn is_supported(dtype: DType) -> bool {
    carried(dtype).is_some() || matches!(dtype, DType::String | DType::Resource | DType::Variant)
}

pub(crate) fn is_int(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64)
}

pub(crate) fn is_float(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Float32 | DType::Float64 | DType::Float16 | DType::Bfloat16
    )
}

/// The dtype of TensorFlow that a tensor of Candle has by itself.
pub(crate) fn natural(dtype: candle_core::DType) -> Option<DType> {
    use candle_core::DType as Candle;
    Some(match dtype {
        Candle::F32 => DType::Float32,
        Candle::F64 => DType::Float64,
        Candle::F16 => DType::Float16,
        Candle::BF16 => DType::Bfloat16,
        Candle::U8 => DType::Uint8,
        Candle::U32 => DType::Uint32,
        Candle::I16 => DType::Int16,
        Candle::I32 => DType::Int32,
        Candle::I64 => DType::Int64,
        _ => return None,
    })
}

/// An integer as the dtype holds it: the low bits, with their sign.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "wrapping around is what is wanted"
)]
pub(crate) fn wrap(dtype: DType, value: i64) -> i64 {
    match dtype {
        DType::Int8 => i64::from(value as i8),
        DType::Int16 => i64::from(value as i16),
        DType::Int32 => i64::from(value as i32),
        DType::Uint8 => i64::from(value as u8),
        DType::Uint16 => i64::from(value as u16),
        DType::Uint32 => i64::from(value as u32),
        _ => value,
    }
}

/// The least and the largest value, as far as I64 holds them.
pub(crate) fn range(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DType::Uint8 => (0, u8::MAX.into()),
        DType::Uint16 => (0, u16::MAX.into()),
        DType::Uint32 => (0, u32::MAX.into()),
        DType::Uint64 => (0, i64::MAX),
        DType::Bool => (0, 1),
        _ => (i64::MIN, i64::MAX),
    }
}
