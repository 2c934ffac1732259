//! Which rows come next.

use super::shuffle::shuffled;
use super::states::Checkpointable;
use crate::dtype::DType;
use crate::error::BoxError;

/// Passes over the rows of a data set in batches, and where the training is in them.
///
/// The order of each epoch follows from seed and epoch alone, and is the same on every machine and in every version. The
/// position is part of the checkpoint, so that a run that stops in the middle of an epoch goes on with the next batch: no row
/// is seen twice or left out.
///
/// Batches are handed out by [`next_batch`](Self::next_batch); a batch is done, and counts for a checkpoint, when
/// [`commit`](Self::commit) says so after the step that used it. So batches can be loaded ahead.
///
/// ```
/// use tfckpt::training::Epochs;
///
/// let mut epochs = Epochs::new(10, 4).stop_after(2);
/// let mut sizes = Vec::new();
/// while let Some(batch) = epochs.next_batch() {
///     sizes.push(batch.rows.len());
///     epochs.commit();
/// }
/// assert_eq!(sizes, [4, 4, 2, 4, 4, 2]); // the last of an epoch may be smaller
/// ```
#[derive(Debug, Clone)]
pub struct Epochs {
    rows: usize,
    batch_size: usize,
    seed: Option<u64>,
    drop_last: bool,
    stop_after: u64,
    /// Where the next batch begins.
    next: Position,
    /// The batches before this one are done.
    done: Position,
    /// The order of this epoch.
    order: Option<(u64, Vec<usize>)>,
}

/// A place between two batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The rows of the epoch that come before.
    pub row: usize,
}

/// The rows of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Its number in the epoch, from 0.
    pub number: usize,
    /// The rows of the data set, in the order of the epoch.
    pub rows: Vec<usize>,
    /// Whether the epoch ends with it.
    pub is_last: bool,
    /// Where the next one begins.
    pub end: Position,
}

impl Epochs {
    /// Rows `0..rows` in batches of `batch_size`, in their own order, over and over again. A batch has at least one row.
    pub fn new(rows: usize, batch_size: usize) -> Self {
        Epochs {
            rows,
            batch_size: batch_size.max(1),
            seed: None,
            drop_last: false,
            stop_after: u64::MAX,
            next: Position::default(),
            done: Position::default(),
            order: None,
        }
    }

    /// Another order in each epoch, that follows from `seed`. Takes 8 bytes of memory for each row. Default: that of
    /// the data set.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.order = None;
        self
    }

    /// Whether the last batch of an epoch is left out if it is smaller than the others. Default: false.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// The number of epochs, those before a restore included. Default: no end.
    #[must_use]
    pub fn stop_after(mut self, epochs: u64) -> Self {
        self.stop_after = epochs;
        self
    }

    /// The number of batches in each epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.rows_per_epoch().div_ceil(self.batch_size)
    }

    /// The number of batches in all epochs.
    pub fn batches(&self) -> u64 {
        self.stop_after.saturating_mul(self.batches_per_epoch() as u64)
    }

    /// Where the training is: all batches before are done.
    pub fn position(&self) -> Position {
        self.done
    }

    /// The next batch; `None` after the last epoch, and if there are no rows.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let Position { epoch, row } = self.next;
        if epoch >= self.stop_after || self.rows_per_epoch() == 0 {
            return None;
        }
        let end = row.saturating_add(self.batch_size).min(self.rows_per_epoch());
        let rows = self.rows_of(epoch, row, end);
        let is_last = end == self.rows_per_epoch();
        self.next = match is_last {
            true => Position {
                epoch: epoch + 1,
                row: 0,
            },
            false => Position { epoch, row: end },
        };
        Some(Batch {
            epoch,
            number: row / self.batch_size,
            rows,
            is_last,
            end: self.next,
        })
    }

    /// All batches that were handed out are done.
    pub fn commit(&mut self) {
        self.done = self.next;
    }

    /// This batch and those before it are done; later ones were handed out ahead.
    pub fn commit_through(&mut self, batch: &Batch) {
        self.done = batch.end;
    }

    /// Goes on from here; batches that were handed out ahead are handed out again.
    pub fn seek(&mut self, epoch: u64, row: usize) {
        let position = match row < self.rows_per_epoch() {
            true => Position { epoch, row },
            false => Position {
                epoch: epoch.saturating_add(1),
                row: 0,
            },
        };
        (self.next, self.done) = (position, position);
    }

    /// All rows in the order of this epoch, for a loader that makes its own batches.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        match self.seed {
            Some(seed) => shuffled(self.rows, seed, epoch),
            None => (0..self.rows).collect(),
        }
    }

    fn rows_of(&mut self, epoch: u64, start: usize, end: usize) -> Vec<usize> {
        if self.seed.is_none() {
            return (start..end).collect();
        }
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, self.order(epoch)));
        }
        let order = self.order.as_ref().and_then(|(_, order)| order.get(start..end));
        order.map(<[usize]>::to_vec).unwrap_or_default()
    }

    fn rows_per_epoch(&self) -> usize {
        match self.drop_last {
            true => self.rows - self.rows % self.batch_size,
            false => self.rows,
        }
    }
}

