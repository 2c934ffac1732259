//! Each optimizer goes on exactly from its checkpoint, and what the checkpoint has is what TensorFlow would have there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, Lstm, LstmConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, GradientsParams, LambConfig, LionConfig,
    ModuleOptimizer, MuonConfig, Optimizer, RecordState, RmsPropConfig, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use tfckpt::io::Durability;
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention::{self, Keras2, Keras2Legacy, Keras3, V1};
use tfckpt::optimizers::{OptimizerKind, OptimizerNames, Slot};
use tfckpt::{Checkpoint, Saver, Variable};
use tfckpt_burn::{Error, TfCheckpoints, optim};

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    dense: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Net {
            conv: Conv2dConfig::new([2, 4], [3, 3]).init(device),
            dense: LinearConfig::new(144, 7).init(device),
        }
    }

    fn loss(&self, step: usize) -> Tensor<1> {
        let device = self.dense.weight.val().device();
        let pixels = (0..4 * 2 * 64).map(|i| ((i * 37 + step * 11) % 101) as f32 / 50.0 - 1.0);
        let x = Tensor::from_data(TensorData::new(pixels.collect(), [4, 2, 8, 8]), &device);
        let x = self.conv.forward(x).tanh();
        let y: Tensor<2> = self.dense.forward(x.permute([0, 2, 3, 1]).flatten(1, 3));
        (y - 1.0).square().mean()
    }

    fn values(&self) -> Vec<Vec<u32>> {
        fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
            tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
        }
        let bias = |linear: &Linear| bits(linear.bias.as_ref().unwrap().val());
        let conv_bias = bits(self.conv.bias.as_ref().unwrap().val());
        vec![
            bits(self.conv.weight.val()),
            conv_bias,
            bits(self.dense.weight.val()),
            bias(&self.dense),
        ]
    }
}

type Make = fn() -> ModuleOptimizer;

/// A run with a network and an optimizer of its own.
struct Run {
    checkpoints: TfCheckpoints,
    net: Net,
    optimizer: ModuleOptimizer,
    rate: ModuleLrScheduler,
}

impl Run {
    fn new(checkpoints: TfCheckpoints, optimizer: ModuleOptimizer) -> Self {
        Run {
            checkpoints,
            net: Net::new(&Device::flex().autodiff()),
            optimizer,
            rate: ConstantLr::from(0.01).into(),
        }
    }

    fn restore(&mut self) -> Result<i64, Error> {
        self.checkpoints
            .restore_or_initialize(&mut self.net, &mut self.optimizer, &mut self.rate)
    }

    fn train(&mut self, until: usize) {
        for step in self.checkpoints.global_step() as usize..until {
            let gradients = GradientsParams::from_grads(self.net.loss(step).backward(), &self.net);
            self.net = self.optimizer.step(self.rate.step(), self.net.clone(), gradients);
            self.checkpoints
                .after_step(&self.net, &self.optimizer, &self.rate)
                .unwrap();
        }
    }

    fn save(&self) {
        self.checkpoints.save(&self.net, &self.optimizer, &self.rate).unwrap();
    }
}

fn momentum(dampening: f64, nesterov: bool) -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_dampening(dampening).with_nesterov(nesterov);
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

/// Burn's optimizers.
fn burns() -> Vec<(&'static str, Make)> {
    vec![
        ("SGD", || SgdConfig::new().init()),
        ("SGD with dampening", || momentum(0.1, false)),
        ("SGD with momentum", || momentum(0.0, false)),
        ("SGD with Nesterov", || momentum(0.0, true)),
        ("Adam", || AdamConfig::new().with_beta_1(0.8).init()),
        ("AMSGrad", || AdamConfig::new().with_amsgrad(true).init()),
        ("Adam with decay", || {
            let decay = WeightDecayConfig { penalty: 0.1 };
            AdamConfig::new().with_weight_decay(Some(decay)).init()
        }),
        ("AdamW", || AdamWConfig::new().with_amsgrad(true).init()),
        ("RmsProp", || RmsPropConfig::new().with_momentum(0.0).init()),
        ("RmsProp with momentum", || RmsPropConfig::new().init()),
        ("RmsProp centered", || {
            RmsPropConfig::new().with_momentum(0.0).with_centered(true).init()
        }),
        ("AdaGrad", || AdaGradConfig::new().with_lr_decay(0.1).init()),
        ("Lion", || LionConfig::new().with_weight_decay(0.1).init()),
        ("LAMB", || LambConfig::new().init()),
        ("Adan", || AdanConfig::new().init()),
        ("Adafactor", || AdafactorConfig::new().init()),
        ("Muon and Adam", || {
            let matrices = ParamGroup::from_predicate("dense.weight");
            AdamConfig::new()
                .init()
                .with_group(matrices, MuonConfig::new().build(), None)
        }),
    ]
}

