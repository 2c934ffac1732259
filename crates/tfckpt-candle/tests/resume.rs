//! A run that was stopped goes on as if it had not been.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Module, ModuleT, Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use tfckpt::{Checkpoint, WhenBusy};
use tfckpt_candle::{Adam, AdamW, CheckpointedOptimizer, Error, Layers, ParamsAdam, Run, recording};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A convolution, a batch norm and a dense layer, which start the same every time.
struct Net {
    conv: candle_nn::Conv2d,
    norm: candle_nn::BatchNorm,
    head: candle_nn::Linear,
}

impl Net {
    fn new() -> Result<(Net, VarMap, Layers)> {
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        let net = Net {
            conv: candle_nn::conv2d(1, 2, 3, Default::default(), vb.pp("conv"))?,
            norm: candle_nn::batch_norm(2, 1e-3, vb.pp("norm"))?,
            head: candle_nn::linear(8, 3, vb.pp("head"))?,
        };
        for (i, (path, var)) in varmap
            .data()
            .lock()
            .unwrap()
            .iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .enumerate()
        {
            if path.ends_with("weight") || path.ends_with("bias") {
                let wave = Tensor::arange(0f32, var.elem_count() as f32, &Device::Cpu)?.reshape(var.shape())?;
                var.set(&((wave * 1.7)? + i as f64)?.sin()?)?;
            }
        }
        Ok((net, varmap, layers))
    }

    fn loss(&self, step: i64) -> candle_core::Result<Tensor> {
        let x = (Tensor::arange(0f32, 6.0 * 16.0, &Device::Cpu)? * (0.1 + step as f64))?
            .cos()?
            .reshape((6, 1, 4, 4))?;
        let y = self
            .norm
            .forward_t(&self.conv.forward(&x)?, true)?
            .relu()?
            .flatten_from(1)?;
        let labels = Tensor::new(&[0u32, 1, 2, 0, 1, 2], &Device::Cpu)?;
        candle_nn::loss::cross_entropy(&self.head.forward(&y)?, &labels)
    }
}

/// A decaying rate, from the step alone.
fn rate(step: i64) -> f64 {
    0.02 * 0.9f64.powi(step as i32 / 3)
}

/// Trains from wherever the directory is up to `until`, and saves there. Returns the losses of its steps.
fn train<O: Optimizer + CheckpointedOptimizer>(
    directory: &Path,
    until: i64,
    optimizer: impl FnOnce(&VarMap) -> candle_core::Result<O>,
) -> Result<Vec<u32>> {
    let (net, varmap, layers) = Net::new()?;
    let mut optimizer = optimizer(&varmap)?;
    let mut run = Run::new(directory, &varmap, &optimizer)
        .layers(&layers)
        .every_steps(5)
        .max_to_keep(2);
    let mut losses = Vec::new();
    for step in run.restore_or_initialize()?..until {
        optimizer.set_learning_rate(rate(step));
        let loss = net.loss(step)?;
        optimizer.backward_step(&loss)?;
        run.after_step()?;
        losses.push(loss.to_scalar::<f32>()?.to_bits());
    }
    run.save()?;
    Ok(losses)
}

/// Names and bytes of all variables of the latest checkpoint.
fn everything(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let checkpoint = Checkpoint::open(directory)?;
    let read =
        |variable: &tfckpt::VariableInfo| Ok((variable.name().into_owned(), checkpoint.read_bytes(variable.key())?));
    checkpoint.variables().map(read).collect()
}

fn resumes_exactly<O: Optimizer + CheckpointedOptimizer>(
    optimizer: impl Fn(&VarMap) -> candle_core::Result<O>,
    slots: usize,
) -> Result {
    let (one_go, stopped) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let losses = train(one_go.path(), 24, &optimizer)?;
    let mut resumed = train(stopped.path(), 12, &optimizer)?;
    resumed.extend(train(stopped.path(), 24, &optimizer)?);
    assert_eq!(resumed, losses);
    let (a, b) = (everything(one_go.path())?, everything(stopped.path())?);
    assert_eq!(a.len(), slots);
    assert_eq!(a, b);
    Ok(())
}

