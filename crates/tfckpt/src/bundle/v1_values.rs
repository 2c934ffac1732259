//! The typed values of a V1 record as the bytes of elements.

use crate::dtype::DType;
use crate::proto::v1::Values;

/// How many bytes of elements one byte of a record can hold: an int64 below 128 is a varint of one byte.
pub(super) const MAX_RATIO: u64 = 8;

/// The elements, little-endian; `None` for a dtype that V1 files cannot hold. Values that are too wide for the dtype
/// lose their upper bits, as in TensorFlow.
pub(super) fn to_bytes(values: Values, dtype: DType) -> Option<Vec<u8>> {
    Some(match dtype {
        DType::Float32 => flat(&values.float_val, |value| value.to_le_bytes()),
        DType::Float64 => flat(&values.double_val, |value| value.to_le_bytes()),
        DType::Int32 | DType::Qint32 => flat(&values.int_val, |value| value.to_le_bytes()),
        DType::Uint8 | DType::Int8 | DType::Qint8 | DType::Quint8 => {
            flat(&values.int_val, |value| low::<1>(value.to_le_bytes()))
        }
        DType::Int16 | DType::Uint16 | DType::Qint16 | DType::Quint16 => {
            flat(&values.int_val, |value| low::<2>(value.to_le_bytes()))
        }
        DType::Complex64 => flat(&values.scomplex_val, |value| value.to_le_bytes()),
        DType::Int64 => flat(&values.int64_val, |value| value.to_le_bytes()),
        DType::Bool => flat(&values.bool_val, |value| [u8::from(value)]),
        DType::Complex128 => flat(&values.dcomplex_val, |value| value.to_le_bytes()),
        DType::Float16 => flat(&values.half_val, |value| low::<2>(value.to_le_bytes())),
        _ => return None,
    })
}

fn flat<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

/// The lowest bytes of a little-endian number.
fn low<const N: usize>([a, b, c, d]: [u8; 4]) -> [u8; N] {
    let all = [a, b, c, d];
    std::array::from_fn(|i| all.get(i).copied().unwrap_or_default())
}
