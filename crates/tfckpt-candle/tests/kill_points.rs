//! Resuming equals never having stopped, bit for bit, wherever within an epoch a run is cut off.

mod support;

use std::path::Path;

use candle_nn::{Optimizer, VarMap};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{BATCHES, EPOCHS, Net, Result, Seen, everything, step};
use tfckpt::WhenBusy;
use tfckpt_candle::{Adam, AdamW, CheckpointedOptimizer, ParamsAdam};

const KILLS: usize = 20;

/// Where a run is cut off.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many steps of this process.
    steps: usize,
    /// Within the next step, after the optimizer has changed everything.
    in_step: bool,
}

/// Trains from wherever the directory is, until it is done or cut off; then all is dropped as it is. Whether it is done.
fn train<O: Optimizer + CheckpointedOptimizer>(
    directory: &Path,
    background: Option<WhenBusy>,
    optimizer: impl Fn(&VarMap) -> candle_core::Result<O>,
    cut: Option<Cut>,
    seen: &mut Seen,
) -> Result<bool> {
    let net = Net::new(true)?;
    let mut optimizer = optimizer(&net.varmap)?;
    let mut run = net.run(directory, &optimizer).every_steps(2).max_to_keep(2);
    if let Some(when_busy) = background {
        run = run.in_background(when_busy);
    }
    run.restore_or_initialize()?;
    let mut steps = 0;
    while let Some(batch) = run.next_batch() {
        let is_cut = cut.is_some_and(|cut| cut.steps == steps);
        if is_cut && !cut.is_some_and(|cut| cut.in_step) {
            return Ok(false);
        }
        let loss = step(&mut run, &net, &mut optimizer, &batch.rows)?;
        if is_cut {
            return Ok(false);
        }
        run.after_step()?;
        // A step that is taken again sees what it saw the first time.
        let same = seen.insert(run.global_step(), (batch.rows.clone(), loss));
        assert!(
            same.is_none_or(|same| same == (batch.rows, loss)),
            "step {}",
            run.global_step()
        );
        steps += 1;
    }
    run.finish()?;
    Ok(true)
}

fn is_exact<O: Optimizer + CheckpointedOptimizer>(
    seed: u64,
    background: Option<WhenBusy>,
    optimizer: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> Result {
    let (one_go, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut whole = Seen::new();
    assert!(train(one_go.path(), None, &optimizer, None, &mut whole)?);
    assert_eq!(whole.len(), EPOCHS as usize * BATCHES);

    let mut random = StdRng::seed_from_u64(seed);
    let mut seen = Seen::new();
    for kill in 0..KILLS {
        let cut = Cut {
            steps: random.random_range(1..6),
            in_step: random.random(),
        };
        let done = train(killed.path(), background, &optimizer, Some(cut), &mut seen)?;
        assert!(!done, "{kill} kills were enough to end it");
    }
    assert!(train(killed.path(), background, &optimizer, None, &mut seen)?);
    assert_eq!(seen, whole);
    let (a, b) = (everything(one_go.path())?, everything(killed.path())?);
    assert_eq!(a, b);
    assert!(a.iter().any(|(name, _)| name == "dropout_rng"));
    Ok(())
}

#[test]
fn adam_at_20_points() -> Result {
    is_exact(1, None, |varmap| Adam::new(varmap, ParamsAdam::default()))
}

#[test]
fn adamw_at_20_points() -> Result {
    is_exact(2, None, |varmap| AdamW::new(varmap, Default::default()))
}

#[test]
fn in_the_background_at_20_points() -> Result {
    is_exact(3, Some(WhenBusy::Wait), |varmap| {
        Adam::new(varmap, ParamsAdam::default())
    })
}