#[test]
fn a_resumed_run_with_adam_equals_one_in_one_go_bit_for_bit() -> Result {
    // 6 variables with 2 slots each, 2 running statistics, 3 counters, global_step.
    resumes_exactly(|varmap| Adam::new(varmap, ParamsAdam::default()), 18 + 2 + 3 + 1)
}

#[test]
fn a_resumed_run_with_adamw_equals_one_in_one_go_bit_for_bit() -> Result {
    resumes_exactly(|varmap| AdamW::new(varmap, Default::default()), 18 + 2 + 1 + 1)
}

#[test]
fn saving_in_the_background_saves_the_same() -> Result {
    for when_busy in [WhenBusy::Wait, WhenBusy::Replace] {
        let (foreground, background) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for (dir, in_background) in [(&foreground, false), (&background, true)] {
            let (net, varmap, layers) = Net::new()?;
            let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
            let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers).every_steps(4);
            if in_background {
                run = run.in_background(when_busy).memory_budget(1 << 20);
            }
            for step in run.restore_or_initialize()?..12 {
                optimizer.backward_step(&net.loss(step)?)?;
                run.after_step()?;
            }
            assert_eq!(run.directory(), dir.path());
            let last = run.wait()?;
            assert_eq!(last.is_some(), in_background);
            assert!(run.save()?.is_none(), "step 12 is saved");
        }
        assert_eq!(everything(background.path())?, everything(foreground.path())?);
        assert_eq!(Checkpoint::open(background.path())?.global_step()?, Some(12));
    }
    Ok(())
}

#[test]
fn a_fresh_directory_starts_at_step_0_and_holds_nothing_but_the_lock() -> Result {
    let dir = tempfile::tempdir()?;
    let run_dir = dir.path().join("run");
    let (_, varmap, layers) = Net::new()?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(&run_dir, &varmap, &optimizer).layers(&layers);
    assert_eq!(run.restore_or_initialize()?, 0);
    let names = || -> Vec<_> {
        std::fs::read_dir(&run_dir)
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect()
    };
    assert_eq!(names(), [".checkpoint.lock"]);
    drop(run);
    assert!(names().is_empty());
    Ok(())
}

#[test]
fn saving_the_same_step_twice_is_fine_and_saves_once() -> Result {
    let dir = tempfile::tempdir()?;
    train(dir.path(), 5, |varmap| Adam::new(varmap, ParamsAdam::default()))?;
    let (_, varmap, layers) = Net::new()?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers);
    assert_eq!(run.restore_or_initialize()?, 5);
    assert!(run.save()?.is_none());
    assert!(run.after_step()?.is_none(), "nothing is saved unless asked");
    assert_eq!(run.save()?.unwrap().global_step, 6);
    assert!(run.save()?.is_none());
    Ok(())
}

#[test]
fn a_run_never_starts_again_by_accident() -> Result {
    let dir = tempfile::tempdir()?;
    train(dir.path(), 5, |varmap| Adam::new(varmap, ParamsAdam::default()))?;
    let (_, varmap, layers) = Net::new()?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers);
    std::fs::remove_file(dir.path().join("model.ckpt-5.index"))?;
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint(tfckpt::Error::NoCheckpoint { .. })),
        "{error}"
    );
    std::fs::write(dir.path().join("checkpoint"), "no such syntax")?;
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint(tfckpt::Error::StateFile { .. })),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_model_that_could_not_be_saved_is_refused_before_it_trains() -> Result {
    let dir = tempfile::tempdir()?;
    let (_, varmap, _) = Net::new()?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let error = Run::new(dir.path(), &varmap, &optimizer)
        .restore_or_initialize()
        .unwrap_err();
    assert!(matches!(error, Error::UnknownLayers { .. }), "{error}");
    Ok(())
}

