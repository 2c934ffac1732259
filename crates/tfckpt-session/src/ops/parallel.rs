//! Work that all cores share, on the threads that products of matrices are computed on.
//!
//! Candle's own elementwise operations have other threads, which go on waiting for more to do for a while: work that goes from
//! one kind of threads to the other has less than all cores.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// So many steps are worth waking other threads for.
const WORTH: usize = 1 << 17;

/// Has `fill` fill a table in parts of so many elements, the last of which may be shorter: it gets the number of a part, and the
/// part. On all cores, if so many steps in all are worth it.
pub(crate) fn fill<T: Send>(table: &mut [T], part: usize, steps: usize, fill: impl Fn(usize, &mut [T]) + Send + Sync) {
    let part = part.max(1);
    let parts = table.chunks_mut(part);
    if steps < WORTH || parts.len() < 2 {
        parts.enumerate().for_each(|(number, part)| fill(number, part));
        return;
    }
    let parts = table.par_chunks_mut(part).enumerate();
    parts.for_each(|(number, part)| fill(number, part));
}

/// How many elements a part has if so many are to be shared: several parts for each thread, so that nobody waits for one that
/// starts late.
pub(crate) fn shared(elements: usize) -> usize {
    elements.div_ceil(4 * rayon::current_num_threads()).max(1)
}

/// A function of each element.
pub(super) fn map<T: Copy + Default + Send + Sync>(values: &[T], f: impl Fn(T) -> T + Send + Sync) -> Vec<T> {
    let mut results = vec![T::default(); values.len()];
    let part = shared(values.len());
    fill(&mut results, part, values.len(), |number, results| {
        let values = values.get(number * part..).unwrap_or_default();
        for (result, value) in results.iter_mut().zip(values) {
            *result = f(*value);
        }
    });
    results
}

/// A function of the elements of two slices of one length.
pub(super) fn zip<T: Copy + Default + Send + Sync>(x: &[T], y: &[T], f: impl Fn(T, T) -> T + Send + Sync) -> Vec<T> {
    let mut results = vec![T::default(); x.len().min(y.len())];
    let part = shared(results.len());
    let steps = results.len();
    fill(&mut results, part, steps, |number, results| {
        let [x, y] = [x, y].map(|values| values.get(number * part..).unwrap_or_default());
        for ((result, x), y) in results.iter_mut().zip(x).zip(y) {
            *result = f(*x, *y);
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_computed_once_on_one_thread_or_on_several() {
        for len in [0usize, 1, 7, WORTH - 1, WORTH, WORTH + 13] {
            let values: Vec<f64> = (0..len).map(|x| x as f64).collect();
            let expected: Vec<f64> = values.iter().map(|x| 2.0 * x).collect();
            assert_eq!(map(&values, |x| x + x), expected);
            assert_eq!(zip(&values, &values, |x, y| x + y), expected);
            let mut counts = vec![0; len];
            fill(&mut counts, 10, usize::MAX, |number, part| {
                part.iter_mut().for_each(|count| *count += number + 1);
            });
            assert!(counts.iter().enumerate().all(|(at, count)| *count == at / 10 + 1));
        }
    }
}
