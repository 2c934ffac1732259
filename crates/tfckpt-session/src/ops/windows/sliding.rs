//! How windows slide: their sizes, steps and gaps, and what lies beyond the edges.

use std::ops::Range;

use super::Windows;
use crate::attrs::Attrs;
use crate::error::{Error, Result};

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
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
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

    /// The elements of a window that lie within the image.
    pub(crate) fn span(&self, window: usize) -> Range<usize> {
        let start = window * self.stride;
        let first = self.before.saturating_sub(start).div_ceil(self.dilation);
        let beyond = (self.input + self.before).saturating_sub(start).div_ceil(self.dilation);
        let beyond = beyond.min(self.kernel);
        first.min(beyond)..beyond
    }

    /// Where an element of a window lies that lies within the image.
    pub(crate) fn place(&self, window: usize, element: usize) -> usize {
        window * self.stride + element * self.dilation - self.before
    }

    /// The windows of which all elements lie within the image.
    pub(crate) fn inner(&self) -> Range<usize> {
        let whole = |window: &usize| self.span(*window) == (0..self.kernel);
        let first = (0..self.output).find(whole).unwrap_or(self.output);
        let beyond = (first..self.output).find(|window| !whole(window));
        first..beyond.unwrap_or(self.output)
    }

    /// Whether windows are the elements themselves.
    pub(super) fn is_plain(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.input == self.output
    }
}