/// Ours.
fn ours() -> Vec<(&'static str, Make)> {
    vec![
        ("v1 Adam", || optim::Adam::v1().init()),
        ("Keras Adam", || optim::Adam::keras().with_amsgrad(true).init()),
        ("Keras AdamW", || optim::Adam::adamw().init()),
        ("v1 Momentum", || optim::Momentum::v1(0.9).with_nesterov(true).init()),
        ("Keras SGD", || optim::Sgd::keras().init()),
        ("Keras SGD with momentum", || {
            optim::Sgd::keras().with_momentum(0.9).init()
        }),
        ("v1 RMSProp", || optim::RmsProp::v1().with_momentum(0.5).init()),
        ("v1 RMSProp centered", || {
            optim::RmsProp::v1().with_centered(true).init()
        }),
        ("Keras RMSprop", || optim::RmsProp::keras().init()),
        ("Keras RMSprop centered", || {
            optim::RmsProp::keras().with_centered(true).with_momentum(0.5).init()
        }),
        ("v1 Adagrad", || optim::Adagrad::v1().init()),
        ("Keras Adagrad", || optim::Adagrad::keras().init()),
        ("v1 Adadelta", || optim::Adadelta::v1().init()),
        ("Keras Adadelta", || optim::Adadelta::keras().init()),
        ("Adamax", || optim::Adamax::keras().init()),
        ("Nadam", || optim::Nadam::keras().init()),
        ("Keras Lion", || optim::Lion::keras().init()),
        ("v1 Ftrl", || optim::Ftrl::v1().with_l1(0.001).init()),
        ("Keras Ftrl", || optim::Ftrl::keras().with_l2(0.01).init()),
    ]
}

const CONVENTIONS: [Convention; 4] = [V1, Keras2Legacy, Keras2, Keras3];

/// A run in a copy of a directory, which is another run's.
fn copied(dir: &Path) -> (tempfile::TempDir, TfCheckpoints) {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with(".lock") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let checkpoints = TfCheckpoints::new(copy.path());
    (copy, checkpoints)
}

/// The values that a run of its own, that goes on from a checkpoint, has after a step.
fn gone_on(dir: &Path, options: impl Fn(TfCheckpoints) -> TfCheckpoints, make: Make, until: usize) -> Vec<Vec<u32>> {
    let (_dir, checkpoints) = copied(dir);
    let mut run = Run::new(options(checkpoints), make());
    run.restore().unwrap();
    run.train(until);
    run.net.values()
}

/// The names that a checkpoint has besides the weights and `global_step`.
fn state_names(dir: &Path) -> BTreeSet<String> {
    let checkpoint = Checkpoint::open(dir).unwrap();
    let names = checkpoint.variables().map(|info| info.name().into_owned());
    let is_state = |name: &String| {
        !["conv/kernel", "conv/bias", "dense/kernel", "dense/bias", "global_step"].contains(&name.as_str())
            && !name.starts_with("burn/")
            && !name.starts_with("tfckpt/")
    };
    names.filter(is_state).collect()
}

/// Those of the dense kernel and of the optimizer itself.
fn kernel_names(dir: &Path) -> Vec<String> {
    let names = state_names(dir).into_iter();
    names
        .filter(|name| {
            !["conv", "dense/bias", "dense_bias"]
                .iter()
                .any(|other| name.contains(other))
        })
        .collect()
}

/// A checkpoint after two steps.
fn saved(options: impl Fn(TfCheckpoints) -> TfCheckpoints, optimizer: ModuleOptimizer) -> (tempfile::TempDir, Run) {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(
        options(TfCheckpoints::new(dir.path()).durability(Durability::Buffered)),
        optimizer,
    );
    run.train(2);
    run.save();
    (dir, run)
}