/// In the checkpoint: five int64, `epoch, row, rows, shuffled (0 or 1), seed`. The size of a batch may change from run to run.
/// In the middle of an epoch the number of rows and the seed may not, because no order would then have the same rows
/// before the position. A checkpoint without it is taken to be after as many batches as it has steps.
impl Checkpointable for Epochs {
    fn dtype(&self) -> DType {
        DType::Int64
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Position { epoch, row } = self.done;
        let words = [
            epoch,
            row as u64,
            self.rows as u64,
            u64::from(self.seed.is_some()),
            self.seed.unwrap_or(0),
        ];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        let (words, []) = bytes.as_chunks::<8>() else {
            return Err(format!("{} bytes are no position", bytes.len()).into());
        };
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let [epoch, row, rows, shuffled, seed] = *words.as_slice() else {
            return Err(format!("{} numbers are no position, which has 5", words.len()).into());
        };
        let (was, is) = ((rows, (shuffled != 0).then_some(seed)), (self.rows as u64, self.seed));
        if row != 0 && was != is {
            let order = |(rows, seed): (u64, Option<u64>)| match seed {
                Some(seed) => format!("{rows} rows shuffled by seed {seed}"),
                None => format!("{rows} rows in their own order"),
            };
            return Err(format!(
                "the checkpoint is at row {row} of epoch {epoch} of {}, which is no place in {}: go on with the same, or \
                 from a checkpoint between two epochs",
                order(was),
                order(is)
            )
            .into());
        }
        self.seek(epoch, usize::try_from(row)?);
        Ok(())
    }

    fn missing(&mut self, global_step: i64) -> Result<(), BoxError> {
        let steps = u64::try_from(global_step).unwrap_or(0);
        let batches = self.batches_per_epoch().max(1) as u64;
        let row = usize::try_from(steps % batches)?.saturating_mul(self.batch_size);
        self.seek(steps / batches, row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(mut epochs: Epochs) -> Vec<Batch> {
        std::iter::from_fn(|| epochs.next_batch()).collect()
    }

    fn resumed(from: &Epochs, mut new: Epochs) -> Result<Vec<Batch>, BoxError> {
        new.restore(&from.to_bytes())?;
        Ok(rest(new))
    }

    #[test]
    fn from_every_position_the_same_batches_follow() {
        for (rows, batch_size) in [(1, 1), (10, 3), (12, 4), (7, 100), (3, 1)] {
            for drop_last in [false, true] {
                let new = || {
                    Epochs::new(rows, batch_size)
                        .shuffle(5)
                        .drop_last(drop_last)
                        .stop_after(3)
                };
                let all = rest(new());
                let mut running = new();
                for done in 0..=all.len() {
                    assert_eq!(
                        resumed(&running, new()).unwrap(),
                        all[done..],
                        "{rows} {batch_size} {done}"
                    );
                    running.next_batch();
                    running.commit();
                }
                assert_eq!(all.len() as u64, new().batches());
            }
        }
    }

    #[test]
    fn an_epoch_has_every_row_once_but_for_a_last_batch_that_is_dropped() {
        let all = rest(Epochs::new(10, 4).shuffle(1).stop_after(2));
        for epoch in 0..2 {
            let batches = all.iter().filter(|batch| batch.epoch == epoch);
            let mut rows: Vec<usize> = batches.clone().flat_map(|batch| batch.rows.clone()).collect();
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..10));
            assert!(
                batches
                    .map(|batch| (batch.number, batch.is_last))
                    .eq([(0, false), (1, false), (2, true)])
            );
        }
        let dropped = rest(Epochs::new(10, 4).drop_last(true).stop_after(1));
        assert_eq!(
            dropped.iter().map(|batch| batch.rows.clone()).collect::<Vec<_>>(),
            [[0, 1, 2, 3], [4, 5, 6, 7]]
        );
        assert!(dropped[1].is_last);
    }

