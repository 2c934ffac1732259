//! Windows that slide over images: where each element of a window lies, for convolutions and pools.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::elementwise::{Two, part, unsupported};
use crate::attrs::Attrs;
use crate::error::{Error, Result};

type Candle<T> = candle_core::Result<T>;

/// How windows are laid over what is beyond the edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Padding {
    Same,
    Valid,
    /// Before and after, in the order of height and width.
    Explicit([(usize, usize); 2]),
}

/// The attributes of a window.
#[derive(Debug, Clone)]
pub(crate) struct Sliding {
    pub(crate) padding: Padding,
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    pub(crate) channels_first: bool,
}

impl Sliding {
    pub(crate) fn new(attrs: &Attrs<'_>) -> Result<Self> {
        let format = attrs.text("data_format", "NHWC")?;
        let channels_first = match format {
            "NHWC" => false,
            "NCHW" => true,
            other => return Err(Error::graph(format!("data format `{other}`"))),
        };
        let pairs = attrs.ints("explicit_paddings")?;
        let pairs = pairs
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[before, after]| Some((size(*before)?, size(*after)?)));
        let pairs = pairs.collect::<Option<Vec<(usize, usize)>>>().unwrap_or_default();
        let padding = match attrs.text("padding", "VALID")? {
            "SAME" => Padding::Same,
            "VALID" => Padding::Valid,
            "EXPLICIT" => Padding::Explicit(
                spatial(&pairs, channels_first)
                    .ok_or_else(|| Error::graph(format!("explicit paddings of {pairs:?}")))?,
            ),
            other => return Err(Error::graph(format!("padding `{other}`"))),
        };
        Ok(Sliding {
            padding,
            strides: pair(&attrs.ints("strides")?, channels_first)?,
            dilations: pair(&attrs.ints("dilations")?, channels_first)?,
            channels_first,
        })
    }

    /// The windows over an image of `[n, height, width, channels]`.
    pub(crate) fn over(&self, dims: (usize, usize, usize, usize), kernel: [usize; 2]) -> Result<Windows> {
        let (n, height, width, channels) = dims;
        let padding = |axis: usize| match &self.padding {
            Padding::Explicit([h, w]) => Some(if axis == 0 { *h } else { *w }),
            _ => None,
        };
        let [kernel_h, kernel_w] = kernel;
        let [stride_h, stride_w] = self.strides;
        let [dilation_h, dilation_w] = self.dilations;
        let same = self.padding == Padding::Same;
        let h = Axis::new(height, kernel_h, stride_h, dilation_h, padding(0), same)?;
        let w = Axis::new(width, kernel_w, stride_w, dilation_w, padding(1), same)?;
        let product = |sizes: [usize; 6]| {
            sizes
                .into_iter()
                .try_fold(1usize, |product, size| product.checked_mul(size.max(1)))
        };
        let windows = product([n, h.output, w.output, h.kernel, w.kernel, channels]);
        let images = product([n, height, width, channels, 1, 1]);
        match windows.is_some() && images.is_some() {
            true => Ok(Windows { n, h, w, channels }),
            false => Err(Error::operand("there are more windows than memory has places")),
        }
    }
}

fn size(value: i64) -> Option<usize> {
    usize::try_from(value).ok().filter(|size| *size < 1 << 32)
}

fn spatial<T: Copy>(all: &[T], channels_first: bool) -> Option<[T; 2]> {
    match (all, channels_first) {
        ([_, h, w, _], false) | ([_, _, h, w], true) => Some([*h, *w]),
        _ => None,
    }
}

/// Height and width of four numbers, of which the others are 1; of none, 1.
pub(crate) fn pair(values: &[i64], channels_first: bool) -> Result<[usize; 2]> {
    if values.is_empty() {
        return Ok([1, 1]);
    }
    let sizes = values
        .iter()
        .map(|value| size(*value).filter(|size| *size > 0))
        .collect::<Option<Vec<usize>>>();
    let sizes = sizes.filter(|sizes| {
        let outside = if channels_first {
            sizes.iter().take(2).copied().collect()
        } else {
            sizes
                .first()
                .into_iter()
                .chain(sizes.last())
                .copied()
                .collect::<Vec<usize>>()
        };
        outside.iter().all(|size| *size == 1)
    });
    let found = sizes.and_then(|sizes| spatial(&sizes, channels_first));
    found.ok_or_else(|| {
        Error::operand(format!(
            "windows of {values:?}: only height and width may differ from 1"
        ))
    })
}

