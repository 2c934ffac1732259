//! When a run saves, stops and tells of it.

mod support;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use support::{Net, Result, latest_step, step};
use tfckpt::{Checkpoint, Clock, Saved, WhenBusy};
use tfckpt_candle::training::{Checkpointable, Epochs, Position, SaveListener, Stop};
use tfckpt_candle::{Adam, Error, ParamsAdam, Run};

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct Hand(Mutex<f64>);

impl Clock for Hand {
    fn now(&self) -> f64 {
        *self.0.lock().unwrap()
    }
}

/// Takes one step, and gives the step that was saved.
fn one_step(run: &mut Run, net: &Net, optimizer: &mut Adam) -> Result<Option<i64>> {
    let batch = run.next_batch().ok_or("no more batches")?;
    step(run, net, optimizer, &batch.rows)?;
    Ok(run.after_step()?.map(|saved| saved.global_step))
}

#[test]
fn it_saves_every_so_many_seconds_or_steps_since_the_last_save() -> Result {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(Hand::default());
    let net = Net::new(true)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net
        .run(dir.path(), &optimizer)
        .every_seconds(60.0)
        .every_steps(4)
        .save_at_start(true)
        .clock(clock.clone());
    run.restore_or_initialize()?;
    let mut saves = vec![latest_step(dir.path()).unwrap()];
    for seconds in [10.0, 59.0, 60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 124.0, 125.0] {
        *clock.0.lock().unwrap() = seconds;
        saves.extend(one_step(&mut run, &net, &mut optimizer)?);
    }
    // 0 at the start, 3 after 60 s, 7 after four steps (at 64 s), 9 after another 60 s.
    assert_eq!(saves, [0, 3, 7, 9]);
    assert_eq!(run.finish()?.unwrap().global_step, 10);
    assert!(run.finish()?.is_none());
    Ok(())
}

#[test]
fn a_save_may_be_asked_for() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(false)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net.run(dir.path(), &optimizer).save_at_end(false);
    run.restore_or_initialize()?;
    assert_eq!(one_step(&mut run, &net, &mut optimizer)?, None);
    run.request_save();
    assert_eq!(one_step(&mut run, &net, &mut optimizer)?, Some(2));
    assert_eq!(one_step(&mut run, &net, &mut optimizer)?, None);
    assert!(run.finish()?.is_none(), "not wanted at the end");
    Ok(())
}

#[test]
fn a_request_to_stop_saves_this_step_and_gives_no_more_batches() -> Result {
    for background in [false, true] {
        let dir = tempfile::tempdir()?;
        let net = Net::new(true)?;
        let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
        let stop = Stop::new();
        let mut run = net.run(dir.path(), &optimizer).stop(&stop).save_at_end(false);
        if background {
            run = run.in_background(WhenBusy::Skip);
        }
        run.restore_or_initialize()?;
        for _ in 0..2 {
            one_step(&mut run, &net, &mut optimizer)?;
        }
        assert!(!run.should_stop());
        let batch = run.next_batch().unwrap();
        stop.request();
        step(&mut run, &net, &mut optimizer, &batch.rows)?;
        run.after_step()?;
        assert!(run.should_stop());
        assert!(run.next_batch().is_none());
        run.finish()?;
        assert_eq!(latest_step(dir.path()), Some(3));
        assert_eq!((run.exit_code(), run.stopped_by()), (0, None));
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>, Option<i64>);

impl Log {
    fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl SaveListener for Log {
    fn begin(&mut self) {
        self.add("begin".to_owned());
    }

    fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        self.add(format!("before {global_step}"));
        match self.1 == Some(global_step) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self.add(format!("after {}", saved.global_step));
        ControlFlow::Continue(())
    }

    fn end(&mut self, global_step: i64) {
        self.add(format!("end {global_step}"));
    }
}

#[test]
fn listeners_hear_of_every_save_and_one_of_them_ends_the_training() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let log = Log(Arc::default(), Some(6));
    let mut run = net
        .run(dir.path(), &optimizer)
        .every_steps(3)
        .save_at_start(true)
        .listener(log.clone());
    run.restore_or_initialize()?;
    while run.next_batch().is_some() {
        optimizer_step(&mut run, &net, &mut optimizer)?;
    }
    run.finish()?;
    let saves = [0, 3, 6]
        .map(|step| [format!("before {step}"), format!("after {step}")])
        .concat();
    let expected = [vec!["begin".to_owned()], saves, vec!["end 6".to_owned()]].concat();
    assert_eq!(*log.0.lock().unwrap(), expected);
    Ok(())
}

#[test]
fn a_listener_may_end_a_training_at_the_save_before_its_first_step() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net
        .run(dir.path(), &optimizer)
        .save_at_start(true)
        .listener(|_: &Saved| ControlFlow::Break(()));
    assert_eq!(run.restore_or_initialize()?, 0);
    assert!(run.should_stop() && run.next_batch().is_none());
    // A loop that looks only after a step has this one saved.
    step(&mut run, &net, &mut optimizer, &[1, 2, 3])?;
    assert_eq!(run.after_step()?.map(|saved| saved.global_step), Some(1));
    assert!(run.finish()?.is_none());
    Ok(())
}

#[test]
fn a_save_that_failed_is_due_again_after_the_next_step() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net.run(dir.path(), &optimizer).every_steps(3);
    run.restore_or_initialize()?;
    // Where the index of step 3 should be.
    std::fs::create_dir(dir.path().join("model.ckpt-3.index"))?;
    let saves = (0..8).map(|_| one_step(&mut run, &net, &mut optimizer));
    let saves: Vec<Option<Option<i64>>> = saves.map(|saved| saved.ok()).collect();
    let [no, failed] = [Some(None), None];
    assert_eq!(saves, [no, no, failed, Some(Some(4)), no, no, Some(Some(7)), no]);
    Ok(())
}

