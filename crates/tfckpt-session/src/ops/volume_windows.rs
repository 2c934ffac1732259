//! Windows of volumes.
//!
//! A window is taken apart into its places: the elements that lie at one place of all windows are a tensor with a step along
//! each axis, and a convolution is the sum of their products with the filter's matrices.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use super::shape::signed;
use crate::context::Context;
use crate::error::{Error, Result};

/// Depth, height and width.
pub(super) type Size = [usize; 3];

/// The most places of a window along one axis: far more than any network's.
const MOST_PLACES: usize = 1 << 7;

/// The windows along one axis.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Axis {
    len: usize,
    size: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    windows: usize,
}

impl Axis {
    pub(super) fn new(len: usize, size: usize, stride: usize, dilation: usize, same: bool) -> Result<Self> {
        let reach = size.checked_sub(1).and_then(|places| places.checked_mul(dilation));
        let reach = reach.filter(|_| size <= MOST_PLACES);
        let reach = reach.ok_or_else(|| Error::operand(format!("windows of {size} places {dilation} apart")))?;
        let windows = match same {
            true => len.div_ceil(stride),
            false => len.saturating_sub(reach).div_ceil(stride),
        };
        let needed = windows.saturating_sub(1).saturating_mul(stride).saturating_add(reach);
        let missing = match same {
            true => needed.saturating_add(1).saturating_sub(len),
            false => 0,
        };
        Ok(Axis {
            len,
            size,
            stride,
            dilation,
            before: missing / 2,
            windows,
        })
    }

    /// The length with all that windows reach beyond the ends.
    fn padded(self) -> usize {
        let reach = (self.size - 1).saturating_mul(self.dilation);
        let last = reach.saturating_add(self.windows.saturating_mul(self.stride));
        last.max(self.before + self.len)
    }

    /// Where a place of a window lies, if it lies within.
    fn at(self, window: usize, place: usize) -> Option<usize> {
        let at = (window * self.stride + place * self.dilation).checked_sub(self.before)?;
        (at < self.len).then_some(at)
    }
}

pub(super) struct Windows {
    pub(super) axes: [Axis; 3],
}

impl Windows {
    pub(super) fn dims_out(&self, dims: &[usize]) -> Result<Vec<usize>> {
        match dims {
            [batch, .., channels] => {
                let [d, h, w] = self.axes.map(|axis| axis.windows);
                Ok(vec![*batch, d, h, w, *channels])
            }
            _ => Err(Error::operand(format!("{dims:?} is no volume"))),
        }
    }

    fn padded(&self, x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        for (dim, axis) in dims.iter_mut().skip(1).zip(self.axes) {
            *dim = axis.padded();
        }
        context.elements(&dims, x.dtype().size_in_bytes())?;
        context.elements(&self.dims_out(x.dims())?, x.dtype().size_in_bytes())?;
        let mut padded = x.clone();
        for (place, axis) in self.axes.iter().enumerate() {
            let after = axis.padded() - axis.before - axis.len;
            if (axis.before, after) != (0, 0) {
                padded = padded.pad_with_zeros(place + 1, axis.before, after)?;
            }
        }
        Ok(padded)
    }

    /// All places of a window.
    fn places(&self) -> impl Iterator<Item = Size> {
        let [d, h, w] = self.axes.map(|axis| axis.size);
        (0..d).flat_map(move |d| (0..h).flat_map(move |h| (0..w).map(move |w| [d, h, w])))
    }

    /// What lies at one place of all windows.
    fn slice(&self, padded: &Tensor, place: Size) -> Result<Tensor> {
        let mut slice = padded.clone();
        for ((at, axis), place) in self.axes.iter().enumerate().zip(place) {
            let at = at + 1;
            slice = slice.narrow(at, place * axis.dilation, axis.windows * axis.stride)?;
            if axis.stride > 1 {
                let mut dims = slice.dims().to_vec();
                dims.splice(at..=at, [axis.windows, axis.stride]);
                slice = slice
                    .contiguous()?
                    .reshape(dims)?
                    .narrow(at + 1, 0, 1)?
                    .squeeze(at + 1)?;
            }
        }
        Ok(slice.contiguous()?)
    }

    /// The other way round: what is at one place of all windows, among zeros where it lies.
    fn put(&self, slice: &Tensor, place: Size) -> Result<Tensor> {
        let mut put = slice.clone();
        for ((at, axis), place) in self.axes.iter().enumerate().zip(place) {
            let at = at + 1;
            if axis.stride > 1 {
                let mut dims = put.dims().to_vec();
                dims.splice(at..=at, [axis.windows * axis.stride]);
                let steps = put.unsqueeze(at + 1)?.pad_with_zeros(at + 1, 0, axis.stride - 1)?;
                put = steps.contiguous()?.reshape(dims)?;
            }
            let start = place * axis.dilation;
            let after = axis.padded() - start - axis.windows * axis.stride;
            put = put.pad_with_zeros(at, start, after)?;
        }
        Ok(put)
    }

