//! A part of the rows, for one of several devices.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Dataset, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use tfckpt::training::Epochs;

/// The rows of a range, in the order of each epoch. Where a run is within an epoch it does not know.
pub(super) struct Slice<I, O> {
    dataset: Arc<dyn Dataset<I>>,
    batcher: Arc<dyn Batcher<I, O>>,
    device: Device,
    epochs: Option<Epochs>,
    rows: Range<usize>,
    next_epoch: AtomicU64,
}

impl<I, O> Slice<I, O> {
    pub(super) fn new(
        dataset: Arc<dyn Dataset<I>>,
        batcher: Arc<dyn Batcher<I, O>>,
        device: Device,
        epochs: Option<Epochs>,
    ) -> Self {
        Slice {
            rows: 0..dataset.len(),
            dataset,
            batcher,
            device,
            epochs,
            next_epoch: AtomicU64::new(0),
        }
    }

    /// Rows `range` of these, from an epoch on.
    pub(super) fn of(&self, range: Range<usize>, epoch: u64) -> Self {
        let end = self.rows.start.saturating_add(range.end).min(self.rows.end);
        let start = self.rows.start.saturating_add(range.start).min(end);
        Slice {
            rows: start..end,
            next_epoch: AtomicU64::new(epoch),
            ..self.on(&self.device)
        }
    }

    fn on(&self, device: &Device) -> Self {
        Slice {
            dataset: self.dataset.clone(),
            batcher: self.batcher.clone(),
            device: device.clone(),
            epochs: self.epochs.clone(),
            rows: self.rows.clone(),
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        }
    }

    /// The size of the batches, which only a batch tells.
    fn batch_size(&self) -> usize {
        let mut epochs = self.epochs.clone();
        let first = epochs.as_mut().and_then(|epochs| {
            epochs.seek(0, 0);
            epochs.next_batch()
        });
        first.map_or(1, |batch| batch.rows.len().max(1))
    }
}

impl<I: Send + Sync + Clone + 'static, O: Send + 'static> DataLoader<O> for Slice<I, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let order = self.epochs.as_ref().map(|epochs| epochs.order(epoch));
        let order = order.unwrap_or_else(|| self.rows.clone().collect());
        let rows: Vec<usize> = order.into_iter().filter(|row| self.rows.contains(row)).collect();
        Box::new(Pass {
            slice: self,
            batch_size: self.batch_size(),
            all: rows.len(),
            rows: rows.into_iter(),
        })
    }

    fn num_items(&self) -> usize {
        self.rows.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.on(device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.of(start..end, self.next_epoch.load(Ordering::Relaxed)))
    }
}

struct Pass<'a, I, O> {
    slice: &'a Slice<I, O>,
    batch_size: usize,
    all: usize,
    rows: std::vec::IntoIter<usize>,
}

impl<I, O> Iterator for Pass<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows: Vec<usize> = self.rows.by_ref().take(self.batch_size).collect();
        if rows.is_empty() {
            return None;
        }
        let items = self.slice.dataset.get_many(rows);
        Some(items.map(|items| self.slice.batcher.batch(items, &self.slice.device)))
    }
}

impl<I, O> DataLoaderIterator<O> for Pass<'_, I, O> {
    fn progress(&self) -> Progress {
        Progress::new(self.all - self.rows.len(), self.all, Some("items".to_owned()))
    }
}
