//! A loader of Burn's, from where the run before was.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::run::{Draws, Shared};

pub(super) struct Rest<O> {
    shared: Arc<Shared>,
    loader: Arc<dyn DataLoader<O>>,
    device: Device,
}

impl<O> Rest<O> {
    pub(super) fn new(shared: Arc<Shared>, loader: Arc<dyn DataLoader<O>>) -> Self {
        Rest {
            shared,
            loader,
            device: Device::default(),
        }
    }
}

impl<O: 'static> DataLoader<O> for Rest<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let mut state = self.shared.state();
        let passes_behind = std::mem::take(&mut state.data.passes_behind);
        let mut skip = std::mem::take(&mut state.data.skip);
        let before = (skip > 0).then(|| state.hooks.states.snapshot());
        drop(state);
        // Each draws an order, and fetches nothing.
        for _ in 0..passes_behind {
            drop(self.loader.iter());
        }
        let mut batches = self.loader.iter();
        let mut skipped = 0;
        while skipped < skip && batches.next().is_some() {
            skipped += 1;
        }
        skip -= skipped;
        let mut state = self.shared.state();
        // More than one pass: a loop written by hand, which counts no epochs.
        state.data.skip = skip;
        state.data.handed_out += skipped;
        if let Some(before) = before {
            // What is left out was made all the same, perhaps with random numbers that have been drawn before.
            state.hooks.states.roll_back(&before);
        }
        drop(state);
        Box::new(Counted {
            shared: &self.shared,
            device: &self.device,
            batches,
        })
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Rest {
            shared: self.shared.clone(),
            loader: self.loader.to_device(device),
            device: device.clone(),
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(Rest {
            shared: self.shared.clone(),
            loader: self.loader.slice(start, end),
            device: self.device.clone(),
        })
    }
}

/// Counts the batches that it hands out.
struct Counted<'a, O> {
    shared: &'a Shared,
    device: &'a Device,
    batches: Box<dyn DataLoaderIterator<O> + 'a>,
}

impl<O> Iterator for Counted<'_, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.shared.seed(self.device, Draws::Batch);
        let batch = self.batches.next()?;
        let is_last = self.batches.progress().is_completed();
        let mut state = self.shared.state();
        state.data.handed_out += 1;
        state.data.is_last = is_last;
        Some(batch)
    }
}

impl<O> DataLoaderIterator<O> for Counted<'_, O> {
    fn progress(&self) -> Progress {
        self.batches.progress()
    }
}
