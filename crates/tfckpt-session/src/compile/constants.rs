//! Constants of the graph.

use candle_core::{Device, Tensor};
use tfckpt::{AttrValue, DType};

use super::Compiler;
use crate::attrs::Attrs;
use crate::dtype::{carried, is_int};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::value::{Strings, TfTensor, Value};

/// The value of a constant, on the device.
pub(super) fn decode(attrs: &Attrs<'_>, compiler: &mut Compiler<'_>) -> Result<Value> {
    decode_constant(attrs, compiler.device, compiler.limits, &mut compiler.constant_bytes)
}

/// The value of a constant, on the device. `all` counts the bytes of all constants.
pub(crate) fn decode_constant(attrs: &Attrs<'_>, device: &Device, limits: &Limits, all: &mut u64) -> Result<Value> {
    let Some(AttrValue::Tensor(tensor)) = attrs.get("value") else {
        return Err(Error::graph("a constant without a value"));
    };
    let wrong = || Error::graph("the values of a constant do not fit its shape");
    let (dtype, shape) = (tensor.dtype().ok_or_else(wrong)?, tensor.shape().ok_or_else(wrong)?);
    let size = carried(dtype).map_or(size_of::<Vec<u8>>(), |dtype| dtype.size_in_bytes());
    let count = limits.elements(shape.dims(), size)?;
    *all += count as u64 * size as u64;
    limits.check_constants(*all)?;
    if dtype == DType::String {
        let last = tensor.strings().last().cloned().unwrap_or_default();
        let mut elements = tensor.strings().to_vec();
        if elements.len() > count {
            return Err(wrong());
        }
        *all += (count - elements.len()) as u64 * last.len() as u64;
        limits.check_constants(*all)?;
        elements.resize(count, last);
        return Ok(Value::Strings(Strings::new(elements, shape.dims())?));
    }
    let bytes = tensor.to_bytes(limits.tensor_bytes()).ok_or_else(wrong)?;
    Ok(from_bytes(&bytes, dtype, shape.dims(), device)?.into())
}

/// A tensor of elements that lie little-endian and row-major. Integers stay on the CPU.
pub(crate) fn from_bytes(bytes: &[u8], dtype: DType, dims: &[usize], device: &Device) -> Result<TfTensor> {
    let tensor = match dtype {
        DType::Bool => Tensor::from_vec(
            bytes.iter().map(|byte| u8::from(*byte != 0)).collect::<Vec<u8>>(),
            dims,
            device,
        )?,
        dtype if is_int(dtype) => Tensor::from_vec(widen(bytes, dtype)?, dims, &Device::Cpu)?,
        DType::Float32 => Tensor::from_vec(numbers(bytes, f32::from_le_bytes), dims, device)?,
        DType::Float64 => Tensor::from_vec(numbers(bytes, f64::from_le_bytes), dims, device)?,
        DType::Float16 => Tensor::from_vec(numbers(bytes, half::f16::from_le_bytes), dims, device)?,
        DType::Bfloat16 => Tensor::from_vec(numbers(bytes, half::bf16::from_le_bytes), dims, device)?,
        dtype => return Err(Error::dtype("a tensor", dtype)),
    };
    Ok(TfTensor { tensor, dtype })
}

/// The bytes of a tensor as a checkpoint has them, little-endian and row-major.
pub(crate) fn to_bytes(tensor: &TfTensor) -> Result<Vec<u8>> {
    let flat = tensor.tensor.to_device(&Device::Cpu)?.flatten_all()?;
    Ok(match tensor.dtype {
        DType::Bool => flat.to_vec1::<u8>()?,
        DType::Float32 => flat.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect(),
        DType::Float64 => flat.to_vec1::<f64>()?.into_iter().flat_map(f64::to_le_bytes).collect(),
        DType::Float16 => flat
            .to_vec1::<half::f16>()?
            .into_iter()
            .flat_map(half::f16::to_le_bytes)
            .collect(),
        DType::Bfloat16 => flat
            .to_vec1::<half::bf16>()?
            .into_iter()
            .flat_map(half::bf16::to_le_bytes)
            .collect(),
        dtype => {
            let size = dtype.size().ok_or_else(|| Error::dtype("a variable", dtype))?;
            let low = |value: i64| value.to_le_bytes().into_iter().take(size);
            tensor.to_ints()?.into_iter().flat_map(low).collect()
        }
    })
}

fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
}

fn widen(bytes: &[u8], dtype: DType) -> Result<Vec<i64>> {
    Ok(match dtype {
        DType::Int8 => numbers(bytes, |b| i64::from(i8::from_le_bytes(b))),
        DType::Uint8 => numbers(bytes, |b| i64::from(u8::from_le_bytes(b))),
        DType::Int16 => numbers(bytes, |b| i64::from(i16::from_le_bytes(b))),
        DType::Uint16 => numbers(bytes, |b| i64::from(u16::from_le_bytes(b))),
        DType::Int32 => numbers(bytes, |b| i64::from(i32::from_le_bytes(b))),
        DType::Uint32 => numbers(bytes, |b| i64::from(u32::from_le_bytes(b))),
        DType::Int64 => numbers(bytes, i64::from_le_bytes),
        DType::Uint64 => {
            let values = numbers(bytes, |b| i64::try_from(u64::from_le_bytes(b)));
            let all: Result<Vec<i64>, _> = values.into_iter().collect();
            all.map_err(|_| Error::operand("a uint64 is larger than any int64, as which it would be carried"))?
        }
        dtype => return Err(Error::dtype("a tensor", dtype)),
    })
}
