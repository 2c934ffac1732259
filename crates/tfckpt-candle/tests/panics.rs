//! What a run does that is dropped because of a panic.

mod support;

use std::path::Path;

use candle_nn::{Optimizer, SGD};
use support::{Net, Result, everything, latest_step, step};
use tfckpt::WhenBusy;
use tfckpt_candle::{Adam, ParamsAdam, Run};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Never: the run ends after the step at which the others panic.
    Nowhere,
    BetweenSteps,
    AfterForward,
    AfterUpdate,
}

const STEPS: i64 = 8;

/// Trains up to step 8 and panics then, in a thread of its own, in which the run is dropped.
fn train(dir: &Path, with_norm: bool, place: Place, options: fn(Run) -> Run) {
    let dir = dir.to_owned();
    let thread = std::thread::spawn(move || {
        let net = Net::new(with_norm).unwrap();
        let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default()).unwrap();
        let mut run = options(net.run(&dir, &optimizer).save_on_panic(true));
        run.restore_or_initialize().unwrap();
        while run.global_step() < STEPS {
            let batch = run.next_batch().unwrap();
            step(&mut run, &net, &mut optimizer, &batch.rows).unwrap();
            run.after_step().unwrap();
        }
        match place {
            Place::Nowhere => drop(run.finish().unwrap()),
            Place::BetweenSteps => panic!("between two steps"),
            Place::AfterForward => {
                let batch = run.next_batch().unwrap();
                net.loss(&batch.rows).unwrap();
                panic!("after the forward pass");
            }
            Place::AfterUpdate => {
                let batch = run.next_batch().unwrap();
                step(&mut run, &net, &mut optimizer, &batch.rows).unwrap();
                panic!("after the update");
            }
        }
    });
    assert_eq!(thread.join().is_err(), place != Place::Nowhere);
}

fn saves_the_whole_step(with_norm: bool, place: Place, options: fn(Run) -> Run) -> Result {
    let (unharmed, panicked) = (tempfile::tempdir()?, tempfile::tempdir()?);
    train(unharmed.path(), with_norm, Place::Nowhere, |run| run);
    train(panicked.path(), with_norm, place, options);
    assert_eq!(latest_step(panicked.path()), Some(STEPS));
    assert_eq!(everything(panicked.path())?, everything(unharmed.path())?);
    Ok(())
}

fn saves_nothing(with_norm: bool, place: Place, options: fn(Run) -> Run) -> Result {
    let dir = tempfile::tempdir()?;
    train(dir.path(), with_norm, place, options);
    assert_eq!(latest_step(dir.path()), None);
    Ok(())
}

#[test]
fn between_two_steps_it_saves() -> Result {
    saves_the_whole_step(true, Place::BetweenSteps, |run| run)?;
    saves_the_whole_step(true, Place::BetweenSteps, |run| run.in_background(WhenBusy::Skip))
}

#[test]
fn within_a_step_it_saves_the_one_before_if_nothing_but_random_numbers_has_changed() -> Result {
    saves_the_whole_step(false, Place::AfterForward, |run| run)
}

#[test]
fn half_a_step_is_never_saved() -> Result {
    saves_nothing(false, Place::AfterUpdate, |run| run)?;
    saves_nothing(true, Place::AfterUpdate, |run| run)?;
    // The running statistics have changed.
    saves_nothing(true, Place::AfterForward, |run| run)
}

#[test]
fn nothing_is_saved_that_was_not_asked_for() -> Result {
    saves_nothing(true, Place::BetweenSteps, |run| run.save_on_panic(false))
}

#[test]
fn what_is_saved_already_is_left_alone() -> Result {
    saves_the_whole_step(true, Place::BetweenSteps, |run| run.every_steps(4))?;
    let dir = tempfile::tempdir()?;
    train(dir.path(), true, Place::AfterUpdate, |run| run.every_steps(5));
    assert_eq!(latest_step(dir.path()), Some(5));
    Ok(())
}

#[test]
fn an_optimizer_that_does_not_tell_and_batches_from_elsewhere_leave_no_certainty() -> Result {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_owned();
    let thread = std::thread::spawn(move || {
        let net = Net::new(false).unwrap();
        let mut optimizer = SGD::new(net.varmap.all_vars(), 0.1).unwrap();
        let mut run = Run::new(path, &net.varmap, &optimizer)
            .layers(&net.layers)
            .save_on_panic(true);
        run.restore_or_initialize().unwrap();
        optimizer.backward_step(&net.loss(&[1, 2]).unwrap()).unwrap();
        run.after_step().unwrap();
        panic!("nobody knows whether a step has begun");
    });
    assert!(thread.join().is_err());
    assert_eq!(latest_step(dir.path()), None);
    Ok(())
}
