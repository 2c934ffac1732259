//! Optimizers that go on from what TensorFlow saved, and save what TensorFlow goes on from.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use tfckpt::Checkpoint;
use tfckpt::objects::ObjectLayout;
use tfckpt_candle::optimizers::Convention;
use tfckpt_candle::{
    Adadelta, Adagrad, Adam, Adamax, CheckpointedOptimizer, Ftrl, KerasAdamW, Lion, Nadam, ParamsAdadelta,
    ParamsAdagrad, ParamsAdam, ParamsAdamax, ParamsFtrl, ParamsKerasAdamW, ParamsLion, ParamsNadam, ParamsRmsProp,
    ParamsSgd, RmsProp, Run, Sgd, recording,
};

/// The cases of `tests/fixtures/make/optimizers.py`, with its settings.
pub(crate) fn go_on(case: &str, from: &str, directory: &str, until: i64) -> Result<()> {
    let (of, kind) = case.split_once('_').context("CONVENTION_KIND")?;
    let convention = match of {
        "v1" => Convention::V1,
        "legacy" => Convention::Keras2Legacy,
        "keras2" => Convention::Keras2,
        "keras3" => Convention::Keras3,
        other => bail!("unknown convention `{other}`"),
    };
    let varmap = VarMap::new();
    let train = Training {
        convention,
        from,
        directory,
        until,
        varmap: &varmap,
    };
    let (lr, beta1, beta2, eps) = (0.01, 0.8, 0.95, 1e-4);
    match kind {
        "sgd" | "momentum" | "nesterov" => train.run(|varmap| {
            let params = ParamsSgd {
                lr: 0.03,
                momentum: if kind == "sgd" { 0.0 } else { 0.9 },
                nesterov: kind == "nesterov",
                convention,
            };
            Sgd::new(varmap, params)
        }),
        "adam" | "amsgrad" => train.run(|varmap| {
            let amsgrad = kind == "amsgrad";
            Adam::new(
                varmap,
                ParamsAdam {
                    lr,
                    beta1,
                    beta2,
                    eps,
                    amsgrad,
                    convention,
                },
            )
        }),
        "adamw" => train.run(|varmap| {
            let weight_decay = if of == "v1" { 0.02 } else { 0.1 };
            let params = ParamsKerasAdamW {
                lr,
                weight_decay,
                beta1,
                beta2,
                eps,
                amsgrad: false,
                convention,
            };
            KerasAdamW::new(varmap, params)
        }),
        "rmsprop" | "rmsprop_centered" => train.run(|varmap| {
            let mut params = ParamsRmsProp {
                lr,
                rho: 0.85,
                eps,
                ..ParamsRmsProp::of(convention)
            };
            if kind == "rmsprop_centered" {
                (params.momentum, params.centered) = (0.7, true);
            } else if of == "v1" {
                params.rho = 0.9;
            }
            RmsProp::new(varmap, params)
        }),
        "adagrad" => train.run(|varmap| {
            Adagrad::new(
                varmap,
                ParamsAdagrad {
                    lr: 0.05,
                    eps,
                    ..ParamsAdagrad::of(convention)
                },
            )
        }),
        "adadelta" => train.run(|varmap| {
            Adadelta::new(
                varmap,
                ParamsAdadelta {
                    lr: 1.0,
                    rho: 0.9,
                    eps,
                    convention,
                },
            )
        }),
        "adamax" => train.run(|varmap| {
            Adamax::new(
                varmap,
                ParamsAdamax {
                    lr,
                    beta1,
                    beta2,
                    eps,
                    convention,
                },
            )
        }),
        "nadam" => train.run(|varmap| {
            Nadam::new(
                varmap,
                ParamsNadam {
                    lr,
                    beta1,
                    beta2,
                    eps,
                    convention,
                },
            )
        }),
        "lion" => train.run(|varmap| {
            Lion::new(
                varmap,
                ParamsLion {
                    lr,
                    beta1,
                    beta2,
                    convention,
                },
            )
        }),
        "ftrl" if of == "v1" => train.run(|varmap| {
            Ftrl::new(
                varmap,
                ParamsFtrl {
                    lr: 0.05,
                    ..ParamsFtrl::of(convention)
                },
            )
        }),
        "ftrl" | "ftrl_all" => train.run(|varmap| {
            let params = ParamsFtrl {
                lr: 0.05,
                lr_power: -0.6,
                initial_accumulator_value: 0.2,
                l1: 0.03,
                l2: 0.02,
                l2_shrinkage: 0.01,
                beta: 0.1,
                convention,
            };
            Ftrl::new(varmap, params)
        }),
        other => bail!("unknown optimizer `{other}`"),
    }
}

