//! Optimizers in Burn, on the gradients of `tests/fixtures/make/optimizers.py`: a checkpoint after 10 steps, from which
//! TensorFlow goes on, and what Burn computes in the next 20.

use anyhow::{Result, bail};
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, GradientsParams, LearningRate, LionConfig, ModuleOptimizer, RmsPropConfig, SgdConfig,
};
use burn::tensor::{Device, Tensor, TensorData};
use tfckpt::objects::ObjectLayout;
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::optim::{Adadelta, Adagrad, Adam, Adamax, Ftrl, Lion, Momentum, Nadam, RmsProp, Sgd};

/// The network whose variables `optimizers.py` trains.
#[derive(Module, Debug)]
struct Net {
    dense: Linear,
    conv: Conv2d,
}

/// The formula of `optimizers.py`.
fn numbers(seed: i64, count: i64) -> Vec<f32> {
    let value = |i: i64| {
        let whole = (i * 7919 + seed * 104_729 + i * i * 31) % 2003 - 1001;
        (whole as f64 / 1024.0 * 0.5f64.powi((i % 5) as i32)) as f32
    };
    (0..count).map(value).collect()
}

fn kernel(seed: i64, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers(seed, 85), [5, 17]), device)
}

fn bias(seed: i64, device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers(seed, 17), [17]), device)
}

fn filter(seed: i64, device: &Device) -> Tensor<4> {
    let tensor = Tensor::<4>::from_data(TensorData::new(numbers(seed, 24), [2, 2, 2, 3]), device);
    tensor.permute([3, 2, 0, 1])
}

impl Net {
    fn new(device: &Device) -> Self {
        let mut net = Net {
            dense: LinearConfig::new(5, 17).init(device),
            conv: Conv2dConfig::new([2, 3], [2, 2]).with_bias(false).init(device),
        };
        net.dense.weight = Param::from_tensor(kernel(1000, device));
        net.dense.bias = Some(Param::from_tensor(bias(1001, device)));
        net.conv.weight = Param::from_tensor(filter(1002, device));
        net
    }

    fn gradients(&self, step: i64) -> GradientsParams {
        let device = Device::flex();
        let mut gradients = GradientsParams::new();
        gradients.register(self.dense.weight.id, kernel(step * 3, &device));
        if let Some(own) = &self.dense.bias {
            gradients.register(own.id, bias(step * 3 + 1, &device));
        }
        gradients.register(self.conv.weight.id, filter(step * 3 + 2, &device));
        gradients
    }

    /// All values in TensorFlow's layout.
    fn values(&self) -> Result<Vec<f32>> {
        let mut values: Vec<f32> = self.dense.weight.val().into_data().try_to_vec()?;
        if let Some(bias) = &self.dense.bias {
            values.extend(bias.val().into_data().try_to_vec::<f32>()?);
        }
        let filter = self.conv.weight.val().permute([2, 3, 1, 0]);
        values.extend(filter.into_data().try_to_vec::<f32>()?);
        Ok(values)
    }
}

fn adam(base: Adam) -> Adam {
    base.with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-4)
}

fn centered(base: RmsProp) -> RmsProp {
    let base = base.with_rho(0.85).with_epsilon(1e-4);
    base.with_momentum(0.7).with_centered(true)
}

fn ftrl(base: Ftrl) -> Ftrl {
    let base = base.with_power(-0.6).with_initial_accumulator(0.2).with_beta(0.1);
    base.with_l1(0.03).with_l2(0.02).with_l2_shrinkage(0.01)
}

fn burns_momentum(nesterov: bool) -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_dampening(0.0).with_nesterov(nesterov);
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

fn burns_adam() -> AdamConfig {
    AdamConfig::new().with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-12)
}

