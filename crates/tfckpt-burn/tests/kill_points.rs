//! Resuming equals never having stopped, bit for bit, wherever within an epoch a run is cut off.

mod support;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{SupervisedTraining, TrainStep};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use support::quiet::Quiet;
use support::{BATCH, Cut, EPOCHS, Net, ROWS, Rows, STEPS, alone, latest, latest_step, schedule};
use tfckpt::WhenBusy;
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::training::{CheckpointRng, Epochs, Stop};

const KILLS: usize = 20;

type Batches = Arc<dyn DataLoader<(Tensor<2>, Tensor<2>)>>;

/// Where the training data comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Data {
    /// A loader of ours, with random noise.
    Ours,
    /// Burn's, shuffled, with so many threads.
    Burns(usize),
}

fn options(dir: &Path, cut: &Cut, rng: &CheckpointRng) -> TfCheckpoints {
    let stop = match cut {
        Cut::Stop(_, stop) => stop.clone(),
        _ => Stop::new(),
    };
    TfCheckpoints::new(dir)
        .max_to_keep(2)
        .every_steps(3)
        .seed_each_step(5)
        .track_rng("noise", rng)
        .stop(&stop)
}

/// Trains from wherever the directory is, until it is done or cut off. The losses of its steps.
fn learner(dir: &Path, data: Data, background: bool, cut: Cut) -> Vec<f32> {
    let rng = CheckpointRng::seed_from_u64(3);
    let mut tf = options(dir, &cut, &rng).valid_metric("Loss", "val_loss");
    if background {
        tf = tf.in_background(WhenBusy::Wait);
    }
    let burns = |workers| {
        DataLoaderBuilder::new(Rows(Some(rng.clone())))
            .batch_size(BATCH)
            .num_workers(workers)
    };
    let batches: Batches = match data {
        Data::Ours => {
            tf = tf.epochs(Epochs::new(ROWS, BATCH).shuffle(7));
            tf.loader(Rows::default(), Rows(Some(rng.clone())))
        }
        Data::Burns(0) => tf.resume(burns(0).shuffle(7).build(Rows::default())),
        // A thread draws ahead.
        Data::Burns(workers) => {
            let loader = DataLoaderBuilder::new(Rows::default())
                .batch_size(BATCH)
                .num_workers(workers);
            tf.resume(loader.shuffle(7).build(Rows::default()))
        }
    };
    let valid = DataLoaderBuilder::new(Rows::default())
        .batch_size(BATCH)
        .build(Rows::default());
    let training = SupervisedTraining::new(dir.join("burn"), batches, valid)
        .metrics((LossMetric::new(),))
        .num_epochs(EPOCHS)
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let net = Net::new(&Device::flex(), cut.clone());
    let losses = net.losses.clone();
    let trained = catch_unwind(AssertUnwindSafe(|| {
        tf.launch(training, net, AdamConfig::new().init(), schedule()).unwrap()
    }));
    match trained {
        Ok(result) => {
            assert!(result.error.is_none(), "{:?}", result.error);
            let stops = matches!(cut, Cut::Stop(..));
            assert_eq!(result.interrupted.is_some(), stops);
            if stops {
                assert_eq!(latest_step(dir), tf.global_step(), "the step it stopped at is saved");
            }
        }
        Err(_) => assert!(matches!(cut, Cut::Panic(_))),
    }
    losses.lock().unwrap().clone()
}

/// The same in a loop written by hand.
fn by_hand(dir: &Path, background: bool, cut: Cut) -> Vec<f32> {
    let mut rng = CheckpointRng::seed_from_u64(3);
    let epochs = Epochs::new(ROWS, BATCH).shuffle(7).stop_after(EPOCHS as u64);
    let mut tf = options(dir, &cut, &rng).epochs(epochs);
    if background {
        tf = tf.in_background(WhenBusy::Replace);
    }
    let device = Device::flex().autodiff();
    let mut net = Net::new(&device, cut.clone());
    let losses = net.losses.clone();
    let (mut optimizer, mut rates) = (AdamConfig::new().init(), schedule());
    let _ = catch_unwind(AssertUnwindSafe(|| {
        tf.restore_or_initialize(&mut net, &mut optimizer, &mut rates).unwrap();
        while let Some(batch) = tf.next_batch() {
            let rows = batch
                .rows
                .iter()
                .map(|&row| burn::data::dataset::Dataset::get(&Rows::default(), row).unwrap());
            let mut rows: Vec<[f32; 4]> = rows.collect();
            rows.iter_mut()
                .for_each(|row| row[1] += (rng.next_u32() % 100) as f32 / 1000.0);
            let batch = burn::data::dataloader::batcher::Batcher::batch(&Rows::default(), rows, &device);
            tf.before_pass(&device);
            let output = TrainStep::step(&net, batch);
            tf.metric("loss", f64::from(*losses.lock().unwrap().last().unwrap()));
            net = optimizer.step(rates.step(), net.clone(), output.grads);
            tf.after_step(&net, &optimizer, &rates).unwrap();
        }
        tf.finish(&net, &optimizer, &rates).unwrap();
    }));
    losses.lock().unwrap().clone()
}

/// Runs once without being disturbed, and once with a cut at each of 20 random steps within epochs.
fn resuming_equals_never_having_stopped(seed: u64, train: impl Fn(&Path, Cut) -> Vec<f32>) {
    let _alone = alone();
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let losses = train(whole.path(), Cut::Never);
    assert_eq!(losses.len(), EPOCHS * STEPS);
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = BTreeSet::new();
    while kills.len() < KILLS {
        let step = random.random_range(1..EPOCHS * STEPS);
        if step % STEPS != 0 {
            kills.insert(step);
        }
    }
    let (mut repeated, mut stops, mut cuts) = (0, 0, 0);
    for kill in kills.into_iter().map(Some).chain([None]) {
        let start = latest_step(parts.path()) as usize;
        let cut = match kill {
            Some(kill) if random.random_bool(0.3) => {
                stops += 1;
                Cut::Stop(kill - start, Stop::new())
            }
            Some(kill) => Cut::Panic(kill - start),
            None => Cut::Never,
        };
        cuts += usize::from(kill.is_some());
        let seen = train(parts.path(), cut.clone());
        assert_eq!(
            seen,
            losses[start..start + seen.len()],
            "from step {start}, cut {cut:?}: the losses are the same to the last bit"
        );
        repeated += start + seen.len() - latest_step(parts.path()) as usize;
    }
    assert_eq!(
        latest(parts.path()),
        latest(whole.path()),
        "and so is every byte that is saved"
    );
    assert!(
        cuts == KILLS && stops > 0 && repeated > 0,
        "{cuts} cuts, {stops} of them stops, {repeated} steps twice"
    );
}

#[test]
fn a_learner_with_a_loader_of_ours() {
    resuming_equals_never_having_stopped(1, |dir, cut| learner(dir, Data::Ours, false, cut));
}

#[test]
fn a_learner_with_burns_shuffled_loader() {
    resuming_equals_never_having_stopped(2, |dir, cut| learner(dir, Data::Burns(0), false, cut));
}

#[test]
fn a_learner_with_burns_loader_in_a_thread_that_saves_in_the_background() {
    resuming_equals_never_having_stopped(3, |dir, cut| learner(dir, Data::Burns(1), true, cut));
}

#[test]
fn a_loop_written_by_hand() {
    resuming_equals_never_having_stopped(4, |dir, cut| by_hand(dir, false, cut));
}

#[test]
fn a_loop_written_by_hand_that_saves_in_the_background() {
    resuming_equals_never_having_stopped(5, |dir, cut| by_hand(dir, true, cut));
}