#[test]
fn what_is_tracked_is_part_of_the_checkpoint() -> Result {
    let dir = tempfile::tempdir()?;
    let (_, varmap, layers) = Net::new()?;
    let optimizer = candle_nn::SGD::new(varmap.all_vars(), 0.1)?;
    let best = Var::new(0.25f64, &Device::Cpu)?;
    let run = || {
        Run::new(dir.path(), &varmap, &optimizer)
            .layers(&layers)
            .track("best_loss", &best)
    };
    run().save()?;
    assert_eq!(Checkpoint::open(dir.path())?.read::<f64>("best_loss")?, [0.25]);
    best.set(&Tensor::new(9f64, &Device::Cpu)?)?;
    run().restore_or_initialize()?;
    assert_eq!(best.to_scalar::<f64>()?, 0.25);
    Ok(())
}

#[test]
fn two_optimizers_of_the_same_name_are_refused_before_they_train() -> Result {
    let dir = tempfile::tempdir()?;
    let (_, varmap, layers) = Net::new()?;
    let (first, second) = (
        Adam::new(&varmap, ParamsAdam::default())?,
        Adam::new(&varmap, ParamsAdam::default())?,
    );
    let mut run = Run::new(dir.path(), &varmap, &first).optimizer(&second).layers(&layers);
    let error = run.restore_or_initialize().unwrap_err();
    assert!(
        matches!(error, Error::Checkpoint(tfckpt::Error::DuplicateName { .. })),
        "{error}"
    );
    Ok(())
}

#[test]
fn public_types_are_debug_send_and_sync() {
    fn check<T: std::fmt::Debug + Send + Sync>() {}
    check::<Run>();
    check::<Layers>();
    check::<tfckpt_candle::Import>();
    check::<tfckpt_candle::Variables>();
    check::<tfckpt_candle::OptimizerState>();
    check::<(Adam, AdamW)>();
    check::<Error>();
}

#[test]
fn two_optimizers_of_one_model_keep_apart() -> Result {
    let dir = tempfile::tempdir()?;
    let (_, varmap, layers) = Net::new()?;
    let first = Adam::new(&varmap, ParamsAdam::default())?;
    let second = Adam::new(&varmap, ParamsAdam::default())?.named("Critic");
    Run::new(dir.path(), &varmap, &first)
        .optimizer(&second)
        .layers(&layers)
        .save()?;
    let checkpoint = Checkpoint::open(dir.path())?;
    assert!(
        [
            "head/kernel/Adam",
            "head/kernel/Critic_1",
            "beta1_power",
            "Critic/beta1_power"
        ]
        .iter()
        .all(|name| checkpoint.contains(name))
    );
    assert_eq!(checkpoint.variable("head/kernel/Critic")?.shape().dims(), [8, 3]);
    Ok(())
}

#[test]
fn a_restore_that_lacks_slots_changes_nothing_and_names_them() -> Result {
    let dir = tempfile::tempdir()?;
    let (_, varmap, layers) = Net::new()?;
    let variables = tfckpt_candle::Variables::new(&varmap).layers(&layers);
    tfckpt::Saver::new(dir.path()).save(variables.to_save()?, 3)?;
    let bits = |varmap: &VarMap| -> Result<Vec<u32>> {
        let vars = varmap.data().lock().unwrap();
        let sorted: BTreeMap<_, _> = vars.iter().collect();
        let values = sorted
            .values()
            .map(|var| var.flatten_all()?.to_vec1::<f32>())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(values.concat().into_iter().map(f32::to_bits).collect())
    };
    for var in varmap.all_vars() {
        var.set(&(var.as_tensor() + 1.0)?)?;
    }
    let before = bits(&varmap)?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers);
    let error = run.restore_or_initialize().unwrap_err();
    assert_eq!(bits(&varmap)?, before);
    let Error::Checkpoint(tfckpt::Error::Mismatch { report, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(report.missing.len(), 12 + 2);
    assert_eq!(run.global_step(), 0);
    Ok(())
}
