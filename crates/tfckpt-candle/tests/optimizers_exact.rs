//! Each optimizer goes on from TensorFlow's own state, and computes what TensorFlow computes.
//!
//! `tests/fixtures/make/optimizers.py` made the checkpoints, after 10 steps, and the values after 15, 20, 25 and 30. Each
//! case is run with settings of which one is wrong, too, which must show. Differences are those to the largest value of a
//! tensor; `cargo test -p tfckpt-candle --test optimizers_exact -- --nocapture` prints them.

use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use half::{bf16, f16};
use tfckpt::Checkpoint;
use tfckpt::objects::{OBJECT_GRAPH_KEY, ObjectLayout};
use tfckpt_candle::optimizers::Convention::{self, Keras2, Keras2Legacy, Keras3, V1};
use tfckpt_candle::{
    Adadelta, Adagrad, Adam, Adamax, CheckpointedOptimizer, Clip, Error, Ftrl, KerasAdamW, Layers, Lion, Nadam,
    ParamsAdadelta, ParamsAdagrad, ParamsAdam, ParamsAdamax, ParamsFtrl, ParamsKerasAdamW, ParamsLion, ParamsNadam,
    ParamsRmsProp, ParamsSgd, RmsProp, Run, Sgd, recording,
};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// What an optimizer may be away from TensorFlow's after 20 steps.
const LIMIT: f64 = 1e-5;

/// A run saves with numbers, and `tf.train.Checkpoint.write` without.
const SAVE_COUNTER: &str = "save_counter/.ATTRIBUTES/VARIABLE_VALUE";

const RECORDED: [i64; 4] = [15, 20, 25, 30];

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/optimizers");
    fixtures.join(name)
}

/// The network whose variables `optimizers.py` trains, with its variables in Candle's layout.
struct Net {
    varmap: VarMap,
    layers: Layers,
    dtype: DType,
    /// `dense/kernel`, `dense/bias`, `conv/kernel`: the variable, and TensorFlow's shape.
    vars: [(Var, Vec<usize>); 3],
}

impl Net {
    fn new(dtype: DType) -> Result<Net> {
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, dtype, &Device::Cpu);
        candle_nn::linear(5, 17, vb.pp("dense"))?;
        candle_nn::conv2d_no_bias(2, 3, 2, Default::default(), vb.pp("conv"))?;
        let data = varmap.data().lock().unwrap();
        let var = |path: &str| data[path].clone();
        let vars = [
            (var("dense.weight"), vec![5, 17]),
            (var("dense.bias"), vec![17]),
            (var("conv.weight"), vec![2, 2, 2, 3]),
        ];
        drop(data);
        Ok(Net {
            varmap,
            layers,
            dtype,
            vars,
        })
    }

    /// The gradients of a step, by the formula of `optimizers.py`.
    fn gradients(&self, step: i64) -> Result<GradStore> {
        let zero = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        let mut gradients = zero.backward()?;
        for (number, (var, shape)) in (0..).zip(&self.vars) {
            let count = shape.iter().product::<usize>() as i64;
            let values = (0..count).map(|i| {
                let whole = (i * 7919 + (step * 3 + number) * 104_729 + i * i * 31) % 2003 - 1001;
                whole as f64 / 1024.0 * 0.5f64.powi((i % 5) as i32)
            });
            let stored = Tensor::from_vec(values.collect::<Vec<f64>>(), shape.as_slice(), &Device::Cpu)?;
            let live = to_candle(&stored)?.to_dtype(self.dtype)?;
            gradients.insert(var, live.contiguous()?);
        }
        Ok(gradients)
    }

    /// The largest difference to TensorFlow's values, of which all are finite.
    fn difference(&self, expected: &[Vec<f64>]) -> Result<f64> {
        let mut largest = 0.0;
        for ((var, shape), expected) in self.vars.iter().zip(expected) {
            let expected = Tensor::from_vec(expected.clone(), shape.as_slice(), &Device::Cpu)?;
            let expected = to_candle(&expected)?.flatten_all()?.to_vec1::<f64>()?;
            let found = var.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            let magnitude = expected.iter().fold(0f64, |all, value| all.max(value.abs()));
            assert!(magnitude > 0.1, "of values that are nothing, nothing is proved");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(expected.is_finite());
                let difference = (found - expected).abs() / magnitude;
                // `f64::max` would drop what is no number.
                if difference.is_nan() {
                    return Ok(f64::INFINITY);
                }
                largest = f64::max(largest, difference);
            }
        }
        Ok(largest)
    }
}

