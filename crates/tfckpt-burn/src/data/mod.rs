//! Training data that does not come twice.

mod ordered;
mod rest;
mod slice;

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, Dataset};
use burn::tensor::Device;
use tfckpt::training::Epochs;

use crate::run::TfCheckpoints;
use ordered::Ordered;
use rest::Rest;

impl TfCheckpoints {
    /// A loader of the training data in the order of the [`epochs`](Self::epochs), which follows from seed and epoch
    /// alone. A resumed run goes on with the next batch; those before are not even fetched.
    ///
    /// Batches are made by the thread that trains, one for each call. It is for training on one device: for strategies
    /// with several, which cut it into slices, each slice keeps the order, but an epoch that was begun starts over.
    /// The number of epochs is the `Learner`'s affair, not that of [`Epochs::stop_after`].
    ///
    /// ```no_run
    /// # use burn::data::dataloader::{DataLoader, Dataset, batcher::Batcher};
    /// # use std::sync::Arc;
    /// # use tfckpt_burn::TfCheckpoints;
    /// use tfckpt_burn::training::Epochs;
    /// # fn f<I: Send + Sync + Clone + 'static, O: Send + 'static>(
    /// #     dataset: impl Dataset<I> + 'static, batcher: impl Batcher<I, O> + 'static) -> Arc<dyn DataLoader<O>> {
    ///
    /// // Before: DataLoaderBuilder::new(batcher).batch_size(50).shuffle(7).build(dataset)
    /// let tf = TfCheckpoints::new("run").epochs(Epochs::new(dataset.len(), 50).shuffle(7));
    /// tf.loader(dataset, batcher)
    /// # }
    /// ```
    pub fn loader<I, O>(
        &self,
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, O> + 'static,
    ) -> Arc<dyn DataLoader<O>>
    where
        I: Send + Sync + Clone + 'static,
        O: Send + 'static,
    {
        let dataset: Arc<dyn Dataset<I>> = Arc::new(dataset);
        let mut state = self.shared.state();
        state.data.is_counted = true;
        if state.hooks.epochs.is_none() {
            state.hooks.epochs = Some(Epochs::new(dataset.len(), 1));
        }
        drop(state);
        Arc::new(Ordered::new(
            self.shared.clone(),
            dataset,
            Arc::new(batcher),
            Device::default(),
        ))
    }

    /// A loader of Burn's, less what the run before has seen of its last epoch: with it, a run goes on from a checkpoint
    /// in the middle of an epoch as if it had never stopped. [`loader`](Self::loader) does the same without fetching
    /// what is left out.
    ///
    /// The batches must come in the same order as before. Those of `DataLoaderBuilder` do, shuffled or not, if the seed is
    /// the same, with no thread of their own or with one: a resumed run makes all passes over the data that the run before
    /// made, without fetching anything, and so draws the same orders. Several threads hand over their batches in any order,
    /// so that no run with them can be repeated, let alone resumed exactly.
    ///
    /// For a `Learner` on one device, and for loops written by hand that make one pass for each epoch, from the first
    /// on: there the passes that the run before has completed come empty.
    pub fn resume<O: 'static>(&self, loader: Arc<dyn DataLoader<O>>) -> Arc<dyn DataLoader<O>> {
        self.shared.state().data.is_counted = true;
        Arc::new(Rest::new(self.shared.clone(), loader))
    }
}