#[test]
fn every_optimizer_goes_on_from_its_checkpoint_bit_for_bit_in_any_convention() {
    for (name, make) in burns().into_iter().chain(ours()) {
        for convention in CONVENTIONS {
            let (dir, mut run) = saved(|run| run.optimizer_convention(convention), make());
            run.train(4);
            let values = gone_on(dir.path(), |run| run, make, 4);
            assert_eq!(values, run.net.values(), "{name} {convention:?}");
        }
        // It was worth comparing.
        let (dir, mut run) = saved(|run| run, make());
        run.train(4);
        let (_copy, checkpoints) = copied(dir.path());
        let mut fresh = Run::new(checkpoints, make());
        fresh.restore().unwrap();
        fresh.optimizer = make();
        fresh.train(4);
        let stateless = matches!(name, "SGD" | "Keras SGD");
        assert_eq!(fresh.net.values() == run.net.values(), stateless, "{name}");
    }
}

#[test]
fn state_that_tensorflow_has_is_called_as_tensorflow_calls_it() {
    let names = |convention, make: Make| {
        let (dir, _) = saved(|run| run.optimizer_convention(convention), make());
        kernel_names(dir.path())
    };
    let adam: Make = || AdamConfig::new().init();
    assert_eq!(
        names(V1, adam),
        [
            "Adam/iterations",
            "beta1_power",
            "beta2_power",
            "dense/kernel/Adam",
            "dense/kernel/Adam_1"
        ]
    );
    assert_eq!(
        names(Keras3, adam),
        [
            "adam/dense_kernel_momentum",
            "adam/dense_kernel_velocity",
            "adam/iteration"
        ]
    );
    assert_eq!(
        names(Keras2, adam),
        ["Adam/iteration", "Adam/m/dense/kernel", "Adam/v/dense/kernel"]
    );
    assert_eq!(
        names(Keras2Legacy, adam),
        ["Adam/dense/kernel/m", "Adam/dense/kernel/v", "Adam/iter"]
    );
    assert_eq!(names(V1, || momentum(0.0, true)), ["dense/kernel/Momentum"]);
    // TensorFlow has a momentum in any case.
    let rms: Make = || RmsPropConfig::new().with_momentum(0.0).init();
    assert_eq!(names(V1, rms), ["dense/kernel/RMSProp", "dense/kernel/RMSProp_1"]);
    assert_eq!(
        names(Keras3, rms),
        ["rm_sprop/dense_kernel_velocity", "rm_sprop/iteration"]
    );
    let centered: Make = || optim::RmsProp::v1().with_centered(true).init();
    assert_eq!(
        names(V1, centered),
        [
            "dense/kernel/RMSProp",
            "dense/kernel/RMSProp_1",
            "dense/kernel/RMSProp_2"
        ]
    );
    assert_eq!(
        names(V1, || AdaGradConfig::new().init()),
        ["Adagrad/iterations", "dense/kernel/Adagrad"]
    );
    assert_eq!(
        names(Keras3, || optim::Nadam::keras().init()),
        [
            "nadam/dense_kernel_momentum",
            "nadam/dense_kernel_velocity",
            "nadam/iteration",
            "nadam/learning_rate",
            "nadam/variable"
        ]
    );
    assert_eq!(
        names(Keras3, || LambConfig::new().init()),
        [
            "lamb/dense_kernel_momentum",
            "lamb/dense_kernel_velocity",
            "lamb/iteration"
        ]
    );
    assert_eq!(
        names(V1, || optim::Adamax::keras().init()),
        [
            "AdaMax/iterations",
            "beta1_power",
            "beta2_power",
            "dense/kernel/AdaMax",
            "dense/kernel/AdaMax_1"
        ]
    );
}