/// From TensorFlow's layout to Candle's.
fn to_candle(stored: &Tensor) -> Result<Tensor> {
    Ok(match stored.rank() {
        2 => stored.t()?,
        4 => stored.permute((3, 2, 0, 1))?,
        _ => stored.clone(),
    })
}

/// What TensorFlow had after each of the recorded steps.
fn expected(name: &str, net: &Net) -> Result<Vec<Vec<Vec<f64>>>> {
    let bytes = std::fs::read(fixture(&format!("{name}.after")))?;
    let values: Vec<f64> = match net.dtype {
        DType::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        DType::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f64())
            .collect(),
        DType::BF16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f64())
            .collect(),
        _ => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
    };
    let counts = net.vars.iter().map(|(_, shape)| shape.iter().product::<usize>());
    let counts: Vec<usize> = counts.collect();
    assert_eq!(values.len(), RECORDED.len() * counts.iter().sum::<usize>());
    let mut values = values.into_iter();
    let mut take = || {
        counts
            .iter()
            .map(|&count| values.by_ref().take(count).collect())
            .collect()
    };
    Ok(RECORDED.iter().map(|_| take()).collect())
}

/// Goes on from the checkpoint for 20 steps, and tells how far it came from TensorFlow.
fn follow<O: Optimizer + CheckpointedOptimizer>(
    name: &str,
    dtype: DType,
    make: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> Result<f64> {
    let net = Net::new(dtype)?;
    let mut optimizer = make(&net.varmap)?;
    let dir = tempfile::tempdir()?;
    let mut run = Run::new(dir.path(), &net.varmap, &optimizer).layers(&net.layers);
    let report = run.restore(&Checkpoint::open(fixture(name))?)?;
    assert!(report.missing.is_empty(), "{report:?}");
    assert_eq!(run.global_step(), 10);
    drop(run);
    saved_again(name, &net, &optimizer)?;
    let mut largest = 0.0;
    for (recorded, expected) in RECORDED.into_iter().zip(expected(name, &net)?) {
        for step in recorded - 4..=recorded {
            optimizer.step(&net.gradients(step)?)?;
        }
        largest = f64::max(largest, net.difference(&expected)?);
    }
    Ok(largest)
}

/// What was restored and is saved again, has TensorFlow's keys and bytes.
fn saved_again(name: &str, net: &Net, optimizer: &impl CheckpointedOptimizer) -> Result {
    let theirs = Checkpoint::open(fixture(name))?;
    let dir = tempfile::tempdir()?;
    let mut run = Run::new(dir.path(), &net.varmap, optimizer).layers(&net.layers);
    if theirs.objects()?.is_some() {
        run = run.objects(layout(name, &theirs)?);
    }
    run.save()?;
    let ours = Checkpoint::open(dir.path())?;
    for info in theirs.variables().filter(|info| info.name() != OBJECT_GRAPH_KEY) {
        let key = info.name();
        assert!(ours.contains(&*key), "{name}: `{key}` is not among what we save");
        // The step of the run itself is not that of the checkpoint that it did not restore.
        if key != "global_step" {
            assert_eq!(ours.read_bytes(&*key)?, theirs.read_bytes(&*key)?, "{name}: {key}");
        }
    }
    for info in ours.variables() {
        let name = info.name();
        let extra = [OBJECT_GRAPH_KEY, "global_step", SAVE_COUNTER].contains(&&*name) || name.ends_with("/iterations");
        assert!(extra || theirs.contains(&*name), "TensorFlow has no `{name}`");
    }
    Ok(())
}

/// The Python program that wrote a checkpoint.
fn layout(name: &str, theirs: &Checkpoint) -> Result<ObjectLayout> {
    let layers = ["x", "image", "dense", "conv"];
    let mut layout = match name.split('_').next() {
        Some("keras3") => ObjectLayout::keras3_functional(layers),
        Some("keras2") => ObjectLayout::keras2(layers),
        _ => ObjectLayout::keras2(layers).optimizer(Keras2Legacy),
    };
    const HYPERPARAMETERS: [&str; 9] = [
        "decay",
        "momentum",
        "rho",
        "beta",
        "beta_1",
        "beta_2",
        "learning_rate_power",
        "l1_regularization_strength",
        "l2_regularization_strength",
    ];
    for hyperparameter in HYPERPARAMETERS {
        let key = format!("optimizer/{hyperparameter}/.ATTRIBUTES/VARIABLE_VALUE");
        if theirs.contains(&key) {
            layout = layout.hyperparameter(hyperparameter, theirs.read::<f32>(&key)?[0]);
        }
    }
    Ok(layout)
}

/// Right settings stay below the limit, and wrong ones do not.
fn check<O: Optimizer + CheckpointedOptimizer>(
    name: &str,
    right: impl Fn(&VarMap) -> candle_core::Result<O>,
    wrong: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> Result {
    check_as(name, DType::F32, LIMIT, right, wrong)
}

fn check_as<O: Optimizer + CheckpointedOptimizer>(
    name: &str,
    dtype: DType,
    limit: f64,
    right: impl Fn(&VarMap) -> candle_core::Result<O>,
    wrong: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> Result {
    let difference = follow(name, dtype, right)?;
    let control = follow(name, dtype, wrong)?;
    println!("{name:32} {difference:9.2e}, with a wrong setting {control:9.2e}");
    assert!(difference <= limit, "{name} is {difference:e} away from TensorFlow");
    assert!(control > limit, "{name} does not notice a wrong setting: {control:e}");
    Ok(())
}

/// A case and its control: an optimizer, its settings, and one more that is wrong.
macro_rules! check {
    ($name:expr, $optimizer:ident, $params:expr, $field:ident: $wrong:expr) => {
        check(
            &$name,
            |varmap| $optimizer::new(varmap, $params),
            |varmap| {
                let mut params = $params;
                params.$field = $wrong;
                $optimizer::new(varmap, params)
            },
        )?
    };
}

fn sgd(convention: Convention, momentum: f64, nesterov: bool) -> ParamsSgd {
    ParamsSgd {
        lr: 0.03,
        momentum,
        nesterov,
        convention,
    }
}

fn adam(convention: Convention) -> ParamsAdam {
    ParamsAdam {
        lr: 0.01,
        beta1: 0.8,
        beta2: 0.95,
        eps: 1e-4,
        amsgrad: false,
        convention,
    }
}

fn amsgrad(convention: Convention) -> ParamsAdam {
    ParamsAdam {
        amsgrad: true,
        ..adam(convention)
    }
}

fn adamw(convention: Convention, weight_decay: f64) -> ParamsKerasAdamW {
    ParamsKerasAdamW {
        lr: 0.01,
        weight_decay,
        beta1: 0.8,
        beta2: 0.95,
        eps: 1e-4,
        amsgrad: false,
        convention,
    }
}

fn rms_prop(convention: Convention, rho: f64) -> ParamsRmsProp {
    ParamsRmsProp {
        lr: 0.01,
        rho,
        eps: 1e-4,
        ..ParamsRmsProp::of(convention)
    }
}

fn centered(convention: Convention) -> ParamsRmsProp {
    ParamsRmsProp {
        momentum: 0.7,
        centered: true,
        ..rms_prop(convention, 0.85)
    }
}

fn adagrad(convention: Convention) -> ParamsAdagrad {
    ParamsAdagrad {
        lr: 0.05,
        initial_accumulator_value: 0.1,
        eps: 1e-4,
        convention,
    }
}

fn adadelta(convention: Convention) -> ParamsAdadelta {
    ParamsAdadelta {
        lr: 1.0,
        rho: 0.9,
        eps: 1e-4,
        convention,
    }
}

fn adamax(convention: Convention) -> ParamsAdamax {
    ParamsAdamax {
        lr: 0.01,
        beta1: 0.8,
        beta2: 0.95,
        eps: 1e-4,
        convention,
    }
}

fn nadam(convention: Convention) -> ParamsNadam {
    ParamsNadam {
        lr: 0.01,
        beta1: 0.8,
        beta2: 0.95,
        eps: 1e-4,
        convention,
    }
}

fn lion(convention: Convention) -> ParamsLion {
    ParamsLion {
        lr: 0.01,
        beta1: 0.8,
        beta2: 0.95,
        convention,
    }
}

fn ftrl(convention: Convention) -> ParamsFtrl {
    ParamsFtrl {
        lr: 0.05,
        lr_power: -0.6,
        initial_accumulator_value: 0.2,
        l1: 0.03,
        l2: 0.02,
        l2_shrinkage: 0.01,
        beta: 0.1,
        convention,
    }
}

#[test]
fn optimizers_of_tensorflow_1_go_on_as_tensorflow_does() -> Result {
    check!("v1_sgd", Sgd, sgd(V1, 0.0, false), lr: 0.0301);
    check!("v1_momentum", Sgd, sgd(V1, 0.9, false), nesterov: true);
    check!("v1_nesterov", Sgd, sgd(V1, 0.9, true), nesterov: false);
    check!("v1_adam", Adam, adam(V1), eps: 2e-4);
    check!("v1_rmsprop", RmsProp, rms_prop(V1, 0.9), rho: 0.901);
    check!("v1_rmsprop_centered", RmsProp, centered(V1), eps: 2e-4);
    check!("v1_adagrad", Adagrad, adagrad(V1), lr: 0.0501);
    check!("v1_adadelta", Adadelta, adadelta(V1), eps: 1.01e-4);
    let plain = ParamsFtrl {
        lr: 0.05,
        ..ParamsFtrl::of(V1)
    };
    check!("v1_ftrl", Ftrl, plain.clone(), beta: 0.01);
    check!("v1_ftrl_all", Ftrl, ftrl(V1), l2_shrinkage: 0.011);
    Ok(())
}

#[test]
fn optimizers_of_contrib_go_on_as_tensorflows_kernels_do() -> Result {
    check!("v1_adamax", Adamax, adamax(V1), eps: 2e-4);
    check!("v1_nadam", Nadam, nadam(V1), eps: 2e-4);
    check!("v1_adamw", KerasAdamW, adamw(V1, 0.02), weight_decay: 0.0201);
    Ok(())
}

#[test]
fn optimizers_of_legacy_keras_go_on_as_keras_does() -> Result {
    let of = Keras2Legacy;
    check!("legacy_momentum", Sgd, sgd(of, 0.9, false), momentum: 0.901);
    check!("legacy_adam", Adam, adam(of), eps: 2e-4);
    check!("legacy_amsgrad", Adam, amsgrad(of), beta2: 0.951);
    check!("legacy_rmsprop", RmsProp, rms_prop(of, 0.85), eps: 2e-4);
    check!("legacy_rmsprop_centered", RmsProp, centered(of), eps: 2e-4);
    check!("legacy_adagrad", Adagrad, adagrad(of), eps: 2e-4);
    check!("legacy_adadelta", Adadelta, adadelta(of), eps: 1.01e-4);
    check!("legacy_adamax", Adamax, adamax(of), eps: 2e-4);
    check!("legacy_nadam", Nadam, nadam(of), eps: 2e-4);
    check!("legacy_ftrl", Ftrl, ftrl(of), l1: 0.031);
    Ok(())
}

#[test]
fn optimizers_of_keras_2_go_on_as_keras_does() -> Result {
    check!("keras2_momentum", Sgd, sgd(Keras2, 0.9, false), nesterov: true);
    check!("keras2_amsgrad", Adam, amsgrad(Keras2), beta2: 0.951);
    check!("keras2_adamw", KerasAdamW, adamw(Keras2, 0.1), weight_decay: 0.11);
    check!("keras2_rmsprop_centered", RmsProp, centered(Keras2), eps: 2e-4);
    check!("keras2_adagrad", Adagrad, adagrad(Keras2), eps: 2e-4);
    check!("keras2_adadelta", Adadelta, adadelta(Keras2), rho: 0.901);
    check!("keras2_adamax", Adamax, adamax(Keras2), eps: 2e-4);
    check!("keras2_nadam", Nadam, nadam(Keras2), eps: 2e-4);
    check!("keras2_lion", Lion, lion(Keras2), beta1: 0.9);
    check!("keras2_ftrl", Ftrl, ftrl(Keras2), beta: 0.11);
    Ok(())
}

#[test]
fn optimizers_of_keras_3_go_on_as_keras_does() -> Result {
    check!("keras3_momentum", Sgd, sgd(Keras3, 0.9, false), momentum: 0.901);
    check!("keras3_nesterov", Sgd, sgd(Keras3, 0.9, true), nesterov: false);
    check!("keras3_adam", Adam, adam(Keras3), eps: 2e-4);
    check!("keras3_amsgrad", Adam, amsgrad(Keras3), beta1: 0.801);
    check!("keras3_adamw", KerasAdamW, adamw(Keras3, 0.1), weight_decay: 0.11);
    check!("keras3_rmsprop", RmsProp, rms_prop(Keras3, 0.85), eps: 2e-4);
    check!("keras3_rmsprop_centered", RmsProp, centered(Keras3), eps: 2e-4);
    check!("keras3_adagrad", Adagrad, adagrad(Keras3), eps: 2e-4);
    check!("keras3_adadelta", Adadelta, adadelta(Keras3), eps: 1.01e-4);
    check!("keras3_adamax", Adamax, adamax(Keras3), eps: 2e-4);
    check!("keras3_nadam", Nadam, nadam(Keras3), eps: 2e-4);
    check!("keras3_lion", Lion, lion(Keras3), beta2: 0.9);
    check!("keras3_ftrl", Ftrl, ftrl(Keras3), lr_power: -0.5);
    Ok(())
}

#[test]
fn state_that_keras_3_saved_by_names_is_found_as_well() -> Result {
    check!("keras3_momentum_by_names", Sgd, sgd(Keras3, 0.9, false), momentum: 0.901);
    check!("keras3_amsgrad_by_names", Adam, amsgrad(Keras3), beta1: 0.801);
    check!("keras3_rmsprop_centered_by_names", RmsProp, centered(Keras3), eps: 2e-4);
    check!("keras3_nadam_by_names", Nadam, nadam(Keras3), eps: 2e-4);
    Ok(())
}

#[test]
fn clipping_decay_and_averages_are_those_of_keras() -> Result {
    let clipped = |clip: Clip| move |varmap: &VarMap| Ok(Adam::new(varmap, adam(Keras3))?.clip(clip));
    check("keras3_clipnorm", clipped(Clip::Norm(0.7)), clipped(Clip::Norm(0.701)))?;
    check(
        "keras3_global_clipnorm",
        clipped(Clip::GlobalNorm(0.7)),
        clipped(Clip::GlobalNorm(0.701)),
    )?;
    let clipped = |clip: Clip| move |varmap: &VarMap| Ok(Sgd::new(varmap, sgd(Keras3, 0.9, false))?.clip(clip));
    check(
        "keras3_clipvalue",
        clipped(Clip::Value(0.3)),
        clipped(Clip::Value(0.301)),
    )?;
    let all = |every: u32, limit: f64| {
        move |varmap: &VarMap| {
            let optimizer = RmsProp::new(varmap, rms_prop(Keras3, 0.9))?;
            let optimizer = optimizer.clip(Clip::GlobalNorm(limit)).weight_decay(0.1);
            optimizer.average(0.9, Some(every))
        }
    };
    check("keras3_global_clipnorm_ema", all(7, 0.7), all(6, 0.7))?;
    check("keras3_global_clipnorm_ema", all(7, 0.7), all(7, 0.71))
}

#[test]
fn variables_of_other_precisions_go_on_in_theirs() -> Result {
    let of = |params: ParamsAdam| move |varmap: &VarMap| Adam::new(varmap, params.clone());
    let slower = |convention| ParamsAdam {
        beta2: 0.951,
        ..adam(convention)
    };
    check_as("v1_adam_float64", DType::F64, 1e-12, of(adam(V1)), of(slower(V1)))?;
    check_as(
        "keras3_adam_float64",
        DType::F64,
        1e-12,
        of(adam(Keras3)),
        of(slower(Keras3)),
    )?;
    check_as(
        "keras3_adam_bfloat16",
        DType::BF16,
        1e-3,
        of(adam(Keras3)),
        of(slower(Keras3)),
    )?;
    let of = |params: ParamsSgd| move |varmap: &VarMap| Sgd::new(varmap, params.clone());
    let (right, wrong) = (sgd(V1, 0.9, false), sgd(V1, 0.91, false));
    check_as("v1_momentum_float16", DType::F16, 1e-3, of(right), of(wrong))
}

/// What restoring this case into an optimizer comes to.
fn restored<O: Optimizer + CheckpointedOptimizer>(
    name: &str,
    make: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> Result<O, tfckpt_candle::Error> {
    let net = Net::new(DType::F32).unwrap();
    let optimizer = make(&net.varmap)?;
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), &net.varmap, &optimizer).layers(&net.layers);
    run.restore(&Checkpoint::open(fixture(name))?)?;
    Ok(optimizer)
}

/// The variable that shows that a case is the state of another optimizer.
fn refused<O: Optimizer + CheckpointedOptimizer>(
    name: &str,
    make: impl Fn(&VarMap) -> candle_core::Result<O>,
) -> String {
    match restored(name, make) {
        Err(Error::OtherOptimizer { found, .. }) => found,
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} was taken for its own"),
    }
}

#[test]
fn the_state_of_another_optimizer_is_refused() {
    let momentum = |convention| move |varmap: &VarMap| Sgd::new(varmap, sgd(convention, 0.9, false));
    assert_eq!(refused("keras3_adam", momentum(Keras3)), "conv/kernel/velocity");
    assert_eq!(refused("keras2_amsgrad", momentum(Keras2)), "v/conv/kernel");
    assert_eq!(
        refused("legacy_rmsprop_centered", momentum(Keras2Legacy)),
        "conv/kernel/rms"
    );
    let plain = |varmap: &VarMap| RmsProp::new(varmap, rms_prop(V1, 0.9));
    assert_eq!(refused("v1_rmsprop_centered", plain), "conv/kernel/RMSProp_2");
    let plain = |varmap: &VarMap| RmsProp::new(varmap, rms_prop(Keras3, 0.85));
    assert_eq!(
        refused("keras3_rmsprop_centered_by_names", plain),
        "rm_sprop/conv_kernel_momentum"
    );
    let plain = |varmap: &VarMap| Adam::new(varmap, adam(Keras3));
    assert_eq!(
        refused("keras3_amsgrad_by_names", plain),
        "adam/conv_kernel_velocity_hat"
    );
    // The sum of gradients of V1 is not the step of Keras, either way.
    let error = restored("v1_momentum", momentum(Keras3)).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::Mismatch { .. })),
        "{error:?}"
    );
    for name in ["legacy_momentum", "keras2_momentum", "keras3_momentum"] {
        let theirs = Checkpoint::open(fixture(name)).unwrap();
        assert!(theirs.contains("conv/kernel/momentum"), "{name}");
        assert!(!theirs.contains("conv/kernel/Momentum"), "{name}");
        restored(name, momentum(V1)).unwrap_err();
    }
}

