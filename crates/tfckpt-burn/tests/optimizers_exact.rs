//! Each optimizer goes on from TensorFlow's own state, and computes what TensorFlow computes.
//!
//! `tests/fixtures/make/optimizers.py` made the checkpoints, after 10 steps, and the values after 15, 20, 25 and 30. Each
//! case is run with settings of which one is wrong, too, which must show. Differences are those to the largest value of a
//! tensor; `cargo test -p tfckpt-burn --test optimizers_exact -- --nocapture` prints them.

use std::path::{Path, PathBuf};

use burn::grad_clipping::GradientClipping;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdaGradConfig, AdamConfig, GradientsParams, LearningRate, ModuleOptimizer, SgdConfig};
use burn::tensor::{Bytes, DType, Device, FloatDType, Tensor, TensorData};
use tfckpt::Checkpoint;
use tfckpt::optimizers::Convention::{self, Keras3, V1};
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::optim::{
    Adadelta, Adagrad, Adam, Adamax, Ftrl, Lion, Momentum, Nadam, RmsProp, Sgd, clip_by_global_norm,
};

/// What an optimizer may be away from TensorFlow's after 20 steps.
const LIMIT: f64 = 1e-5;

const RECORDED: [usize; 4] = [15, 20, 25, 30];

/// The sizes of `dense/kernel`, `dense/bias` and `conv/kernel`.
const SIZES: [usize; 3] = [5 * 17, 17, 2 * 2 * 2 * 3];

/// The network whose variables `optimizers.py` trains.
#[derive(Module, Debug)]
struct Net {
    dense: Linear,
    conv: Conv2d,
}

impl Net {
    fn new(dtype: FloatDType) -> Self {
        let device = Device::flex().autodiff();
        let mut net = Net {
            dense: LinearConfig::new(5, 17).init(&device),
            conv: Conv2dConfig::new([2, 3], [2, 2]).with_bias(false).init(&device),
        };
        if dtype != FloatDType::F32 {
            net.dense.weight = net.dense.weight.map(|tensor| tensor.cast(dtype));
            net.dense.bias = net.dense.bias.map(|bias| bias.map(|tensor| tensor.cast(dtype)));
            net.conv.weight = net.conv.weight.map(|tensor| tensor.cast(dtype));
        }
        net
    }

    /// The gradients of a step, by the formula of `optimizers.py`.
    fn gradients(&self, step: usize, dtype: FloatDType) -> GradientsParams {
        let values = |number: usize| -> Vec<f64> {
            let value = |i: i64| {
                let whole = (i * 7919 + (step * 3 + number) as i64 * 104_729 + i * i * 31) % 2003 - 1001;
                whole as f64 / 1024.0 * 0.5f64.powi((i % 5) as i32)
            };
            (0..SIZES[number] as i64).map(value).collect()
        };
        fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D], dtype: FloatDType) -> Tensor<D> {
            Tensor::<D>::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64)).cast(dtype)
        }
        let mut gradients = GradientsParams::new();
        gradients.register(self.dense.weight.id, tensor(values(0), [5, 17], dtype));
        gradients.register(self.dense.bias.as_ref().unwrap().id, tensor(values(1), [17], dtype));
        let kernel = tensor(values(2), [2, 2, 2, 3], dtype).permute([3, 2, 0, 1]);
        gradients.register(self.conv.weight.id, kernel);
        gradients
    }

    /// Values in TensorFlow's layout.
    fn values(&self) -> [Vec<f64>; 3] {
        fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
            tensor.into_data().iter::<f64>().collect()
        }
        [
            values(self.dense.weight.val()),
            values(self.dense.bias.as_ref().unwrap().val()),
            values(self.conv.weight.val().permute([2, 3, 1, 0])),
        ]
    }
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/optimizers");
    fixtures.join(name)
}

/// What TensorFlow had after each of the recorded steps.
fn expected(name: &str, dtype: FloatDType) -> Vec<[Vec<f64>; 3]> {
    let bytes = std::fs::read(fixture(&format!("{name}.after"))).unwrap();
    let dtype = DType::from(dtype);
    let count = bytes.len() / dtype.size();
    assert_eq!(count, RECORDED.len() * SIZES.iter().sum::<usize>());
    let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes), [count], dtype);
    let values: Vec<f64> = data.iter::<f64>().collect();
    let mut values = values.into_iter();
    let mut take = || SIZES.map(|size| values.by_ref().take(size).collect());
    RECORDED.iter().map(|_| take()).collect()
}

