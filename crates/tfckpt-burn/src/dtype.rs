//! Burn's dtypes and TensorFlow's.

use burn::tensor::{BoolStore, Bytes, DType as BurnDType, TensorData};
use tfckpt::DType;

/// The TensorFlow dtype that holds a Burn tensor bit for bit; `None` for quantized ones.
pub(crate) fn stored(dtype: BurnDType) -> Option<DType> {
    Some(match dtype {
        BurnDType::F64 => DType::Float64,
        BurnDType::F32 | BurnDType::Flex32 => DType::Float32,
        BurnDType::F16 => DType::Float16,
        BurnDType::BF16 => DType::Bfloat16,
        BurnDType::I64 => DType::Int64,
        BurnDType::I32 => DType::Int32,
        BurnDType::I16 => DType::Int16,
        BurnDType::I8 => DType::Int8,
        BurnDType::U64 => DType::Uint64,
        BurnDType::U32 => DType::Uint32,
        BurnDType::U16 => DType::Uint16,
        BurnDType::U8 => DType::Uint8,
        BurnDType::Bool(_) => DType::Bool,
        BurnDType::QFloat(_) => return None,
    })
}

/// What Burn has no dtype for, and holds in a wider one.
pub(crate) const LACKS: &[DType] = &[
    DType::Float8E5m2,
    DType::Float8E4m3fn,
    DType::Float8E4m3fnuz,
    DType::Float8E4m3b11fnuz,
    DType::Float8E5m2fnuz,
    DType::Float4E2m1fn,
    DType::Int4,
    DType::Uint4,
    DType::Int2,
    DType::Uint2,
];

/// The dtype of those that Burn has in which a variable of this one is held: the same, or the narrowest that has all its
/// values. `None` if there is none.
pub(crate) fn held_in(stored: DType) -> Option<DType> {
    match stored {
        DType::Float8E5m2
        | DType::Float8E4m3fn
        | DType::Float8E4m3fnuz
        | DType::Float8E4m3b11fnuz
        | DType::Float8E5m2fnuz
        | DType::Float4E2m1fn => Some(DType::Float16),
        DType::Int4 | DType::Int2 => Some(DType::Int8),
        DType::Uint4 | DType::Uint2 => Some(DType::Uint8),
        _ => burn_dtype(stored).map(|_| stored),
    }
}

/// The bytes of a tensor as a TensorFlow variable has them: little-endian, booleans one byte each.
pub(crate) fn to_stored_bytes(data: TensorData) -> Bytes {
    let words = matches!(data.dtype(), BurnDType::Bool(BoolStore::U32));
    let (bytes, ..) = data.into_parts();
    if !words {
        return bytes;
    }
    let (words, _) = bytes.as_chunks::<4>();
    Bytes::from_elems(words.iter().map(|word| u8::from(*word != [0; 4])).collect())
}

/// A tensor of the bytes of a TensorFlow variable, in the dtype of the parameter that it fills.
pub(crate) fn from_stored_bytes(mut bytes: Bytes, shape: Vec<usize>, dtype: BurnDType) -> TensorData {
    match dtype {
        BurnDType::Bool(BoolStore::U32) => {
            bytes = Bytes::from_elems(bytes.iter().map(|&byte| u32::from(byte != 0)).collect());
        }
        // A byte that is neither 0 nor 1 would not be a boolean.
        BurnDType::Bool(_) => bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0)),
        _ => {}
    }
    TensorData::from_bytes(bytes, shape, dtype)
}

/// The Burn dtype of a TensorFlow dtype; `None` where Burn has none.
pub(crate) fn burn_dtype(dtype: DType) -> Option<BurnDType> {
    Some(match dtype {
        DType::Float64 => BurnDType::F64,
        DType::Float32 => BurnDType::F32,
        DType::Float16 => BurnDType::F16,
        DType::Bfloat16 => BurnDType::BF16,
        DType::Int64 => BurnDType::I64,
        DType::Int32 => BurnDType::I32,
        DType::Int16 => BurnDType::I16,
        DType::Int8 => BurnDType::I8,
        DType::Uint64 => BurnDType::U64,
        DType::Uint32 => BurnDType::U32,
        DType::Uint16 => BurnDType::U16,
        DType::Uint8 => BurnDType::U8,
        DType::Bool => BurnDType::Bool(BoolStore::Native),
        _ => return None,
    })
}
