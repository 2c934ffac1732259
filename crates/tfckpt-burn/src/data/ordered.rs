//! A loader whose order follows from seed and epoch.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Dataset, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::slice::Slice;
use crate::run::{Draws, Shared};

pub(super) struct Ordered<I, O> {
    shared: Arc<Shared>,
    dataset: Arc<dyn Dataset<I>>,
    batcher: Arc<dyn Batcher<I, O>>,
    device: Device,
}

impl<I, O> Ordered<I, O> {
    pub(super) fn new(
        shared: Arc<Shared>,
        dataset: Arc<dyn Dataset<I>>,
        batcher: Arc<dyn Batcher<I, O>>,
        device: Device,
    ) -> Self {
        Ordered {
            shared,
            dataset,
            batcher,
            device,
        }
    }
}

impl<I: Send + Sync + Clone + 'static, O: Send + 'static> DataLoader<O> for Ordered<I, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let mut state = self.shared.state();
        let epoch = state.data.next_epoch;
        state.data.next_epoch += 1;
        let (mut is_over, mut done) = (true, 0);
        if let Some(epochs) = &mut state.hooks.epochs {
            let mut position = epochs.position();
            if position.epoch < epoch {
                (position.epoch, position.row) = (epoch, 0);
            }
            // What another pass handed out and nobody used is handed out again.
            epochs.seek(position.epoch, position.row);
            (is_over, done) = (position.epoch != epoch, position.row);
        }
        drop(state);
        Box::new(Pass {
            loader: self,
            is_over,
            done,
        })
    }

    fn num_items(&self) -> usize {
        self.dataset.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Ordered::new(
            self.shared.clone(),
            self.dataset.clone(),
            self.batcher.clone(),
            device.clone(),
        ))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let state = self.shared.state();
        let epochs = state.hooks.epochs.clone();
        let slice = Slice::new(self.dataset.clone(), self.batcher.clone(), self.device.clone(), epochs);
        Arc::new(slice.of(start..end, state.data.next_epoch))
    }
}

/// The rest of one epoch.
struct Pass<'a, I, O> {
    loader: &'a Ordered<I, O>,
    is_over: bool,
    /// Rows that were handed out, those before a restore included.
    done: usize,
}

impl<I, O> Iterator for Pass<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let Ordered {
            shared,
            dataset,
            batcher,
            device,
        } = self.loader;
        let mut state = shared.state();
        let batch = state.hooks.epochs.as_mut()?.next_batch()?;
        state.data.handed_out += 1;
        state.data.is_last = batch.is_last;
        drop(state);
        self.is_over = batch.is_last;
        self.done += batch.rows.len();
        shared.seed(device, Draws::Batch);
        let items = dataset.get_many(batch.rows);
        Some(items.map(|items| batcher.batch(items, device)))
    }
}

impl<I, O> DataLoaderIterator<O> for Pass<'_, I, O> {
    fn progress(&self) -> Progress {
        let all = self.loader.dataset.len();
        // A last batch may be left out.
        let done = if self.is_over { all } else { self.done };
        Progress::new(done, all, Some("items".to_owned()))
    }
}