/// The largest difference to TensorFlow's values, in proportion to the largest of each tensor; of which all are finite.
fn difference(found: &[Vec<f64>; 3], expected: &[Vec<f64>; 3]) -> f64 {
    let mut largest = 0.0;
    for (found, expected) in found.iter().zip(expected) {
        let magnitude = expected.iter().fold(0f64, |all, value| all.max(value.abs()));
        assert!(magnitude > 0.1, "of values that are nothing, nothing is proved");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(expected.is_finite());
            let difference = (found - expected).abs() / magnitude;
            // `f64::max` would drop what is no number.
            if difference.is_nan() {
                return f64::INFINITY;
            }
            largest = f64::max(largest, difference);
        }
    }
    largest
}

/// A directory with a checkpoint of TensorFlow.
fn begun(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for suffix in ["index", "data-00000-of-00001"] {
        let file = format!("{name}.{suffix}");
        std::fs::copy(fixture(&file), dir.path().join(&file)).unwrap();
    }
    let state = format!("model_checkpoint_path: \"{name}\"\n");
    std::fs::write(dir.path().join("checkpoint"), state).unwrap();
    dir
}

/// Goes on from the checkpoint for 20 steps, and tells how far it came from TensorFlow.
fn follow(name: &str, dtype: FloatDType, lr: LearningRate, optimizer: ModuleOptimizer) -> f64 {
    follow_with(name, dtype, lr, optimizer, |gradients, _| gradients)
}

/// The same with other gradients than those that are given.
fn follow_with(
    name: &str,
    dtype: FloatDType,
    lr: LearningRate,
    mut optimizer: ModuleOptimizer,
    change: impl Fn(GradientsParams, &Net) -> GradientsParams,
) -> f64 {
    let dir = begun(name);
    let mut net = Net::new(dtype);
    let mut rate: ModuleLrScheduler = ConstantLr::from(lr).into();
    let checkpoints = TfCheckpoints::new(dir.path());
    let start = checkpoints
        .restore_or_initialize(&mut net, &mut optimizer, &mut rate)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(start, 10, "{name}");
    let mut largest = 0.0;
    for (recorded, expected) in RECORDED.into_iter().zip(expected(name, dtype)) {
        for step in recorded - 4..=recorded {
            let gradients = change(net.gradients(step, dtype), &net);
            net = optimizer.step(rate.step(), net, gradients);
        }
        largest = f64::max(largest, difference(&net.values(), &expected));
    }
    largest
}

/// Right settings stay below the limit, and wrong ones do not.
fn check(name: &str, lr: LearningRate, right: impl Into<ModuleOptimizer>, wrong: impl Into<ModuleOptimizer>) {
    check_as(name, FloatDType::F32, LIMIT, lr, right, wrong);
}

fn check_as(
    name: &str,
    dtype: FloatDType,
    limit: f64,
    lr: LearningRate,
    right: impl Into<ModuleOptimizer>,
    wrong: impl Into<ModuleOptimizer>,
) {
    let difference = follow(name, dtype, lr, right.into());
    let control = follow(name, dtype, lr, wrong.into());
    println!("{name:32} {difference:9.2e}, with a wrong setting {control:9.2e}");
    assert!(difference <= limit, "{name} is {difference:e} away from TensorFlow");
    assert!(control > limit, "{name} does not notice a wrong setting: {control:e}");
}

fn adam(base: Adam) -> Adam {
    base.with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-4)
}

fn nadam(base: Nadam) -> Nadam {
    base.with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-4)
}

fn adamax(base: Adamax) -> Adamax {
    base.with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-4)
}

fn rms_prop(base: RmsProp) -> RmsProp {
    base.with_rho(0.85).with_epsilon(1e-4)
}

fn centered(base: RmsProp) -> RmsProp {
    rms_prop(base).with_momentum(0.7).with_centered(true)
}

