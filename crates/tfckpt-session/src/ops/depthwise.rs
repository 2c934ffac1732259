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
        let (windows, m) = (&self.windows, self.multiplier);
        let (narrow, wide) = (windows.channels, windows.channels * m);
        let mut result = vec![T::ZERO; windows.outputs() * wide];
        windows.each(|pixel, window, tap| {
            let (image, weights) = (row(images, pixel, narrow), row(filter, tap, wide));
            let sums = row_mut(&mut result, window, wide);
            match m {
                1 => {
                    for ((sum, x), weight) in sums.iter_mut().zip(image).zip(weights) {
                        *sum += *x * *weight;
                    }
                }
                m => {
                    for ((sums, x), weights) in sums.chunks_mut(m).zip(image).zip(weights.chunks(m)) {
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum += *x * *weight;
                        }
                    }
                }
            }
        });
        result
    }

    fn images_back<T: Number>(&self, filter: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, m) = (&self.windows, self.multiplier);
        let (narrow, wide) = (windows.channels, windows.channels * m);
        let mut result = vec![T::ZERO; windows.inputs() * narrow];
        windows.each(|pixel, window, tap| {
            let (weights, gradients) = (row(filter, tap, wide), row(gradient, window, wide));
            let sums = row_mut(&mut result, pixel, narrow);
            for ((sum, weights), gradients) in sums.iter_mut().zip(weights.chunks(m)).zip(gradients.chunks(m)) {
                for (weight, gradient) in weights.iter().zip(gradients) {
                    *sum += *weight * *gradient;
                }
            }
        });
        result
    }

    fn filter_back<T: Number>(&self, images: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, m) = (&self.windows, self.multiplier);
        let (narrow, wide) = (windows.channels, windows.channels * m);
        let mut result = vec![T::ZERO; windows.taps() * wide];
        windows.each(|pixel, window, tap| {
            let (image, gradients) = (row(images, pixel, narrow), row(gradient, window, wide));
            let sums = row_mut(&mut result, tap, wide);
            for ((sums, x), gradients) in sums.chunks_mut(m).zip(image).zip(gradients.chunks(m)) {
                for (sum, gradient) in sums.iter_mut().zip(gradients) {
                    *sum += *x * *gradient;
                }
            }
        });
        result
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
            dims: vec![self.windows.taps(), self.windows.channels * self.multiplier],
            single: |images: &[f32], gradient: &[f32]| self.filter_back(images, gradient),
            double: |images: &[f64], gradient: &[f64]| self.filter_back(images, gradient),
        };
        images
            .detach()
            .contiguous()?
            .apply_op2_no_bwd(&gradient.contiguous()?, &back)
    }
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
        Ok((result, (n, h, w, self.windows.channels * self.multiplier).into()))
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
