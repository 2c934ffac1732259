//! Training data that does not come twice.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::tensor::Device;

use crate::run::{Shared, TfCheckpoints};

impl TfCheckpoints {
    /// The training data, less what the run before has seen of its last epoch: with it, a run goes on from a checkpoint
    /// in the middle of an epoch as if it had never stopped.
    ///
    /// The batches must come in the same order as before: in that of the file, or shuffled by the epoch's number.
    /// One batch is one step of the optimizer; gradients that are accumulated over several batches are not supported.
    pub fn resume<O: 'static>(&self, loader: Arc<dyn DataLoader<O>>) -> Arc<dyn DataLoader<O>> {
        Arc::new(Rest {
            shared: self.shared.clone(),
            loader,
        })
    }
}

struct Rest<O> {
    shared: Arc<Shared>,
    loader: Arc<dyn DataLoader<O>>,
}

impl<O: 'static> DataLoader<O> for Rest<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let mut batches = self.loader.iter();
        let mut skip = std::mem::take(&mut self.shared.state().skip);
        while skip > 0 && batches.next().is_some() {
            skip -= 1;
        }
        // More than one pass: the run before was stopped before it could note the end of an epoch.
        self.shared.state().skip = skip;
        batches
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Rest {
            shared: self.shared.clone(),
            loader: self.loader.to_device(device),
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(Rest {
            shared: self.shared.clone(),
            loader: self.loader.slice(start, end),
        })
    }
}
