//! Windows laid out as rows, and rows added up to images again.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::{Number, Windows, row, row_mut, unary};
use crate::ops::elementwise::{part, unsupported};

type Candle<T> = candle_core::Result<T>;

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
        let mut table = vec![T::ZERO; windows.outputs() * taps * width];
        let steps = table.len();
        windows.fill(&mut table, taps * width, steps, |rows, table| {
            let mut each = table.chunks_mut((taps * width).max(1));
            for row in rows {
                for (x, window) in (0..windows.w.output).zip(&mut each) {
                    self.line_up(images, row, x, window);
                }
            }
        });
        table
    }

    /// One window. Elements without gaps between them lie beside each other in the image, too.
    fn line_up<T: Number>(&self, images: &[T], row: usize, x: usize, window: &mut [T]) {
        let Windows { w, channels, .. } = self.0;
        let span = w.span(x);
        for (i, line) in self.0.lines(row) {
            let tap = i * w.kernel;
            if w.dilation == 1 && !span.is_empty() {
                let (from, to) = (
                    (line + w.place(x, span.start)) * channels,
                    (tap + span.start) * channels,
                );
                let count = span.len() * channels;
                if let (Some(from), Some(to)) = (images.get(from..from + count), window.get_mut(to..to + count)) {
                    to.copy_from_slice(from);
                }
            } else {
                for j in span.clone() {
                    row_mut(window, tap + j, channels).copy_from_slice(super::row(
                        images,
                        line + w.place(x, j),
                        channels,
                    ));
                }
            }
        }
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
        windows.fill_images(&mut images, width, |of_image, image| {
            let first = windows.first_pixel(&of_image);
            windows.each(of_image, |pixel, window, tap| {
                let from = row(rows, window * taps + tap, width);
                for (sum, x) in row_mut(image, pixel - first, width).iter_mut().zip(from) {
                    *sum += *x;
                }
            });
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
