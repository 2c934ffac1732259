//! Functions of one or two numbers that Candle does not have, or has with other edge cases, as operations that gradients
//! lead through.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Shape, Tensor};

use super::parallel;
use crate::error::Result;

type Candle<T> = candle_core::Result<T>;

struct Map<S, D, G> {
    name: &'static str,
    single: S,
    double: D,
    /// The derivative, of operand and result.
    derivative: G,
}

/// Applies a function to each element of a tensor of floats. Half precision computes in single.
pub(crate) fn map(
    x: &Tensor,
    name: &'static str,
    single: impl Fn(f32) -> f32 + Send + Sync + 'static,
    double: impl Fn(f64) -> f64 + Send + Sync + 'static,
    derivative: impl Fn(&Tensor, &Tensor) -> Candle<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let op = Map {
        name,
        single,
        double,
        derivative,
    };
    on_cpu(x, |x| x.contiguous()?.apply_op1(op))
}

/// As [`map`], of a function in double precision.
pub(crate) fn map_double(
    x: &Tensor,
    name: &'static str,
    f: fn(f64) -> f64,
    derivative: fn(&Tensor, &Tensor) -> Candle<Tensor>,
) -> Result<Tensor> {
    map(x, name, move |x| single(f(x.into())), f, derivative)
}

/// The nearest number in single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(crate) fn single(x: f64) -> f32 {
    x as f32
}

/// Computes on the CPU and in single or double precision, wherever and whatever the tensor is.
pub(crate) fn on_cpu(x: &Tensor, f: impl FnOnce(Tensor) -> Candle<Tensor>) -> Result<Tensor> {
    let (device, dtype) = (x.device(), x.dtype());
    let x = x.to_device(&Device::Cpu)?;
    let y = match dtype {
        DType::F16 | DType::BF16 => f(x.to_dtype(DType::F32)?)?.to_dtype(dtype)?,
        _ => f(x)?,
    };
    Ok(y.to_device(device)?)
}

/// In single precision, if the tensor is in half.
pub(crate) fn widened(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => Ok(f(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())?),
        _ => f(x),
    }
}

/// The elements of a contiguous tensor.
pub(crate) fn part<'s, T>(values: &'s [T], layout: &Layout) -> Candle<&'s [T]> {
    let offsets = layout.contiguous_offsets();
    let part = offsets.and_then(|(start, end)| values.get(start..end));
    part.ok_or_else(|| candle_core::Error::Msg("a contiguous tensor is not contiguous".to_owned()).bt())
}

impl<S, D, G> CustomOp1 for Map<S, D, G>
where
    S: Fn(f32) -> f32 + Sync,
    D: Fn(f64) -> f64 + Sync,
    G: Fn(&Tensor, &Tensor) -> Candle<Tensor>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Candle<(CpuStorage, Shape)> {
        let result = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(parallel::map(part(x, layout)?, &self.single)),
            CpuStorage::F64(x) => CpuStorage::F64(parallel::map(part(x, layout)?, &self.double)),
            other => return Err(unsupported(other, self.name)),
        };
        Ok((result, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        Ok(Some((gradient * (self.derivative)(&x.detach(), &y.detach())?)?))
    }
}

struct Zip<S, D, G> {
    name: &'static str,
    single: S,
    double: D,
    /// The derivatives, of operands and result.
    derivatives: G,
}

/// Applies a function to the elements of two tensors of floats of one shape.
pub(crate) fn zip(
    x: &Tensor,
    y: &Tensor,
    name: &'static str,
    single: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
    double: impl Fn(f64, f64) -> f64 + Send + Sync + 'static,
    derivatives: impl Fn(&Tensor, &Tensor, &Tensor) -> Candle<(Tensor, Tensor)> + Send + Sync + 'static,
) -> Result<Tensor> {
    let op = Zip {
        name,
        single,
        double,
        derivatives,
    };
    let y = y.to_device(&Device::Cpu)?;
    let y = match y.dtype() {
        DType::F16 | DType::BF16 => y.to_dtype(DType::F32)?,
        _ => y,
    };
    on_cpu(x, |x| x.contiguous()?.apply_op2(&y.contiguous()?, op))
}

impl<S, D, G> CustomOp2 for Zip<S, D, G>
where
    S: Fn(f32, f32) -> f32 + Sync,
    D: Fn(f64, f64) -> f64 + Sync,
    G: Fn(&Tensor, &Tensor, &Tensor) -> Candle<(Tensor, Tensor)>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let single = |x: &[f32], y: &[f32]| parallel::zip(x, y, &self.single);
        let double = |x: &[f64], y: &[f64]| parallel::zip(x, y, &self.double);
        let result = on_both((x, x_layout), (y, y_layout), self.name, single, double)?;
        Ok((result, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dy) = (self.derivatives)(&x.detach(), &y.detach(), &result.detach())?;
        Ok((Some((gradient * dx)?), Some((gradient * dy)?)))
    }
}

/// A function of the elements of two tensors, without a gradient.
pub(super) struct Two<S, D> {
    pub(super) name: &'static str,
    pub(super) dims: Vec<usize>,
    pub(super) single: S,
    pub(super) double: D,
}

impl<S, D> CustomOp2 for Two<S, D>
where
    S: Fn(&[f32], &[f32]) -> Vec<f32>,
    D: Fn(&[f64], &[f64]) -> Vec<f64>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let result = on_both((x, x_layout), (y, y_layout), self.name, &self.single, &self.double)?;
        Ok((result, self.dims.as_slice().into()))
    }
}

/// What a function makes of the elements of two tensors of one dtype.
pub(crate) fn on_both(
    (x, x_layout): (&CpuStorage, &Layout),
    (y, y_layout): (&CpuStorage, &Layout),
    name: &'static str,
    single: impl Fn(&[f32], &[f32]) -> Vec<f32>,
    double: impl Fn(&[f64], &[f64]) -> Vec<f64>,
) -> Candle<CpuStorage> {
    Ok(match (x, y) {
        (CpuStorage::F32(x), CpuStorage::F32(y)) => CpuStorage::F32(single(part(x, x_layout)?, part(y, y_layout)?)),
        (CpuStorage::F64(x), CpuStorage::F64(y)) => CpuStorage::F64(double(part(x, x_layout)?, part(y, y_layout)?)),
        (other, _) => return Err(unsupported(other, name)),
    })
}

pub(crate) fn unsupported(storage: &CpuStorage, name: &'static str) -> candle_core::Error {
    candle_core::Error::UnsupportedDTypeForOp(candle_core::backend::BackendStorage::dtype(storage), name).bt()
}

/// 1 where a truth holds, in the dtype of `like`.
pub(crate) fn indicator(truth: &Tensor, like: &Tensor) -> Candle<Tensor> {
    truth.to_dtype(like.dtype())
}