    /// Without what was padded.
    fn cropped(&self, padded: &Tensor) -> Result<Tensor> {
        let mut cropped = padded.clone();
        for (place, axis) in self.axes.iter().enumerate() {
            cropped = cropped.narrow(place + 1, axis.before, axis.len)?;
        }
        Ok(cropped.contiguous()?)
    }

    fn matrix(filter: &Tensor, [d, h, w]: Size) -> Result<Tensor> {
        let matrix = filter.narrow(0, d, 1)?.narrow(1, h, 1)?.narrow(2, w, 1)?;
        Ok(matrix.squeeze(0)?.squeeze(0)?.squeeze(0)?.contiguous()?)
    }

    pub(super) fn convolved(&self, x: &Tensor, filter: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let (channels, out) = (filter.dim(3)?, filter.dim(4)?);
        let mut dims = self.dims_out(x.dims())?;
        if x.dim(4)? != channels {
            return Err(Error::operand(format!(
                "a filter of {:?} for channels of {:?}",
                filter.dims(),
                x.dims()
            )));
        }
        if let Some(last) = dims.last_mut() {
            *last = out;
        }
        context.elements(&dims, x.dtype().size_in_bytes())?;
        let padded = self.padded(x, context)?;
        let mut sum: Option<Tensor> = None;
        for place in self.places() {
            let slice = self.slice(&padded, place)?;
            let rows = slice.elem_count().checked_div(channels).unwrap_or(0);
            let product = slice.reshape((rows, channels))?.matmul(&Self::matrix(filter, place)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + product)?,
                None => product,
            });
        }
        let sum = sum.ok_or_else(|| Error::operand("a filter without places"))?;
        Ok(sum.reshape(dims)?)
    }

    /// A convolution turned round: each gradient spread over its window.
    pub(super) fn spread(&self, dy: &Tensor, filter: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let (channels, out) = (filter.dim(3)?, filter.dim(4)?);
        let mut dims = self.dims_out(dy.dims())?;
        if dy.dims() != dims || dy.dim(4)? != out {
            return Err(Error::operand(format!(
                "gradients of {:?}, expected {dims:?} and {out} channels",
                dy.dims()
            )));
        }
        if let Some(last) = dims.last_mut() {
            *last = channels;
        }
        let rows = dy.elem_count().checked_div(out).unwrap_or(0);
        let flat = dy.reshape((rows, out))?;
        self.sum_of_places(context, &dims, |place| {
            let product = flat.matmul(&Self::matrix(filter, place)?.t()?.contiguous()?)?;
            Ok(product.reshape(dims.as_slice())?)
        })
    }

    /// Each element at all places of its window.
    pub(super) fn returned(&self, dy: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let dims = self.dims_out(dy.dims())?;
        if dy.dims() != dims {
            return Err(Error::operand(format!(
                "gradients of {:?}, expected {dims:?}",
                dy.dims()
            )));
        }
        self.sum_of_places(context, &dims, |_| Ok(dy.clone()))
    }

    fn sum_of_places(
        &self,
        context: &Context<'_>,
        dims: &[usize],
        slice: impl Fn(Size) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut padded = dims.to_vec();
        for (dim, axis) in padded.iter_mut().skip(1).zip(self.axes) {
            *dim = axis.padded();
        }
        context.elements(&padded, 8)?;
        let mut sum: Option<Tensor> = None;
        for place in self.places() {
            let put = self.put(&slice(place)?, place)?;
            sum = Some(match sum {
                Some(sum) => (sum + put)?,
                None => put,
            });
        }
        self.cropped(&sum.ok_or_else(|| Error::operand("windows without places"))?)
    }

    /// The gradient by the filter.
    pub(super) fn correlated(
        &self,
        x: &Tensor,
        dy: &Tensor,
        filter: &[usize],
        context: &Context<'_>,
    ) -> Result<Tensor> {
        let (channels, out) = (x.dim(4)?, dy.dim(4)?);
        let dims = self.dims_out(dy.dims())?;
        if dy.dims() != dims || filter.get(3..) != Some(&[channels, out][..]) {
            return Err(Error::operand(format!(
                "gradients of {:?} for a filter of {filter:?}",
                dy.dims()
            )));
        }
        let padded = self.padded(x, context)?;
        let rows = dy.elem_count().checked_div(out).unwrap_or(0);
        let flat = dy.reshape((rows, out))?;
        let mut matrices = Vec::new();
        for place in self.places() {
            let slice = self.slice(&padded, place)?.reshape((rows, channels))?;
            matrices.push(slice.t()?.contiguous()?.matmul(&flat)?);
        }
        Ok(Tensor::stack(&matrices, 0)?.reshape(filter)?)
    }

    pub(super) fn summed(&self, x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let padded = self.padded(x, context)?;
        let mut sum: Option<Tensor> = None;
        for place in self.places() {
            let slice = self.slice(&padded, place)?;
            sum = Some(match sum {
                Some(sum) => (sum + slice)?,
                None => slice,
            });
        }
        sum.ok_or_else(|| Error::operand("windows without places"))
    }

    /// How many elements each window has, `[depth, height, width, 1]`.
    pub(super) fn counts(&self, like: &Tensor) -> Result<Tensor> {
        let mut counts = Tensor::ones((1, 1, 1, 1), DType::F64, &Device::Cpu)?;
        for (place, axis) in self.axes.iter().enumerate() {
            let within = |window: usize| (0..axis.size).filter(|place| axis.at(window, *place).is_some()).count();
            #[expect(clippy::cast_precision_loss, reason = "no window is so large")]
            let own: Vec<f64> = (0..axis.windows).map(|window| within(window).max(1) as f64).collect();
            let mut dims = [1; 4];
            if let Some(dim) = dims.get_mut(place) {
                *dim = axis.windows;
            }
            counts = counts.broadcast_mul(&Tensor::from_vec(own, &dims, &Device::Cpu)?)?;
        }
        Ok(counts.to_dtype(like.dtype())?.to_device(like.device())?)
    }

    /// The largest element of each window. Gradients lead to all that are so large, as TensorFlow's do.
    pub(super) fn maxima(&self, x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let at = self.first_maxima(x, context)?;
        let y = x.detach().flatten_all()?.index_select(&at, 0)?;
        let mut y = y.reshape(self.dims_out(x.dims())?)?;
        if context.tracked {
            let padded = self.padded(x, context)?;
            let largest = y.clone();
            for place in self.places() {
                let slice = self.slice(&padded, place)?;
                let is_largest = slice.eq(&largest)?.to_dtype(x.dtype())?;
                y = (y + (is_largest * (&slice - slice.detach())?)?)?;
            }
        }
        Ok(y)
    }

    /// Each gradient to the elements of its window that are the largest.
    pub(super) fn returned_to_maxima(
        &self,
        x: &Tensor,
        y: &Tensor,
        dy: &Tensor,
        context: &Context<'_>,
    ) -> Result<Tensor> {
        let dims = self.dims_out(x.dims())?;
        if y.dims() != dims || dy.dims() != dims {
            let what = format!(
                "gradients of {:?} for maxima of {:?}, expected {dims:?}",
                dy.dims(),
                y.dims()
            );
            return Err(Error::operand(what));
        }
        let padded = self.padded(x, context)?;
        self.sum_of_places(context, &dims, |place| {
            let is_largest = self.slice(&padded, place)?.eq(y)?.to_dtype(dy.dtype())?;
            Ok((is_largest * dy)?)
        })
    }

    /// Where the first of the largest elements of each window lies.
    fn first_maxima(&self, x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
        let dims = self.dims_out(x.dims())?;
        let count = context.elements(&dims, size_of::<i64>())?;
        let values = x.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?;
        let (storage, layout) = values.storage_and_layout();
        let Storage::Cpu(CpuStorage::F64(all)) = &*storage else {
            return Err(Error::operand("a volume that is not in memory"));
        };
        let all = super::elementwise::part(all, layout)?;
        let mut found = Vec::with_capacity(count);
        let (batch, channels) = (x.dim(0)?, x.dim(4)?);
        let [depth, height, width] = self.axes;
        for n in 0..batch {
            for (d, h, w) in each(depth.windows, height.windows, width.windows) {
                let mut rows = Vec::new();
                for (i, j, k) in each(depth.size, height.size, width.size) {
                    if let (Some(d), Some(h), Some(w)) = (depth.at(d, i), height.at(h, j), width.at(w, k)) {
                        rows.push(((n * depth.len + d) * height.len + h) * width.len + w);
                    }
                }
                for channel in 0..channels {
                    let mut best: Option<(usize, f64)> = None;
                    for row in &rows {
                        let at = row * channels + channel;
                        let value = all.get(at).copied().unwrap_or(f64::NAN);
                        if best.is_none_or(|(_, largest)| value > largest) {
                            best = Some((at, value));
                        }
                    }
                    let (at, _) = best.ok_or_else(|| Error::operand("a window that reaches nothing"))?;
                    found.push(signed(at));
                }
            }
        }
        let len = found.len();
        Ok(Tensor::from_vec(found, len, &Device::Cpu)?.to_device(x.device())?)
    }
}

fn each(d: usize, h: usize, w: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..d).flat_map(move |d| (0..h).flat_map(move |h| (0..w).map(move |w| (d, h, w))))
}