fn ftrl(base: Ftrl) -> Ftrl {
    base.with_power(-0.6)
        .with_initial_accumulator(0.2)
        .with_l1(0.03)
        .with_l2(0.02)
        .with_l2_shrinkage(0.01)
        .with_beta(0.1)
}

fn adadelta(base: Adadelta) -> Adadelta {
    base.with_rho(0.9).with_epsilon(1e-4)
}

fn sgd() -> Sgd {
    Sgd::keras().with_momentum(0.9)
}

fn lion() -> Lion {
    Lion::keras().with_beta_1(0.8).with_beta_2(0.95)
}

#[test]
fn optimizers_of_tensorflow_1_go_on_as_tensorflow_does() {
    check("v1_sgd", 0.03, Sgd::keras(), sgd());
    let momentum = Momentum::v1(0.9);
    check(
        "v1_momentum",
        0.03,
        momentum.clone(),
        momentum.clone().with_nesterov(true),
    );
    check("v1_nesterov", 0.03, momentum.clone().with_nesterov(true), momentum);
    check("v1_adam", 0.01, adam(Adam::v1()), adam(Adam::v1()).with_epsilon(1.1e-4));
    let plain = rms_prop(RmsProp::v1()).with_rho(0.9);
    check("v1_rmsprop", 0.01, plain.clone(), plain.with_epsilon(2e-4));
    let of = centered(RmsProp::v1());
    check("v1_rmsprop_centered", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    check("v1_adagrad", 0.05, Adagrad::v1(), Adagrad::keras().with_epsilon(1e-2));
    let of = adadelta(Adadelta::v1());
    check("v1_adadelta", 1.0, of.clone(), of.with_epsilon(1.01e-4));
    check("v1_ftrl", 0.05, Ftrl::v1(), Ftrl::v1().with_beta(0.01));
    check(
        "v1_ftrl_all",
        0.05,
        ftrl(Ftrl::v1()),
        ftrl(Ftrl::v1()).with_l2_shrinkage(0.011),
    );
}

#[test]
fn optimizers_of_contrib_go_on_as_tensorflows_kernels_do() {
    let of = adamax(Adamax::v1());
    check("v1_adamax", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = adam(Adam::v1());
    check("v1_nadam", 0.01, of.clone().with_nesterov(true), of.clone());
    check(
        "v1_adamw",
        0.01,
        of.clone().with_weight_decay(0.02),
        of.with_weight_decay(0.0201),
    );
}

#[test]
fn optimizers_of_legacy_keras_go_on_as_keras_does() {
    check("legacy_momentum", 0.03, sgd(), sgd().with_momentum(0.901));
    let of = adam(Adam::legacy());
    check("legacy_adam", 0.01, of.clone(), of.clone().with_epsilon(1.1e-4));
    let of = of.with_amsgrad(true);
    check("legacy_amsgrad", 0.01, of.clone(), of.with_beta_2(0.951));
    let of = rms_prop(RmsProp::legacy());
    check("legacy_rmsprop", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = centered(RmsProp::legacy());
    check("legacy_rmsprop_centered", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    let of = Adagrad::legacy().with_epsilon(1e-4);
    check("legacy_adagrad", 0.05, of.clone(), of.with_epsilon(2e-4));
    let of = adadelta(Adadelta::legacy());
    check("legacy_adadelta", 1.0, of.clone(), of.with_epsilon(1.01e-4));
    let of = adamax(Adamax::legacy());
    check("legacy_adamax", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = nadam(Nadam::legacy());
    check("legacy_nadam", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    check(
        "legacy_ftrl",
        0.05,
        ftrl(Ftrl::legacy()),
        ftrl(Ftrl::legacy()).with_l1(0.031),
    );
}

#[test]
fn optimizers_of_keras_2_go_on_as_keras_does() {
    check("keras2_momentum", 0.03, sgd(), sgd().with_nesterov(true));
    let of = adam(Adam::keras()).with_amsgrad(true);
    check("keras2_amsgrad", 0.01, of.clone(), of.with_beta_2(0.951));
    let of = adam(Adam::adamw()).with_weight_decay(0.1);
    check("keras2_adamw", 0.01, of.clone(), of.with_weight_decay(0.11));
    let of = centered(RmsProp::keras());
    check("keras2_rmsprop_centered", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    let of = Adagrad::keras().with_epsilon(1e-4);
    check("keras2_adagrad", 0.05, of.clone(), of.with_epsilon(2e-4));
    let of = adadelta(Adadelta::keras());
    check("keras2_adadelta", 1.0, of.clone(), of.with_rho(0.901));
    let of = adamax(Adamax::keras());
    check("keras2_adamax", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = nadam(Nadam::keras());
    check("keras2_nadam", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    check("keras2_lion", 0.01, lion(), lion().with_beta_1(0.9));
    check(
        "keras2_ftrl",
        0.05,
        ftrl(Ftrl::keras()),
        ftrl(Ftrl::keras()).with_beta(0.11),
    );
}

#[test]
fn optimizers_of_keras_3_go_on_as_keras_does() {
    check("keras3_momentum", 0.03, sgd(), sgd().with_momentum(0.901));
    check("keras3_nesterov", 0.03, sgd().with_nesterov(true), sgd());
    let of = adam(Adam::keras());
    check("keras3_adam", 0.01, of.clone(), of.clone().with_epsilon(1.1e-4));
    let of = of.with_amsgrad(true);
    check("keras3_amsgrad", 0.01, of.clone(), of.with_beta_1(0.801));
    let of = adam(Adam::adamw()).with_weight_decay(0.1);
    check("keras3_adamw", 0.01, of.clone(), of.with_weight_decay(0.11));
    let of = rms_prop(RmsProp::keras());
    check("keras3_rmsprop", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = centered(RmsProp::keras());
    check("keras3_rmsprop_centered", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    let of = Adagrad::keras().with_epsilon(1e-4);
    check("keras3_adagrad", 0.05, of.clone(), of.with_epsilon(2e-4));
    let of = adadelta(Adadelta::keras());
    check("keras3_adadelta", 1.0, of.clone(), of.with_epsilon(1.01e-4));
    let of = adamax(Adamax::keras());
    check("keras3_adamax", 0.01, of.clone(), of.with_epsilon(2e-4));
    let of = nadam(Nadam::keras());
    check("keras3_nadam", 0.01, of.clone(), of.with_epsilon(1.1e-4));
    check("keras3_lion", 0.01, lion(), lion().with_beta_2(0.9));
    check(
        "keras3_ftrl",
        0.05,
        ftrl(Ftrl::keras()),
        ftrl(Ftrl::keras()).with_power(-0.5),
    );
}

#[test]
fn state_that_keras_3_saved_by_names_is_found_as_well() {
    check("keras3_momentum_by_names", 0.03, sgd(), sgd().with_momentum(0.901));
    let of = adam(Adam::keras()).with_amsgrad(true);
    check("keras3_amsgrad_by_names", 0.01, of.clone(), of.with_beta_1(0.801));
    let of = centered(RmsProp::keras());
    check(
        "keras3_rmsprop_centered_by_names",
        0.01,
        of.clone(),
        of.with_epsilon(1.1e-4),
    );
    let of = nadam(Nadam::keras());
    check("keras3_nadam_by_names", 0.01, of.clone(), of.with_epsilon(1.1e-4));
}

/// Restores a checkpoint that TensorFlow saved by names, and saves it again: all that TensorFlow had is there, byte for byte.
fn comes_back(name: &str, convention: Convention, optimizer: impl Into<ModuleOptimizer>) {
    let (dir, again) = (begun(name), tempfile::tempdir().unwrap());
    let (mut net, mut optimizer) = (Net::new(FloatDType::F32), optimizer.into());
    let mut rate: ModuleLrScheduler = ConstantLr::from(0.01).into();
    TfCheckpoints::new(dir.path())
        .restore_or_initialize(&mut net, &mut optimizer, &mut rate)
        .unwrap();
    TfCheckpoints::new(again.path())
        .optimizer_convention(convention)
        .save(&net, &optimizer, &rate)
        .unwrap();
    let [theirs, ours] = [dir.path(), again.path()].map(|dir| Checkpoint::open(dir).unwrap());
    let mut compared = 0;
    for info in theirs.variables() {
        let variable = info.name();
        // The step is that of the run, of which this one is another, and who does not count has its number.
        let is_step = variable == "global_step" || ["rm_sprop/iteration", "sgd/iteration"].contains(&&*variable);
        if is_step {
            continue;
        }
        let found = ours
            .read_bytes(info.key())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found, theirs.read_bytes(info.key()).unwrap(), "{name}: {variable}");
        compared += 1;
    }
    assert!(compared >= 3, "{name}");
}

#[test]
fn what_tensorflow_saved_comes_back_byte_for_byte() {
    comes_back("v1_sgd", V1, Sgd::keras());
    comes_back("v1_momentum", V1, Momentum::v1(0.9));
    comes_back("v1_adam", V1, adam(Adam::v1()));
    comes_back("v1_rmsprop", V1, RmsProp::v1());
    comes_back("v1_rmsprop_centered", V1, centered(RmsProp::v1()));
    comes_back("v1_adagrad", V1, Adagrad::v1());
    comes_back("v1_adadelta", V1, Adadelta::v1());
    comes_back("v1_ftrl_all", V1, ftrl(Ftrl::v1()));
    comes_back("v1_adamax", V1, adamax(Adamax::v1()));
    comes_back("v1_nadam", V1, adam(Adam::v1()).with_nesterov(true));
    comes_back("keras3_momentum_by_names", Keras3, sgd());
    comes_back(
        "keras3_amsgrad_by_names",
        Keras3,
        adam(Adam::keras()).with_amsgrad(true),
    );
    comes_back("keras3_rmsprop_centered_by_names", Keras3, centered(RmsProp::keras()));
    comes_back("keras3_nadam_by_names", Keras3, nadam(Nadam::keras()));
    // Burn's own have the same slots.
    comes_back(
        "v1_adam",
        V1,
        AdamConfig::new().with_beta_1(0.8).with_beta_2(0.95).init(),
    );
    comes_back("v1_adagrad", V1, AdaGradConfig::new().init());
    let momentum = MomentumConfig::new().with_dampening(0.0);
    comes_back("v1_momentum", V1, SgdConfig::new().with_momentum(Some(momentum)).init());
}

#[test]
fn burns_clipping_is_that_of_keras() {
    let clipped = |norm| {
        adam(Adam::keras())
            .init()
            .with_grad_clipping(GradientClipping::Norm(norm))
    };
    check("keras3_clipnorm", 0.01, clipped(0.7), clipped(0.701));
    let clipped = |value| sgd().init().with_grad_clipping(GradientClipping::Value(value));
    check("keras3_clipvalue", 0.03, clipped(0.3), clipped(0.301));
}

#[test]
fn gradients_are_clipped_together_as_keras_does_it() {
    let name = "keras3_global_clipnorm";
    let with = |limit: f64| {
        let optimizer = adam(Adam::keras()).init();
        follow_with(name, FloatDType::F32, 0.01, optimizer, |gradients, net| {
            clip_by_global_norm(gradients, net, limit)
        })
    };
    let (difference, control) = (with(0.7), with(0.701));
    println!("{name:32} {difference:9.2e}, with a wrong setting {control:9.2e}");
    assert!(difference <= LIMIT && control > LIMIT, "{difference:e}, {control:e}");
}

#[test]
fn other_precisions_are_computed_with_as_tensorflow_does() {
    let of = adam(Adam::v1());
    check_as(
        "v1_adam_float64",
        FloatDType::F64,
        1e-14,
        0.01,
        of.clone(),
        adam(Adam::keras()),
    );
    let of = adam(Adam::keras());
    check_as(
        "keras3_adam_float64",
        FloatDType::F64,
        1e-14,
        0.01,
        of.clone(),
        adam(Adam::v1()),
    );
    // Of 8 and of 11 bits.
    check_as(
        "keras3_adam_bfloat16",
        FloatDType::BF16,
        2e-3,
        0.01,
        of.clone(),
        of.with_beta_1(0.5),
    );
    let of = Momentum::v1(0.9);
    let wrong = of.clone().with_nesterov(true);
    check_as("v1_momentum_float16", FloatDType::F16, 2e-3, 0.03, of, wrong);
}