struct Training<'a> {
    convention: Convention,
    from: &'a str,
    directory: &'a str,
    until: i64,
    varmap: &'a VarMap,
}

impl Training<'_> {
    fn run<O>(&self, make: impl Fn(&VarMap) -> candle_core::Result<O>) -> Result<()>
    where
        O: Optimizer + CheckpointedOptimizer,
    {
        let (vb, layers) = recording(self.varmap, DType::F32, &Device::Cpu);
        candle_nn::linear(5, 17, vb.pp("dense"))?;
        candle_nn::conv2d_no_bias(2, 3, 2, Default::default(), vb.pp("conv"))?;
        let mut optimizer = make(self.varmap)?;
        let mut run = Run::new(self.directory, self.varmap, &optimizer).layers(&layers);
        let order = ["x", "image", "dense", "conv"];
        let from = Checkpoint::open(Path::new(self.from))?;
        match self.convention {
            Convention::Keras3 => run = run.objects(ObjectLayout::keras3_functional(order)),
            Convention::Keras2 => run = run.objects(ObjectLayout::keras2(order)),
            Convention::Keras2Legacy => {
                let layout = ObjectLayout::keras2(order).optimizer(Convention::Keras2Legacy);
                run = run.objects(hyperparameters(layout, &from)?);
            }
            _ => {}
        }
        run.restore(&from)?;
        for step in run.global_step() + 1..=self.until {
            optimizer.step(&gradients(self.varmap, step)?)?;
            run.after_step()?;
        }
        run.save()?;
        println!(
            "{}",
            serde_json::to_string(&tfckpt::latest_checkpoint(self.directory)?)?
        );
        Ok(())
    }
}

/// Legacy Keras keeps its settings in the checkpoint.
fn hyperparameters(mut layout: ObjectLayout, from: &Checkpoint) -> Result<ObjectLayout> {
    for info in from.variables() {
        let (name, suffix) = (info.name(), "/.ATTRIBUTES/VARIABLE_VALUE");
        let path = name
            .strip_prefix("optimizer/")
            .and_then(|name| name.strip_suffix(suffix));
        if let Some(path) = path.filter(|path| !["iter", "learning_rate", "momentum_cache"].contains(path)) {
            layout = layout.hyperparameter(path, *from.read::<f32>(info.key())?.first().context("a scalar")?);
        }
    }
    Ok(layout)
}

/// The gradients of a step, by the formula of `optimizers.py`.
fn gradients(varmap: &VarMap, step: i64) -> Result<GradStore> {
    let zero = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    let mut gradients = zero.backward()?;
    let vars = varmap.data().lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
    let shapes: [(&str, &[usize]); 3] = [
        ("dense.weight", &[5, 17]),
        ("dense.bias", &[17]),
        ("conv.weight", &[2, 2, 2, 3]),
    ];
    for (number, (path, shape)) in (0..).zip(shapes) {
        let var: &Var = vars.get(path).context(path)?;
        let count = i64::try_from(shape.iter().product::<usize>())?;
        let values = (0..count).map(|i| {
            let whole = (i * 7919 + (step * 3 + number) * 104_729 + i * i * 31) % 2003 - 1001;
            whole as f32 / 1024.0 * 0.5f32.powi((i % 5) as i32)
        });
        let stored = Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu)?;
        let live = match shape.len() {
            2 => stored.t()?,
            4 => stored.permute((3, 2, 0, 1))?,
            _ => stored,
        };
        gradients.insert(var, live.contiguous()?);
    }
    Ok(gradients)
}
