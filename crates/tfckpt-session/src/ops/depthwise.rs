//! Convolutions of each channel by itself, straight through the windows.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::elementwise::{Two, on_both};
use super::windows::{Number, Windows, row, row_mut};

type Candle<T> = candle_core::Result<T>;

/// The convolution of each channel by itself: images `[n, h, w, channels]`, filter `[taps, channels * multiplier]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depthwise {
    pub(crate) windows: Windows,
    pub(crate) multiplier: usize,
}

impl Depthwise {
    /// Output channel `c * multiplier + m` is input channel `c` with filter `m`.
    pub(crate) fn forward(self, images: &Tensor, filter: &Tensor) -> Candle<Tensor> {
        images.contiguous()?.apply_op2(&filter.contiguous()?, self)
    }

    fn of<T: Number>(&self, images: &[T], filter: &[T]) -> Vec<T> {
        let (windows, wide) = (&self.windows, self.wide());
        let mut result = vec![T::ZERO; windows.outputs() * wide];
        let steps = result.len().saturating_mul(windows.taps());
        windows.fill(&mut result, wide, steps, |rows, result| {
            let each = result.chunks_mut((windows.w.output * wide).max(1)).zip(rows);
            // The widest instructions that this machine has.
            pulp::Arch::new().dispatch(|| match self.multiplier {
                1 => each.for_each(|(result, row)| self.row(images, filter, row, result)),
                _ => each.for_each(|(result, row)| self.row_of_several(images, filter, row, result)),
            });
        });
        result
    }

    fn wide(&self) -> usize {
        self.windows.channels * self.multiplier
    }

    /// A row of windows. Those that lie within the image are done four at a time: a weight that was loaded serves four.
    #[inline(always)]
    fn row<T: Number>(&self, images: &[T], filter: &[T], row: usize, result: &mut [T]) {
        let Windows { w, channels, .. } = self.windows;
        let step = w.stride * channels;
        let inner = w.inner();
        let mut taps = Vec::with_capacity(self.windows.taps());
        let mut x = 0;
        while x < w.output {
            taps.clear();
            for (i, line) in self.windows.lines(row) {
                let tap = |j| ((line + w.place(x, j)) * channels, (i * w.kernel + j) * channels);
                taps.extend(w.span(x).map(tap));
            }
            let at = x * channels;
            if inner.contains(&x) && x + 4 <= inner.end {
                let sums = result.get_mut(at..at + 4 * channels).unwrap_or_default();
                Block::<4> {
                    taps: &taps,
                    step,
                    channels,
                }
                .sum(images, filter, sums);
                x += 4;
            } else {
                let sums = result.get_mut(at..at + channels).unwrap_or_default();
                Block::<1> {
                    taps: &taps,
                    step,
                    channels,
                }
                .sum(images, filter, sums);
                x += 1;
            }
        }
    }

