//! Windows that slide over images: where each element of a window lies, for convolutions and pools.

mod pooling;
mod sliding;
mod unfold;

use std::ops::Range;

pub(crate) use pooling::{largest_places, pool};
pub(crate) use sliding::{Padding, Sliding, pair};
pub(crate) use unfold::{fold, unfold};

use super::parallel;
use sliding::Axis;

/// Windows over a batch of images in NHWC. A row of windows is those beside each other in one image, numbered through the batch.
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

    fn rows(&self) -> Range<usize> {
        0..self.n * self.h.output
    }

    /// The first pixel of an image's row that a row of windows reaches with these of its elements, for each that lies within
    /// the image.
    pub(super) fn lines(&self, row: usize) -> impl Iterator<Item = (usize, usize)> {
        let (n, y) = (row / self.h.output.max(1), row % self.h.output.max(1));
        let line = move |i| (i, (n * self.h.input + self.h.place(y, i)) * self.w.input);
        self.h.span(y).map(line)
    }

    /// Calls `f` with the pixel, the window and the element of the window, for each that lies within the image, windows in
    /// order.
    #[inline]
    pub(super) fn each(&self, rows: Range<usize>, mut f: impl FnMut(usize, usize, usize)) {
        for row in rows {
            for x in 0..self.w.output {
                let span = self.w.span(x);
                for (i, line) in self.lines(row) {
                    for j in span.clone() {
                        let pixel = line + self.w.place(x, j);
                        f(pixel, row * self.w.output + x, i * self.w.kernel + j);
                    }
                }
            }
        }
    }

    /// Has `fill` fill a table with so many elements for each window, on all cores if that is worth it for so many steps: it
    /// gets rows of windows and their part of the table.
    pub(super) fn fill<T: Send>(
        &self,
        table: &mut [T],
        elements: usize,
        steps: usize,
        fill: impl Fn(Range<usize>, &mut [T]) + Send + Sync,
    ) {
        let (rows, width) = (self.rows().end, self.w.output * elements);
        let each = parallel::shared(rows);
        parallel::fill(table, each * width, steps, |part, table| {
            fill(part * each..rows.min((part + 1) * each), table);
        });
    }

    /// Has `fill` fill a table with so many elements for each pixel, as [`Windows::fill`], but image by image.
    pub(super) fn fill_images<T: Send>(
        &self,
        table: &mut [T],
        elements: usize,
        fill: impl Fn(Range<usize>, &mut [T]) + Send + Sync,
    ) {
        let steps = table.len().saturating_mul(self.taps());
        parallel::fill(table, self.h.input * self.w.input * elements, steps, |image, table| {
            fill(image * self.h.output..(image + 1) * self.h.output, table);
        });
    }

    /// The sum of what `add` adds to so many elements for rows of windows, on all cores if that is worth it. Whatever number of
    /// threads there is, the same is added in the same order.
    pub(super) fn sum<T: Number>(&self, elements: usize, add: impl Fn(Range<usize>, &mut [T]) + Send + Sync) -> Vec<T> {
        let each = self.n.div_ceil(8).max(1);
        let mut parts: Vec<Vec<T>> = vec![Vec::new(); self.n.div_ceil(each)];
        let steps = self.outputs().saturating_mul(self.taps() * self.channels);
        parallel::fill(&mut parts, 1, steps, |number, part| {
            let images = number * each..self.n.min((number + 1) * each);
            for sums in part {
                *sums = vec![T::ZERO; elements];
                add(images.start * self.h.output..images.end * self.h.output, sums);
            }
        });
        let mut total = vec![T::ZERO; elements];
        for part in parts {
            for (sum, x) in total.iter_mut().zip(part) {
                *sum += x;
            }
        }
        total
    }

    /// The first pixel of the image that rows of windows lie in.
    pub(super) fn first_pixel(&self, rows: &Range<usize>) -> usize {
        rows.start / self.h.output.max(1) * self.h.input * self.w.input
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
    Copy + Send + Sync + PartialOrd + std::ops::AddAssign + std::ops::Mul<Output = Self> + std::ops::Div<Output = Self>
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

pub(super) use unary;