#[test]
fn the_learning_rate_of_keras_is_restored_and_can_be_set() -> Result {
    let params = || ParamsSgd {
        lr: 0.5,
        ..sgd(Keras3, 0.9, false)
    };
    let mut optimizer = restored("keras3_momentum", |varmap| Sgd::new(varmap, params()))?;
    assert_eq!(optimizer.learning_rate(), f64::from(0.03f32));
    optimizer.set_learning_rate(0.1);
    assert_eq!(optimizer.learning_rate(), 0.1);
    let optimizer = restored("v1_momentum", |varmap| Sgd::new(varmap, sgd(V1, 0.9, false)))?;
    assert_eq!((optimizer.learning_rate(), optimizer.iterations()?), (0.03, 10));
    Ok(())
}

#[test]
fn settings_that_need_other_slots_are_an_error_at_the_next_step() -> Result {
    let net = Net::new(DType::F32)?;
    let mut optimizer = Adam::new(&net.varmap, adam(Keras3))?;
    optimizer.step(&net.gradients(1)?)?;
    optimizer.set_params(amsgrad(Keras3));
    let error = optimizer.step(&net.gradients(2)?).unwrap_err().to_string();
    assert!(
        error.contains("MaxSecondMoment") && error.contains("conv.weight"),
        "{error}"
    );
    Ok(())
}

#[test]
fn two_optimizers_are_numbered_as_tensorflow_does() -> Result {
    let net = Net::new(DType::F32)?;
    let first = Adam::new(&net.varmap, adam(V1))?;
    let second = Adam::new(&net.varmap, adam(V1))?.with_names(|names| names.after([first.names()]));
    let dir = tempfile::tempdir()?;
    let run = Run::new(dir.path(), &net.varmap, &first).layers(&net.layers);
    run.optimizer(&second).save()?;
    let checkpoint = Checkpoint::open(dir.path())?;
    for name in [
        "conv/kernel/Adam_1",
        "conv/kernel/Adam_2",
        "conv/kernel/Adam_3",
        "beta2_power",
        "beta2_power_1",
    ] {
        assert!(checkpoint.contains(name), "{name}");
    }
    Ok(())
}