    /// A row of windows, several filters for each channel.
    #[inline(always)]
    fn row_of_several<T: Number>(&self, images: &[T], filter: &[T], line: usize, result: &mut [T]) {
        let (narrow, wide) = (self.windows.channels, self.wide());
        let first = line * self.windows.w.output;
        self.windows.each(line..line + 1, |pixel, window, tap| {
            let (image, weights) = (row(images, pixel, narrow), row(filter, tap, wide));
            let sums = row_mut(result, window - first, wide).chunks_mut(self.multiplier);
            for ((sums, x), weights) in sums.zip(image).zip(weights.chunks(self.multiplier)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += *x * *weight;
                }
            }
        });
    }

    fn images_back<T: Number>(&self, filter: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, m) = (&self.windows, self.multiplier);
        let (narrow, wide) = (windows.channels, self.wide());
        let mut result = vec![T::ZERO; windows.inputs() * narrow];
        windows.fill_images(&mut result, narrow, |rows, result| {
            let first = windows.first_pixel(&rows);
            windows.each(rows, |pixel, window, tap| {
                let (weights, gradients) = (row(filter, tap, wide), row(gradient, window, wide));
                let sums = row_mut(result, pixel - first, narrow);
                for ((sum, weights), gradients) in sums.iter_mut().zip(weights.chunks(m)).zip(gradients.chunks(m)) {
                    for (weight, gradient) in weights.iter().zip(gradients) {
                        *sum += *weight * *gradient;
                    }
                }
            });
        });
        result
    }

    fn filter_back<T: Number>(&self, images: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, m) = (&self.windows, self.multiplier);
        let (narrow, wide) = (windows.channels, self.wide());
        windows.sum(windows.taps() * wide, |rows, result| {
            windows.each(rows, |pixel, window, tap| {
                let (image, gradients) = (row(images, pixel, narrow), row(gradient, window, wide));
                let sums = row_mut(result, tap, wide);
                for ((sums, x), gradients) in sums.chunks_mut(m).zip(image).zip(gradients.chunks(m)) {
                    for (sum, gradient) in sums.iter_mut().zip(gradients) {
                        *sum += *x * *gradient;
                    }
                }
            });
        })
    }

    /// The gradient of the images, of filter and the result's gradient.
    pub(crate) fn images_gradient(self, filter: &Tensor, gradient: &Tensor) -> Candle<Tensor> {
        let Windows { n, h, w, channels } = self.windows;
        let back = Two {
            name: "depthwise_images_gradient",
            dims: vec![n, h.input, w.input, channels],
            single: |filter: &[f32], gradient: &[f32]| self.images_back(filter, gradient),
            double: |filter: &[f64], gradient: &[f64]| self.images_back(filter, gradient),
        };
        filter
            .detach()
            .contiguous()?
            .apply_op2_no_bwd(&gradient.contiguous()?, &back)
    }

    /// The gradient of the filter, of the images and the result's gradient.
    pub(crate) fn filter_gradient(self, images: &Tensor, gradient: &Tensor) -> Candle<Tensor> {
        let back = Two {
            name: "depthwise_filter_gradient",
            dims: vec![self.windows.taps(), self.wide()],
            single: |images: &[f32], gradient: &[f32]| self.filter_back(images, gradient),
            double: |images: &[f64], gradient: &[f64]| self.filter_back(images, gradient),
        };
        images
            .detach()
            .contiguous()?
            .apply_op2_no_bwd(&gradient.contiguous()?, &back)
    }
}

/// `X` windows beside each other, of which the same elements lie within the image.
struct Block<'t, const X: usize> {
    /// Where the first window's elements lie in the images, and their weights in the filter.
    taps: &'t [(usize, usize)],
    /// From a window to the next one.
    step: usize,
    channels: usize,
}

impl<const X: usize> Block<'_, X> {
    /// Sums stay in registers while they are summed up: so many channels at once, and those that remain one by one.
    #[inline(always)]
    fn sum<T: Number>(&self, images: &[T], filter: &[T], sums: &mut [T]) {
        let mut channel = 0;
        while channel + 16 <= self.channels {
            self.lanes::<T, 16>(images, filter, channel, sums);
            channel += 16;
        }
        while channel + 4 <= self.channels {
            self.lanes::<T, 4>(images, filter, channel, sums);
            channel += 4;
        }
        for channel in channel..self.channels {
            self.lanes::<T, 1>(images, filter, channel, sums);
        }
    }

    #[inline(always)]
    fn lanes<T: Number, const L: usize>(&self, images: &[T], filter: &[T], channel: usize, result: &mut [T]) {
        let mut sums = [[T::ZERO; L]; X];
        for (image, tap) in self.taps {
            let Some(weights) = lanes::<T, L>(filter, tap + channel) else {
                return;
            };
            for (x, sums) in sums.iter_mut().enumerate() {
                let Some(image) = lanes::<T, L>(images, image + x * self.step + channel) else {
                    return;
                };
                for ((sum, x), weight) in sums.iter_mut().zip(image).zip(weights) {
                    *sum += *x * *weight;
                }
            }
        }
        for (x, sums) in sums.iter().enumerate() {
            if let Some(result) = result
                .get_mut(x * self.channels + channel..)
                .and_then(|rest| rest.first_chunk_mut())
            {
                *result = *sums;
            }
        }
    }
}

#[inline(always)]
fn lanes<T, const L: usize>(values: &[T], at: usize) -> Option<&[T; L]> {
    values.get(at..)?.first_chunk()
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        let single = |x: &[f32], y: &[f32]| self.of(x, y);
        let double = |x: &[f64], y: &[f64]| self.of(x, y);
        let result = on_both((x, x_layout), (y, y_layout), self.name(), single, double)?;
        let [n, h, w] = self.windows.output();
        Ok((result, (n, h, w, self.wide()).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        filter: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let by_images = self.images_gradient(filter, gradient)?;
        let by_filter = self.filter_gradient(images, gradient)?;
        Ok((Some(by_images), Some(by_filter)))
    }
}