#[test]
fn state_that_means_something_else_in_tensorflow_is_kept_under_names_of_its_own() {
    let names = |convention, make: Make| {
        let (dir, _) = saved(|run| run.optimizer_convention(convention), make());
        kernel_names(dir.path())
    };
    let velocity = ["dense/kernel/optimizer/momentum.velocity"];
    // A dampening, which TensorFlow does not have; a sum, where Keras has a step; Muon, which looks the same.
    assert_eq!(names(V1, || momentum(0.1, false)), velocity);
    assert_eq!(names(Keras3, || momentum(0.0, false)), velocity);
    let muon: Make = || {
        let matrices = ParamGroup::from_predicate("dense.weight");
        let muon = MuonConfig::new().build();
        SgdConfig::new().init().with_group(matrices, muon, None)
    };
    assert_eq!(names(V1, muon), velocity);
    assert_eq!(
        names(Keras3, || optim::Momentum::v1(0.9).init()),
        ["dense/kernel/optimizer/Momentum.momentum"]
    );
    assert_eq!(
        names(V1, || optim::Sgd::keras().with_momentum(0.9).init()),
        ["dense/kernel/optimizer/SGD.momentum"]
    );
    let buffer = "dense/kernel/optimizer/momentum.buf".to_owned();
    assert!(names(V1, || RmsPropConfig::new().init()).contains(&buffer));
    assert!(names(V1, || LambConfig::new().init()).contains(&"dense/kernel/optimizer/moment_1".to_owned()));
}

#[test]
fn scopes_and_numbers_of_names_are_those_that_are_asked_for() {
    let first = OptimizerNames::new(OptimizerKind::Adam, V1);
    let names = first.clone().after([&first]).scope("train");
    let own = names.clone();
    let (dir, mut run) = saved(move |run| run.optimizer_names(own.clone()), AdamConfig::new().init());
    let kernel = names.slot("dense/kernel", Slot::SecondMoment);
    assert!(
        kernel_names(dir.path()).contains(&kernel[0]),
        "{:?}",
        kernel_names(dir.path())
    );
    run.train(4);
    let values = gone_on(
        dir.path(),
        |run| run.optimizer_names(names.clone()),
        || AdamConfig::new().init(),
        4,
    );
    assert_eq!(values, run.net.values());
    let (dir, _) = saved(|run| run.optimizer_name("Mine"), AdamConfig::new().init());
    assert!(kernel_names(dir.path()).contains(&"dense/kernel/Mine_1".to_owned()));
}

#[test]
fn powers_are_those_of_the_betas_that_the_optimizer_has() {
    let (dir, _) = saved(|run| run, AdamConfig::new().with_beta_1(0.5).with_beta_2(0.75).init());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.read::<f32>("beta1_power").unwrap(), [0.125]);
    assert_eq!(checkpoint.read::<f32>("beta2_power").unwrap(), [0.421875]);
    let (dir, _) = saved(|run| run, optim::Adam::v1().with_beta_1(0.5).init());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.read::<f32>("beta1_power").unwrap(), [0.125]);
    assert_eq!(checkpoint.read::<f32>("beta2_power").unwrap(), [0.999 * 0.999 * 0.999]);
}

/// Saves the variables of a checkpoint again, changed.
fn rewritten(from: &Path, change: impl Fn(&str) -> Option<String>) -> tempfile::TempDir {
    let checkpoint = Checkpoint::open(from).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let variables = checkpoint.variables().filter_map(|info| {
        let name = change(&info.name())?;
        let bytes = checkpoint.read_bytes(info.key()).unwrap();
        Some(Variable::from_bytes(name, info.dtype(), info.shape().clone(), bytes))
    });
    let variables: Vec<_> = variables.filter(|variable| variable.key() != b"global_step").collect();
    Saver::new(dir.path()).save(variables, 2).unwrap();
    dir
}

fn refused(dir: &Path, optimizer: ModuleOptimizer) -> String {
    let (_copy, checkpoints) = copied(dir);
    let mut run = Run::new(checkpoints, optimizer);
    let before = run.net.values();
    let error = run.restore().unwrap_err();
    assert_eq!(run.net.values(), before, "nothing was restored");
    assert!(run.optimizer.to_record().is_empty());
    error.to_string()
}

#[test]
fn a_missing_slot_is_named() {
    let makes: [(Make, &str); 6] = [
        (|| AdamConfig::new().init(), "dense/kernel/Adam_1"),
        (|| AdamConfig::new().with_amsgrad(true).init(), "dense/kernel/Adam_2"),
        (|| optim::Ftrl::v1().init(), "dense/kernel/Ftrl"),
        (|| optim::RmsProp::v1().init(), "dense/kernel/RMSProp_1"),
        (
            || AdanConfig::new().init(),
            "dense/kernel/optimizer/momentum.exp_avg_diff",
        ),
        (
            || AdafactorConfig::new().init(),
            "dense/kernel/optimizer/column_second_moment",
        ),
    ];
    for (make, missing) in makes {
        let (whole, _) = saved(|run| run, make());
        let part = rewritten(whole.path(), |name| (name != missing).then(|| name.to_owned()));
        let error = refused(part.path(), make());
        assert!(
            error.contains(&format!("`{missing}` is missing")) && error.contains("dense.weight"),
            "{error}"
        );
    }
}