/// Windows along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Axis {
    fn new(
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        padding: Option<(usize, usize)>,
        same: bool,
    ) -> Result<Self> {
        let wrong = || Error::operand(format!("a window of {kernel} by {stride} over {input}"));
        if stride == 0 || dilation == 0 || kernel == 0 {
            return Err(wrong());
        }
        let extent = (kernel - 1)
            .checked_mul(dilation)
            .and_then(|extent| extent.checked_add(1))
            .ok_or_else(wrong)?;
        let (output, before) = match (padding, same) {
            (None, true) => {
                let output = input.div_ceil(stride);
                let needed = output.saturating_sub(1).saturating_mul(stride).saturating_add(extent);
                (output, needed.saturating_sub(input) / 2)
            }
            (padding, _) => {
                let (before, after) = padding.unwrap_or_default();
                let padded = input
                    .checked_add(before)
                    .and_then(|sum| sum.checked_add(after))
                    .ok_or_else(wrong)?;
                // TensorFlow rounds towards 0: a window that is a little too large has no place, a larger one is an error.
                let output = match padded.saturating_add(stride).checked_sub(extent) {
                    Some(rest) => rest / stride,
                    None if extent - padded - stride < stride => 0,
                    None => return Err(wrong()),
                };
                (output, before)
            }
        };
        Ok(Axis {
            input,
            output,
            kernel,
            stride,
            dilation,
            before,
        })
    }

    /// Where an element of a window lies; `None` beyond the edges.
    fn place(&self, window: usize, element: usize) -> Option<usize> {
        let place = (window * self.stride + element * self.dilation).checked_sub(self.before)?;
        (place < self.input).then_some(place)
    }

    /// Whether windows are the elements themselves.
    fn is_plain(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.input == self.output
    }
}

/// Windows over a batch of images in NHWC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) n: usize,
    pub(crate) h: Axis,
    pub(crate) w: Axis,
    pub(crate) channels: usize,
}

impl Windows {
    pub(crate) fn is_plain(&self) -> bool {
        self.h.is_plain() && self.w.is_plain()
    }

    pub(crate) fn taps(&self) -> usize {
        self.h.kernel * self.w.kernel
    }

    pub(crate) fn output(&self) -> [usize; 3] {
        [self.n, self.h.output, self.w.output]
    }

    pub(super) fn inputs(&self) -> usize {
        self.n * self.h.input * self.w.input
    }

    pub(crate) fn outputs(&self) -> usize {
        self.n * self.h.output * self.w.output
    }

    /// Calls `f` with the pixel, the window and the element of the window, for each that lies within the image, windows in order.
    #[inline]
    pub(super) fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        for n in 0..self.n {
            for y in 0..self.h.output {
                for x in 0..self.w.output {
                    let window = (n * self.h.output + y) * self.w.output + x;
                    for i in 0..self.h.kernel {
                        let Some(row) = self.h.place(y, i) else { continue };
                        for j in 0..self.w.kernel {
                            let Some(column) = self.w.place(x, j) else { continue };
                            let pixel = (n * self.h.input + row) * self.w.input + column;
                            f(pixel, window, i * self.w.kernel + j);
                        }
                    }
                }
            }
        }
    }
}

/// The row of `width` elements at a place of a table.
#[inline]
pub(super) fn row<T>(table: &[T], place: usize, width: usize) -> &[T] {
    table.get(place * width..(place + 1) * width).unwrap_or_default()
}

#[inline]
pub(super) fn row_mut<T>(table: &mut [T], place: usize, width: usize) -> &mut [T] {
    table.get_mut(place * width..(place + 1) * width).unwrap_or_default()
}