fn optimizer_step(run: &mut Run, net: &Net, optimizer: &mut Adam) -> Result {
    step(run, net, optimizer, &[1, 2, 3])?;
    run.after_step()?;
    Ok(())
}

#[test]
fn listeners_hear_of_saves_in_the_background_once_each() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |saved: &Saved| {
            told.lock().unwrap().push(saved.global_step);
            ControlFlow::Continue(())
        }
    };
    let mut run = net
        .run(dir.path(), &optimizer)
        .every_steps(2)
        .in_background(WhenBusy::Wait)
        .listener(listener);
    run.restore_or_initialize()?;
    for _ in 0..9 {
        one_step(&mut run, &net, &mut optimizer)?;
    }
    run.finish()?;
    assert_eq!(*told.lock().unwrap(), [2, 4, 6, 8, 9]);
    Ok(())
}

#[test]
fn metrics_go_on_and_nan_is_never_the_best() -> Result {
    let dir = tempfile::tempdir()?;
    let losses = [f64::NAN, 0.5, 0.25, f64::NAN, 0.75, f64::INFINITY];
    for loss in losses {
        // Every value is recorded by a process of its own.
        let net = Net::new(true)?;
        let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
        let mut run = net.run(dir.path(), &optimizer);
        run.restore_or_initialize()?;
        let batch = run.next_batch().unwrap();
        step(&mut run, &net, &mut optimizer, &batch.rows)?;
        run.metric("val_loss", loss);
        run.after_step()?;
        run.finish()?;
    }
    let net = Net::new(true)?;
    let optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net.run(dir.path(), &optimizer);
    assert_eq!(run.restore_or_initialize()?, 6);
    let reading = |reading: Option<tfckpt_candle::training::Reading>| reading.map(|r| (r.value, r.global_step));
    assert_eq!(reading(run.metrics().lowest("val_loss")), Some((0.25, 3)));
    assert_eq!(reading(run.metrics().highest("val_loss")), Some((f64::INFINITY, 6)));
    assert_eq!(run.metrics().latest("val_loss").unwrap().global_step, 6);
    let checkpoint = Checkpoint::open(dir.path())?;
    assert_eq!(checkpoint.read::<f64>("tfckpt/metrics/val_loss/lowest")?, [0.25]);
    Ok(())
}

#[test]
fn a_restore_that_fails_changes_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    {
        let net = Net::new(true)?;
        let mut optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
        let mut run = net.run(dir.path(), &optimizer);
        run.restore_or_initialize()?;
        for _ in 0..3 {
            one_step(&mut run, &net, &mut optimizer)?;
        }
        run.finish()?;
    }
    // A byte of the last variable in the file is wrong: all states were taken when it is found.
    let data = dir.path().join("model.ckpt-3.data-00000-of-00001");
    let good = std::fs::read(&data)?;
    let checkpoint = Checkpoint::open(dir.path())?;
    let at = |name: &str| checkpoint.variable(name).map(|info| (info.offset(), info.size()));
    let (offset, _) = at("last/kernel")?;
    let mut bad = good.clone();
    bad[usize::try_from(offset)?] ^= 1;
    std::fs::write(&data, &bad)?;

    let net = Net::new(true)?;
    let optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let before = (net.bits()?, net.rng.to_bytes());
    let mut run = net.run(dir.path(), &optimizer);
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint(tfckpt::Error::Checksum { .. })),
        "{error}"
    );
    assert_eq!((net.bits()?, net.rng.to_bytes()), before);
    assert_eq!((run.global_step(), run.position()), (0, Some(Position::default())));
    assert_eq!(run.metrics().latest("loss"), None);

    // The bytes of the generator are wrong: no weight was touched.
    let (offset, _) = at("dropout_rng")?;
    let mut bad = good;
    bad[usize::try_from(offset)? + 3] ^= 1;
    std::fs::write(&data, &bad)?;
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint(tfckpt::Error::Checksum { .. })),
        "{error}"
    );
    assert_eq!((net.bits()?, net.rng.to_bytes()), before);
    Ok(())
}

#[test]
fn a_checkpoint_without_states_is_refused_unless_allowed_and_the_position_follows_from_the_step() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let plain = || Run::new(dir.path(), &net.varmap, &optimizer).layers(&net.layers);
    {
        let mut run = plain();
        for _ in 0..8 {
            run.after_step()?;
        }
        run.save()?;
    }
    let error = net.run(dir.path(), &optimizer).restore_or_initialize().unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::State { name, .. }) if name == "dropout_rng"),
        "{error}"
    );
    let mut run = net.run(dir.path(), &optimizer).allow_missing_state(true);
    assert_eq!(run.restore_or_initialize()?, 8);
    let position = run.position().unwrap();
    assert_eq!((position.epoch, position.row), (1, 8));
    drop(run);
    let mut run = plain().epochs(Epochs::new(100, 10));
    assert_eq!(run.restore_or_initialize()?, 8);
    assert_eq!(run.position().unwrap().row, 80);
    Ok(())
}

#[test]
fn names_that_clash_are_refused_before_they_train() -> Result {
    let dir = tempfile::tempdir()?;
    let net = Net::new(true)?;
    let optimizer = Adam::new(&net.varmap, ParamsAdam::default())?;
    let mut run = net.run(dir.path(), &optimizer).track_rng("last/kernel", &net.rng);
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::DuplicateName { name }) if name == "last/kernel"),
        "{error}"
    );
    Ok(())
}
