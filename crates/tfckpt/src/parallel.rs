//! Work on all cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` once for each of `0..count`, on at most `threads` threads, this one included. They take the numbers in
/// order, each as soon as it is free, and every thread keeps what it needs in a value of its own. Gives the results in
/// order. After an error nothing more is begun; of several, that of the lowest number is returned.
///
/// A thread that the system does not give is done without.
pub(crate) fn for_each<W, T: Send, E: Send>(
    count: usize,
    threads: usize,
    worker: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let take_part = || {
        let mut worker = worker();
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let result = work(&mut worker, number);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((number, result));
        }
        done
    };
    let take_part = &take_part;
    let mut all = thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, take_part).ok();
        let others: Vec<_> = (1..threads.min(count)).filter_map(start).collect();
        let mut all = take_part();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                // The work does not panic; if a caller's ever did, here is where it would learn of it.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Values that are handed out once each, to whichever thread asks.
pub(crate) struct Slots<P>(Vec<Mutex<Option<P>>>);

impl<P> Slots<P> {
    pub(crate) fn new(values: impl IntoIterator<Item = P>) -> Self {
        Slots(values.into_iter().map(|value| Mutex::new(Some(value))).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of this number, the first time.
    pub(crate) fn take(&self, number: usize) -> Option<P> {
        let slot = self.0.get(number)?;
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for (count, threads) in [(0, 4), (1, 4), (1000, 1), (1000, 3), (5, 100)] {
            let done: Result<Vec<usize>, ()> = for_each(count, threads, || (), |(), number| Ok(number * 2));
            assert_eq!(done.unwrap(), (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_is_told() {
        let work = |_: &mut (), number| if number < 700 { Ok(()) } else { Err(number) };
        assert_eq!(for_each(1000, 4, || (), work), Err(700));
    }
}