/// Numbers that windows compute with.
pub(super) trait Number:
    Copy + PartialOrd + std::ops::AddAssign + std::ops::Mul<Output = Self> + std::ops::Div<Output = Self>
{
    const ZERO: Self;
    const LEAST: Self;
    fn of_count(count: usize) -> Self;
    fn is_nan(self) -> bool;
}

macro_rules! number {
    ($float:ty) => {
        impl Number for $float {
            const ZERO: Self = 0.0;
            // What TensorFlow starts with.
            const LEAST: Self = <$float>::MIN;
            #[expect(clippy::cast_precision_loss, reason = "no window has so many elements")]
            fn of_count(count: usize) -> Self {
                count as $float
            }
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
number!(f32);
number!(f64);

/// Does `$do` with the elements of one storage, in single or double precision.
macro_rules! unary {
    ($self:ident, $storage:expr, $layout:expr, $do:ident) => {
        match $storage {
            CpuStorage::F32(x) => CpuStorage::F32($self.$do(part(x, $layout)?)),
            CpuStorage::F64(x) => CpuStorage::F64($self.$do(part(x, $layout)?)),
            other => return Err(unsupported(other, $self.name())),
        }
    };
}

/// The elements of each window in a row: `[windows, taps * channels]`.
#[derive(Debug, Clone, Copy)]
struct Unfold(Windows);

/// Rows of windows added up to images again.
#[derive(Debug, Clone, Copy)]
struct Fold(Windows);

/// Of images in NHWC, contiguous on the CPU, the elements of each window in a row: `[windows, taps * channels]`.
pub(crate) fn unfold(images: &Tensor, windows: Windows) -> Candle<Tensor> {
    images.contiguous()?.apply_op1(Unfold(windows))
}

/// The other way round: elements that lie in several windows are added up.
pub(crate) fn fold(rows: &Tensor, windows: Windows) -> Candle<Tensor> {
    rows.contiguous()?.apply_op1(Fold(windows))
}

impl Unfold {
    fn of<T: Number>(&self, images: &[T]) -> Vec<T> {
        let windows = &self.0;
        let (taps, width) = (windows.taps(), windows.channels);
        let mut rows = vec![T::ZERO; windows.outputs() * taps * width];
        windows.each(|pixel, window, tap| {
            row_mut(&mut rows, window * taps + tap, width).copy_from_slice(row(images, pixel, width));
        });
        rows
    }
}

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Candle<(CpuStorage, Shape)> {
        let rows = unary!(self, storage, layout, of);
        Ok((rows, (self.0.outputs(), self.0.taps() * self.0.channels).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        Ok(Some(fold(gradient, self.0)?))
    }
}

impl Fold {
    fn of<T: Number>(&self, rows: &[T]) -> Vec<T> {
        let windows = &self.0;
        let (taps, width) = (windows.taps(), windows.channels);
        let mut images = vec![T::ZERO; windows.inputs() * width];
        windows.each(|pixel, window, tap| {
            let from = row(rows, window * taps + tap, width);
            for (sum, x) in row_mut(&mut images, pixel, width).iter_mut().zip(from) {
                *sum += *x;
            }
        });
        images
    }
}

impl CustomOp1 for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Candle<(CpuStorage, Shape)> {
        let images = unary!(self, storage, layout, of);
        let Windows { n, h, w, channels } = self.0;
        Ok((images, (n, h.input, w.input, channels).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        Ok(Some(unfold(gradient, self.0)?))
    }
}

/// Largest or mean element of each window, channel by channel.
#[derive(Debug, Clone, Copy)]
struct Pool {
    windows: Windows,
    largest: bool,
}

/// Pools images in NHWC, contiguous on the CPU. Means are of what lies within the image.
pub(crate) fn pool(images: &Tensor, windows: Windows, largest: bool) -> Candle<Tensor> {
    images.contiguous()?.apply_op1(Pool { windows, largest })
}

impl Pool {
    fn of<T: Number>(&self, images: &[T]) -> Vec<T> {
        let (windows, width) = (&self.windows, self.windows.channels);
        match self.largest {
            true => {
                let mut pooled = vec![T::LEAST; windows.outputs() * width];
                windows.each(|pixel, window, _| {
                    for (best, x) in row_mut(&mut pooled, window, width)
                        .iter_mut()
                        .zip(row(images, pixel, width))
                    {
                        if *x > *best || x.is_nan() {
                            *best = *x;
                        }
                    }
                });
                pooled
            }
            false => {
                let mut pooled = vec![T::ZERO; windows.outputs() * width];
                windows.each(|pixel, window, _| {
                    for (sum, x) in row_mut(&mut pooled, window, width)
                        .iter_mut()
                        .zip(row(images, pixel, width))
                    {
                        *sum += *x;
                    }
                });
                for (window, count) in self.counts().into_iter().enumerate() {
                    for sum in row_mut(&mut pooled, window, width) {
                        *sum = *sum / T::of_count(count.max(1));
                    }
                }
                pooled
            }
        }
    }

    /// How many elements of each window lie within the image.
    fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.windows.outputs()];
        self.windows.each(|_, window, _| {
            if let Some(count) = counts.get_mut(window) {
                *count += 1;
            }
        });
        counts
    }

    /// The gradient of the images: to the first of the largest elements, or to all within the image alike.
    fn back<T: Number>(&self, images: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, width) = (&self.windows, self.windows.channels);
        let mut result = vec![T::ZERO; windows.inputs() * width];
        if self.largest {
            let mut best: Vec<(T, usize)> = vec![(T::LEAST, usize::MAX); windows.outputs() * width];
            windows.each(|pixel, window, _| {
                for (held, x) in row_mut(&mut best, window, width)
                    .iter_mut()
                    .zip(row(images, pixel, width))
                {
                    if *x > held.0 || held.1 == usize::MAX {
                        *held = (*x, pixel);
                    }
                }
            });
            for (place, ((_, pixel), gradient)) in best.into_iter().zip(gradient).enumerate() {
                if let Some(sum) = pixel
                    .checked_mul(width)
                    .and_then(|at| result.get_mut(at + place % width.max(1)))
                {
                    *sum += *gradient;
                }
            }
        } else {
            let counts = self.counts();
            windows.each(|pixel, window, _| {
                let count = T::of_count(counts.get(window).copied().unwrap_or(1).max(1));
                for (sum, x) in row_mut(&mut result, pixel, width)
                    .iter_mut()
                    .zip(row(gradient, window, width))
                {
                    *sum += *x / count;
                }
            });
        }
        result
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Candle<(CpuStorage, Shape)> {
        let pooled = unary!(self, storage, layout, of);
        let [n, h, w] = self.windows.output();
        Ok((pooled, (n, h, w, self.windows.channels).into()))
    }

    fn bwd(&self, images: &Tensor, _: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        let back = Two {
            name: "pool_gradient",
            dims: images.dims().to_vec(),
            single: |images: &[f32], gradient: &[f32]| self.back(images, gradient),
            double: |images: &[f64], gradient: &[f64]| self.back(images, gradient),
        };
        let gradient = images
            .detach()
            .contiguous()?
            .apply_op2_no_bwd(&gradient.contiguous()?, &back)?;
        Ok(Some(gradient))
    }
}

/// Where the largest element of each window lies in its image, or in the batch, channel by channel; the first of equal ones.
pub(crate) fn largest_places(images: &[f64], windows: &Windows, in_batch: bool) -> Vec<i64> {
    let width = windows.channels;
    let mut best: Vec<(f64, usize)> = vec![(f64::NEG_INFINITY, 0); windows.outputs() * width];
    windows.each(|pixel, window, _| {
        for (held, x) in row_mut(&mut best, window, width)
            .iter_mut()
            .zip(row(images, pixel, width))
        {
            if *x > held.0 {
                *held = (*x, pixel);
            }
        }
    });
    let area = windows.h.input * windows.w.input;
    let place = |(entry, (_, pixel)): (usize, (f64, usize))| {
        let pixel = if in_batch { pixel } else { pixel % area.max(1) };
        i64::try_from(pixel * width + entry % width.max(1)).unwrap_or(i64::MAX)
    };
    best.into_iter().enumerate().map(place).collect()
}