#[test]
fn the_state_of_another_optimizer_is_refused_by_name() {
    let cases: [(Make, Make, &str, &str); 8] = [
        (
            || AdamConfig::new().init(),
            || momentum(0.0, false),
            "conv/kernel/Adam",
            "",
        ),
        (
            || momentum(0.0, false),
            || AdamConfig::new().init(),
            "conv/kernel/Momentum",
            "",
        ),
        (
            || momentum(0.0, false),
            || momentum(0.1, false),
            "conv/kernel/Momentum",
            "dampening of 0",
        ),
        (
            || optim::RmsProp::v1().with_momentum(0.9).init(),
            || RmsPropConfig::new().init(),
            "conv/kernel/RMSProp",
            "optim::RmsProp",
        ),
        (
            || AdamConfig::new().with_amsgrad(true).init(),
            || AdamConfig::new().init(),
            "conv/kernel/Adam_2",
            "",
        ),
        (
            || AdanConfig::new().init(),
            || AdamConfig::new().init(),
            "conv/kernel/optimizer/",
            "",
        ),
        (
            || AdamConfig::new().init(),
            || SgdConfig::new().init(),
            "conv/kernel/Adam",
            "",
        ),
        (
            || LambConfig::new().init(),
            || AdafactorConfig::new().init(),
            "conv/kernel/optimizer/",
            "",
        ),
    ];
    for (stored, wanted, name, reason) in cases {
        let (dir, _) = saved(|run| run, stored());
        let error = refused(dir.path(), wanted());
        assert!(error.contains(name) && error.contains(reason), "{name}: {error}");
    }
    let keras: Make = || optim::Sgd::keras().with_momentum(0.9).init();
    let (dir, _) = saved(|run| run.optimizer_convention(Keras3), keras());
    let error = refused(dir.path(), optim::Momentum::v1(0.9).init());
    assert!(
        error.contains("sgd/conv_kernel_momentum") && error.contains("optim::Sgd"),
        "{error}"
    );
    let (dir, _) = saved(|run| run, optim::Momentum::v1(0.9).init());
    let error = refused(dir.path(), keras());
    assert!(
        error.contains("conv/kernel/Momentum") && error.contains("optim::Momentum"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_without_state_begins_the_optimizer_anew() {
    let (whole, _) = saved(|run| run, AdamConfig::new().init());
    let bare = rewritten(whole.path(), |name| {
        let is_state = ["Adam", "beta", "burn", "lr_"].iter().any(|part| name.contains(part));
        (!is_state || name == "conv/beta").then(|| name.to_owned())
    });
    let mut run = Run::new(TfCheckpoints::new(bare.path()), AdamConfig::new().init());
    assert_eq!(run.restore().unwrap(), 2);
    assert!(run.optimizer.to_record().is_empty());
}

#[test]
fn without_a_count_of_steps_the_powers_tell_it_and_then_global_step() {
    let make: Make = || AdamConfig::new().init();
    let (whole, mut run) = saved(|run| run, make());
    run.train(4);
    let goes_on = |dir: &Path| gone_on(dir, |run| run, make, 4) == run.net.values();
    // As TensorFlow writes it.
    let uncounted = rewritten(whole.path(), |name| {
        (name != "Adam/iterations").then(|| name.to_owned())
    });
    assert!(goes_on(uncounted.path()));
    // `global_step` of a run that was fine-tuned does not count for the optimizer.
    let checkpoint = Checkpoint::open(uncounted.path()).unwrap();
    let later = tempfile::tempdir().unwrap();
    let variables = checkpoint
        .variables()
        .filter(|info| info.name() != "global_step")
        .map(|info| {
            let bytes = checkpoint.read_bytes(info.key()).unwrap();
            Variable::from_bytes(info.name().into_owned(), info.dtype(), info.shape().clone(), bytes)
        });
    Saver::new(later.path())
        .save(variables.collect::<Vec<_>>(), 5000)
        .unwrap();
    let mut other = Run::new(TfCheckpoints::new(later.path()), make());
    assert_eq!(other.restore().unwrap(), 5000);
    other.save();
    let checkpoint = Checkpoint::open(later.path()).unwrap();
    // That step was saved by the other program, so that it was not saved again; the next one is.
    assert!(!checkpoint.contains("Adam/iterations"));
    other.train(5001);
    other.save();
    let checkpoint = Checkpoint::open(later.path()).unwrap();
    assert_eq!(checkpoint.read::<i64>("Adam/iterations").unwrap(), [3]);
    // Neither count nor powers.
    let bare = rewritten(uncounted.path(), |name| {
        (!name.starts_with("beta")).then(|| name.to_owned())
    });
    assert!(goes_on(bare.path()));
}

#[test]
fn a_parameter_that_has_seen_fewer_steps_keeps_its_own_count() {
    for make in [
        (|| AdamConfig::new().init()) as Make,
        || optim::Adam::v1().init(),
        || optim::Nadam::keras().init(),
    ] {
        let (dir, mut run) = saved(|run| run.optimizer_convention(Keras3), make());
        run.net.conv = run.net.conv.no_grad();
        run.train(4);
        run.save();
        run.net.conv = run.net.conv.set_require_grad(true);
        run.train(6);
        assert_eq!(gone_on(dir.path(), |run| run, make, 6), run.net.values());
    }
}

/// An optimizer that nobody knows, and the steps that it was asked for.
#[derive(Clone)]
struct Unknown(Arc<AtomicUsize>);

#[derive(Clone)]
struct UnknownState<const D: usize> {
    average: Tensor<D>,
    steps: u64,
}

impl<const D: usize> RecordState for UnknownState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "average", self.average.clone().into_data());
        out.push_scalar(prefix, "steps", self.steps.into());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        Some(UnknownState {
            average: Tensor::from_data(src.take_tensor(prefix, "average")?, device),
            steps: src.take_scalar(prefix, "steps")?.try_into().ok()?,
        })
    }
}

