//! Between dtypes.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::table::{Ops, one};
use crate::dtype::{carried, is_float, is_int, wrap};
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Cast", |attrs| {
        let dtype = attrs.dtype("DstT", DType::Float32)?;
        one(move |args, context| cast(args.tensor(0)?, dtype, context.device))
    });
}

/// The tensor as another dtype: floats lose their fraction, integers wrap around, whatever is not 0 is true.
pub(crate) fn cast(x: &TfTensor, dtype: DType, device: &Device) -> Result<TfTensor> {
    if x.dtype == dtype {
        return Ok(x.clone());
    }
    let wanted = carried(dtype).ok_or_else(|| Error::dtype("a cast to", dtype))?;
    let tensor = &x.tensor;
    let result = match (is_float(x.dtype), is_float(dtype)) {
        (true, true) => tensor.to_dtype(wanted)?,
        (false, true) => {
            let wide = tensor.to_dtype(match wanted {
                candle_core::DType::F64 => wanted,
                _ => candle_core::DType::F32,
            })?;
            wide.to_device(device)?.to_dtype(wanted)?
        }
        (true, false) => {
            let flat = tensor.detach().to_device(&Device::Cpu)?.flatten_all()?;
            let values = flat.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            match dtype {
                DType::Bool => Tensor::from_vec(
                    values.into_iter().map(|x| u8::from(x != 0.0)).collect::<Vec<u8>>(),
                    tensor.dims(),
                    device,
                )?,
                dtype => {
                    let whole = values.into_iter().map(|x| wrap(dtype, whole(x, dtype)));
                    Tensor::from_vec(whole.collect::<Vec<i64>>(), tensor.dims(), &Device::Cpu)?
                }
            }
        }
        (false, false) if dtype == DType::Bool => {
            let values = x.to_ints()?.into_iter().map(|x| u8::from(x != 0));
            Tensor::from_vec(values.collect::<Vec<u8>>(), tensor.dims(), &Device::Cpu)?
        }
        (false, false) if is_int(dtype) => {
            let values = x.to_ints()?.into_iter().map(|x| wrap(dtype, x));
            Tensor::from_vec(values.collect::<Vec<i64>>(), tensor.dims(), &Device::Cpu)?
        }
        _ => return Err(Error::dtype("a cast to", dtype)),
    };
    Ok(TfTensor { tensor: result, dtype })
}

/// Without the fraction. What does not fit becomes the least value, as it does on the processors that TensorFlow runs on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked"
)]
fn whole(x: f64, dtype: DType) -> i64 {
    let (low, high) = match dtype {
        DType::Int64 | DType::Uint64 | DType::Uint32 => (i64::MIN, i64::MAX),
        // Narrower ones are cast by way of 32 bits.
        _ => (i32::MIN.into(), i32::MAX.into()),
    };
    match x >= low as f64 && x <= high as f64 {
        true => x as i64,
        false => low,
    }
}