/// An optimizer and its learning rate.
fn optimizer(case: &str) -> Result<(ModuleOptimizer, LearningRate)> {
    let keras = Sgd::keras().with_momentum(0.9);
    Ok(match case {
        "v1_momentum" => (Momentum::v1(0.9).init(), 0.03),
        "v1_nesterov" => (Momentum::v1(0.9).with_nesterov(true).init(), 0.03),
        "v1_adam" => (adam(Adam::v1()).init(), 0.01),
        "v1_rmsprop" => (RmsProp::v1().with_epsilon(1e-4).init(), 0.01),
        "v1_rmsprop_centered" => (centered(RmsProp::v1()).init(), 0.01),
        "v1_adagrad" => (Adagrad::v1().init(), 0.05),
        "v1_adadelta" => (Adadelta::v1().with_rho(0.9).with_epsilon(1e-4).init(), 1.0),
        "v1_ftrl_all" => (ftrl(Ftrl::v1()).init(), 0.05),
        "v1_nadam" => (adam(Adam::v1()).with_nesterov(true).init(), 0.01),
        "momentum" => (keras.init(), 0.03),
        "nesterov" => (keras.with_nesterov(true).init(), 0.03),
        "adam" => (adam(Adam::keras()).init(), 0.01),
        "amsgrad" => (adam(Adam::keras()).with_amsgrad(true).init(), 0.01),
        "adamw" => (adam(Adam::adamw()).with_weight_decay(0.1).init(), 0.01),
        "rmsprop" => (RmsProp::keras().with_rho(0.85).with_epsilon(1e-4).init(), 0.01),
        "rmsprop_centered" => (centered(RmsProp::keras()).init(), 0.01),
        "adagrad" => (Adagrad::keras().with_epsilon(1e-4).init(), 0.05),
        "adadelta" => (Adadelta::keras().with_rho(0.9).with_epsilon(1e-4).init(), 1.0),
        "adamax" => {
            let adamax = Adamax::keras().with_beta_1(0.8).with_beta_2(0.95);
            (adamax.with_epsilon(1e-4).init(), 0.01)
        }
        "nadam" => {
            let nadam = Nadam::keras().with_beta_1(0.8).with_beta_2(0.95);
            (nadam.with_epsilon(1e-4).init(), 0.01)
        }
        "lion" => (Lion::keras().with_beta_1(0.8).with_beta_2(0.95).init(), 0.01),
        "ftrl" => (ftrl(Ftrl::keras()).init(), 0.05),
        // Burn's own, with an epsilon that does not count.
        "burns_momentum" => (burns_momentum(false), 0.03),
        "burns_nesterov" => (burns_momentum(true), 0.03),
        "burns_adam" => (burns_adam().init(), 0.01),
        "burns_amsgrad" => (burns_adam().with_amsgrad(true).init(), 0.01),
        "burns_rmsprop" => {
            let config = RmsPropConfig::new().with_alpha(0.85).with_momentum(0.0);
            (config.with_epsilon(1e-12).init(), 0.01)
        }
        "burns_adagrad" => (AdaGradConfig::new().with_epsilon(1e-12).init(), 0.05),
        "burns_lion" => (LionConfig::new().with_beta_1(0.8).with_beta_2(0.95).init(), 0.01),
        other => bail!("unknown optimizer `{other}`"),
    })
}

/// `layers` are those of a functional model of Keras 3, and none for names.
pub(crate) fn run(directory: &str, case: &str, layers: &[&str]) -> Result<()> {
    let (mut optimizer, lr) = optimizer(case)?;
    let mut net = Net::new(&Device::flex().autodiff());
    let mut rate: ModuleLrScheduler = ConstantLr::from(lr).into();
    let mut checkpoints = TfCheckpoints::new(directory);
    if !layers.is_empty() {
        let layout = ObjectLayout::keras3_functional(layers.iter().copied());
        checkpoints = checkpoints.objects(layout.learning_rate(lr as f32));
    }
    for step in 1..=30 {
        let gradients = net.gradients(step);
        net = optimizer.step(rate.step(), net, gradients);
        checkpoints.after_step(&net, &optimizer, &rate)?;
        if step == 10 {
            checkpoints.save(&net, &optimizer, &rate)?;
        }
    }
    println!("{}", serde_json::to_string(&net.values()?)?);
    Ok(())
}