impl Optimizer for Unknown {
    type State<const D: usize> = UnknownState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<UnknownState<D>>,
    ) -> (Tensor<D>, Option<UnknownState<D>>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut state = state.unwrap_or_else(|| UnknownState {
            average: grad.zeros_like(),
            steps: 0,
        });
        state.steps += 1;
        state.average = state.average.mul_scalar(0.5) + grad;
        let change = state.average.clone().mul_scalar(lr / state.steps as f64);
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: UnknownState<D>, _: &Device) -> UnknownState<D> {
        state
    }
}

#[test]
fn an_optimizer_of_ones_own_goes_on_exactly_and_never_makes_a_step_unasked() {
    let steps = Arc::new(AtomicUsize::new(0));
    let (dir, mut run) = saved(|run| run, Unknown(steps.clone()).into());
    assert_eq!(steps.load(Ordering::Relaxed), 2 * 4);
    assert_eq!(
        kernel_names(dir.path()),
        ["dense/kernel/optimizer/average", "dense/kernel/optimizer/steps"]
    );
    run.train(4);
    assert_eq!(
        gone_on(dir.path(), |run| run, || Unknown(Arc::default()).into(), 4),
        run.net.values()
    );
    let part = rewritten(dir.path(), |name| {
        (name != "dense/kernel/optimizer/average").then(|| name.to_owned())
    });
    refused(part.path(), Unknown(Arc::default()).into());
    let (adam, _) = saved(|run| run, AdamConfig::new().init());
    let error = refused(adam.path(), Unknown(Arc::default()).into());
    assert!(error.contains("conv/kernel/Adam"), "{error}");
}

#[derive(Module, Debug)]
struct Recurrent {
    lstm: Lstm,
}