    #[test]
    fn what_was_handed_out_ahead_is_handed_out_again() {
        let new = || Epochs::new(10, 2).shuffle(3).stop_after(1);
        let all = rest(new());
        let mut running = new();
        let first = running.next_batch().unwrap();
        running.next_batch();
        running.commit_through(&first);
        assert_eq!(resumed(&running, new()).unwrap(), all[1..]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(Epochs::new(0, 4).next_batch(), None);
        assert_eq!(Epochs::new(3, 4).drop_last(true).next_batch(), None);
        assert_eq!(Epochs::new(3, 4).stop_after(0).next_batch(), None);
        assert_eq!(Epochs::new(2, 0).next_batch().unwrap().rows, [0]);
    }

    #[test]
    fn another_size_of_batches_goes_on_with_the_next_row() {
        let mut running = Epochs::new(10, 4).shuffle(3).stop_after(1);
        running.next_batch();
        running.commit();
        let rows = |batches: &[Batch]| batches.iter().flat_map(|batch| batch.rows.clone()).collect::<Vec<_>>();
        let small = resumed(&running, Epochs::new(10, 1).shuffle(3).stop_after(1)).unwrap();
        assert_eq!(rows(&small), rows(&rest(running)));
    }

    #[test]
    fn another_order_is_refused_in_the_middle_of_an_epoch_and_taken_between_two() {
        let mut running = Epochs::new(10, 5).shuffle(3);
        running.next_batch();
        running.commit();
        for other in [
            Epochs::new(10, 5).shuffle(4),
            Epochs::new(10, 5),
            Epochs::new(11, 5).shuffle(3),
        ] {
            let mut other = other;
            let error = other.restore(&running.to_bytes()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("row 5 of epoch 0 of 10 rows shuffled by seed 3"),
                "{error}"
            );
            assert_eq!(other.position(), Position::default());
        }
        running.next_batch();
        running.commit();
        let mut other = Epochs::new(11, 5).shuffle(4);
        other.restore(&running.to_bytes()).unwrap();
        assert_eq!(other.position(), Position { epoch: 1, row: 0 });
    }

    #[test]
    fn bytes_that_are_no_position_are_refused() {
        for bytes in [&[][..], &[0; 39], &[0; 41], &[0; 48]] {
            assert!(Epochs::new(1, 1).restore(bytes).is_err(), "{}", bytes.len());
        }
        // One behind the end, from a damaged file or a changed `drop_last`, is the start of the next.
        let mut epochs = Epochs::new(10, 5);
        epochs.seek(2, 10);
        assert_eq!(epochs.position(), Position { epoch: 3, row: 0 });
    }

    #[test]
    fn without_a_position_it_follows_from_the_number_of_steps() {
        let mut epochs = Epochs::new(10, 4);
        epochs.missing(7).unwrap();
        assert_eq!(epochs.position(), Position { epoch: 2, row: 4 });
    }
}
