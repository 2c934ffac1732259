//! The largest or the mean element of each window, channel by channel.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::{Number, Windows, row, row_mut, unary};
use crate::ops::elementwise::{Two, part, unsupported};

type Candle<T> = candle_core::Result<T>;

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
        let start = if self.largest { T::LEAST } else { T::ZERO };
        let mut pooled = vec![start; windows.outputs() * width];
        let steps = pooled.len().saturating_mul(windows.taps());
        windows.fill(&mut pooled, width, steps, |rows, pooled| {
            let first = rows.start * windows.w.output;
            if self.largest {
                windows.each(rows, |pixel, window, _| {
                    let best = row_mut(pooled, window - first, width);
                    for (best, x) in best.iter_mut().zip(row(images, pixel, width)) {
                        if *x > *best || x.is_nan() {
                            *best = *x;
                        }
                    }
                });
            } else {
                windows.each(rows.clone(), |pixel, window, _| {
                    let sums = row_mut(pooled, window - first, width);
                    for (sum, x) in sums.iter_mut().zip(row(images, pixel, width)) {
                        *sum += *x;
                    }
                });
                for (place, count) in rows.flat_map(|row| self.counts(row)).enumerate() {
                    for sum in row_mut(pooled, place, width) {
                        *sum = *sum / T::of_count(count);
                    }
                }
            }
        });
        pooled
    }

    /// How many elements of each window of a row lie within the image; 1 of none, to divide by.
    fn counts(&self, row: usize) -> impl Iterator<Item = usize> {
        let lines = self.windows.lines(row).count();
        let count = move |x| (lines * self.windows.w.span(x).len()).max(1);
        (0..self.windows.w.output).map(count)
    }

    /// The gradient of the images: to the first of the largest elements, or to all within the image alike.
    fn back<T: Number>(&self, images: &[T], gradient: &[T]) -> Vec<T> {
        let (windows, width) = (&self.windows, self.windows.channels);
        let mut result = vec![T::ZERO; windows.inputs() * width];
        windows.fill_images(&mut result, width, |rows, result| {
            let (first_window, first_pixel) = (rows.start * windows.w.output, windows.first_pixel(&rows));
            if self.largest {
                let gradient = gradient.get(first_window * width..).unwrap_or_default();
                let best = self.largest(images, rows);
                for (place, (pixel, gradient)) in best.into_iter().zip(gradient).enumerate() {
                    let at = pixel
                        .checked_sub(first_pixel)
                        .and_then(|pixel| pixel.checked_mul(width));
                    if let Some(sum) = at.and_then(|at| result.get_mut(at + place % width.max(1))) {
                        *sum += *gradient;
                    }
                }
            } else {
                let counts: Vec<usize> = rows.clone().flat_map(|row| self.counts(row)).collect();
                windows.each(rows, |pixel, window, _| {
                    let count = T::of_count(counts.get(window - first_window).copied().unwrap_or(1));
                    let sums = row_mut(result, pixel - first_pixel, width);
                    for (sum, x) in sums.iter_mut().zip(row(gradient, window, width)) {
                        *sum += *x / count;
                    }
                });
            }
        });
        result
    }

    /// The pixel of the first of the largest elements of each window, channel by channel.
    fn largest<T: Number>(&self, images: &[T], rows: Range<usize>) -> Vec<usize> {
        let (windows, width) = (&self.windows, self.windows.channels);
        let first = rows.start * windows.w.output;
        let mut best = vec![(T::LEAST, usize::MAX); rows.len() * windows.w.output * width];
        windows.each(rows, |pixel, window, _| {
            let held = row_mut(&mut best, window - first, width);
            for (held, x) in held.iter_mut().zip(row(images, pixel, width)) {
                if *x > held.0 || held.1 == usize::MAX {
                    *held = (*x, pixel);
                }
            }
        });
        best.into_iter().map(|(_, pixel)| pixel).collect()
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
    windows.each(windows.rows(), |pixel, window, _| {
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