#[test]
fn slots_of_layers_that_are_made_of_parts_are_those_of_the_whole_variables() {
    let device = Device::flex().autodiff();
    let net = || Recurrent {
        lstm: LstmConfig::new(3, 4, true).init(&device),
    };
    let makes: [(Make, &str); 3] = [
        (|| AdamConfig::new().init(), "/recurrent_kernel/Adam_1"),
        (|| optim::Ftrl::v1().init(), "/recurrent_kernel/Ftrl_1"),
        (|| momentum(0.1, false), "/recurrent_kernel/optimizer/momentum.velocity"),
    ];
    for (make, slot) in makes {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (mut first, mut optimizer) = (net(), make());
        let mut rate: ModuleLrScheduler = ConstantLr::from(0.01).into();
        let checkpoints = TfCheckpoints::new(dirs[0].path());
        for _ in 0..2 {
            let (output, _) = first.lstm.forward(Tensor::ones([2, 5, 3], &device), None);
            let gradients = GradientsParams::from_grads(output.square().mean().backward(), &first);
            first = optimizer.step(rate.step(), first, gradients);
            checkpoints.after_step(&first, &optimizer, &rate).unwrap();
        }
        checkpoints.save(&first, &optimizer, &rate).unwrap();
        let (_copy, restored) = copied(dirs[0].path());
        let (mut second, mut optimizer) = (net(), make());
        restored
            .restore_or_initialize(&mut second, &mut optimizer, &mut rate)
            .unwrap();
        TfCheckpoints::new(dirs[1].path())
            .save(&second, &optimizer, &rate)
            .unwrap();
        let slots = |dir: &Path| {
            let checkpoint = Checkpoint::open(dir).unwrap();
            let slots = checkpoint.variables().filter(|info| info.name().contains("kernel/"));
            let content = |info: &tfckpt::VariableInfo| {
                let bytes = checkpoint.read_bytes(info.key()).unwrap();
                (info.name().into_owned(), info.shape().dims().to_vec(), bytes)
            };
            slots.map(content).collect::<Vec<_>>()
        };
        let [before, after] = dirs.each_ref().map(|dir| slots(dir.path()));
        let is_whole = |(name, shape, _): &(String, Vec<usize>, Vec<u8>)| name.ends_with(slot) && *shape == [4, 16];
        assert!(before.iter().any(is_whole), "{slot}");
        assert_eq!(before, after, "{slot}");
    }
}

/// Keras keeps it beside the slots; Burn gives it to each step, and TensorFlow 1 has none.
#[test]
fn the_learning_rate_of_the_last_step_is_saved_as_keras_has_it() {
    let adam: Make = || optim::Adam::keras().init();
    let sgd: Make = || optim::Sgd::keras().init();
    for (make, conventions) in [
        (adam, [(Keras3, "adam"), (Keras2, "Adam"), (Keras2Legacy, "Adam")]),
        (sgd, [(Keras3, "sgd"), (Keras2, "SGD"), (Keras2Legacy, "SGD")]),
    ] {
        for (convention, name) in conventions {
            let (dir, _) = saved(|run| run.optimizer_convention(convention), make());
            let checkpoint = Checkpoint::open(dir.path()).unwrap();
            let rate = checkpoint.read::<f32>(&format!("{name}/learning_rate")).unwrap();
            assert_eq!(rate, [0.01], "{convention:?}");
        }
        // As an object of Python it is the optimizer's, whatever the layout says.
        let layout = ObjectLayout::keras3_functional(["input", "conv", "dense"]).learning_rate(0.5);
        let (dir, _) = saved(|run| run.objects(layout.clone()), make());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let root = checkpoint.objects().unwrap().unwrap().node(0).unwrap();
        let rate = root
            .child("optimizer")
            .and_then(|optimizer| optimizer.child("_learning_rate"));
        let rate = checkpoint.read::<f32>(rate.unwrap().variable().unwrap().key()).unwrap();
        assert_eq!(rate, [0.01]);
        let (dir, _) = saved(|run| run, make());
        let names = state_names(dir.path());
        assert!(!names.iter().any(|name| name.contains("learning_rate")), "{names:?}");
    }
}

#[test]
fn groups_have_state_of_their_own_kind() {
    let make: Make = || {
        let kernels = ParamGroup::from_predicate("weight");
        optim::Adam::v1()
            .init()
            .with_group(kernels, optim::Momentum::v1(0.9), None)
    };
    let (dir, mut run) = saved(|run| run, make());
    let expected = [
        "Adam/iterations",
        "beta1_power",
        "beta2_power",
        "conv/bias/Adam",
        "conv/bias/Adam_1",
        "conv/kernel/Momentum",
        "dense/bias/Adam",
        "dense/bias/Adam_1",
        "dense/kernel/Momentum",
    ];
    assert_eq!(state_names(dir.path()), expected.map(str::to_owned).into());
    run.train(4);
    assert_eq!(gone_on(dir.path(), |run| run, make, 4), run.net.values());
}
