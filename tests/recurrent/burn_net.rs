//! Recurrent layers that are trained in Burn: for the tests, and for the peer of `tests/interop`.
#![allow(dead_code, reason = "the tests use some of it, the peer of tests/interop the rest")]

use std::path::Path;

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{BiLstm, BiLstmConfig, Gru, GruConfig, Linear, LinearConfig, Lstm, LstmConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use tfckpt_burn::TfCheckpoints;

/// An LSTM, one in both directions, a GRU, and a dense layer of its last state.
#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) lstm: Lstm,
    bi: BiLstm,
    gru: Gru,
    dense: Linear,
}

/// Gives all parameters values that are the same each time: random ones are drawn from what all tests share.
struct Waves;

impl ModuleMapper for Waves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let waves = (0..value.shape().num_elements()).map(|i| (i as f32 * 1.7 + 0.3).sin() * 0.4);
        let data = TensorData::new(waves.collect::<Vec<f32>>(), value.shape());
        let waves = Tensor::from_data(data, &value.device()).set_require_grad(value.is_require_grad());
        Param::from_mapped_value(id, waves, mapper)
    }
}

/// The layers of the model in Python, the input apart.
pub(crate) const LAYERS: [&str; 4] = ["lstm", "bi", "gru", "dense"];

impl Net {
    pub(crate) fn new(device: &Device) -> Self {
        let net = Net {
            lstm: LstmConfig::new(3, 5, true).init(device),
            bi: BiLstmConfig::new(5, 2, true).init(device),
            gru: GruConfig::new(4, 4, true).init(device),
            dense: LinearConfig::new(4, 3).init(device),
        };
        net.map(&mut Waves)
    }

    /// Of `x [n, steps, 3]`.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let [n, steps, _] = x.dims();
        let x = self.bi.forward(self.lstm.forward(x, None).0, None).0;
        let last = self.gru.forward(x, None).slice([0..n, steps - 1..steps]);
        self.dense.forward(last.squeeze_dim::<2>(1))
    }

    /// The square of the second bias of a gate alone, so that its two have other gradients, and other moments.
    fn penalty(&self) -> Option<Tensor<1>> {
        let bias = self.lstm.input_gate.hidden_transform.bias.as_ref()?;
        Some(bias.val().square().sum() * 0.01)
    }
}

/// `[2, 4, 3]`.
pub(crate) fn input(step: i64, device: &Device) -> Tensor<3> {
    let values: Vec<f32> = (0..24).map(|i| ((i + step) as f32 * 0.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, [2, 4, 3]), device)
}

/// The network, an optimizer of it, and where it is.
pub(crate) struct Training {
    pub(crate) net: Net,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) rate: ModuleLrScheduler,
}

impl Training {
    pub(crate) fn new(optimizer: ModuleOptimizer) -> Self {
        Training {
            net: Net::new(&Device::flex().autodiff()),
            optimizer,
            rate: ConstantLr::from(1e-2).into(),
        }
    }

    /// Goes on from what the checkpoints have, and saves the last step.
    pub(crate) fn until(mut self, checkpoints: &TfCheckpoints, until: i64) -> tfckpt_burn::Result<Self> {
        let device = Device::flex().autodiff();
        let start = checkpoints.restore_or_initialize(&mut self.net, &mut self.optimizer, &mut self.rate)?;
        for step in start..until {
            let off = (self.net.forward(input(step, &device)) - 0.5).square().mean();
            let loss = match self.net.penalty() {
                Some(penalty) => off + penalty,
                None => off,
            };
            let gradients = GradientsParams::from_grads(loss.backward(), &self.net);
            self.net = self.optimizer.step(self.rate.step(), self.net, gradients);
            checkpoints.after_step(&self.net, &self.optimizer, &self.rate)?;
        }
        checkpoints.save(&self.net, &self.optimizer, &self.rate)?;
        Ok(self)
    }
}

/// In a directory.
pub(crate) fn checkpoints(dir: &Path) -> TfCheckpoints {
    TfCheckpoints::new(dir)
}
