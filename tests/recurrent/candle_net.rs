//! Recurrent layers that are trained in Candle: for the tests, and for the peer of `tests/interop`.
#![allow(dead_code, reason = "the tests use some of it, the peer of tests/interop the rest")]

use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_nn::rnn::{Direction, GRU, LSTM, LSTMConfig};
use candle_nn::{Linear, Optimizer, RNN, VarBuilder, VarMap};
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention;
use tfckpt_candle::{Adam, Layers, ParamsAdam, Run, recording};

/// An LSTM, one in both directions, a GRU, and a dense layer of its last state.
struct Net {
    lstm: LSTM,
    forwards: LSTM,
    backwards: LSTM,
    gru: GRU,
    dense: Linear,
}

/// The layers of the model in Python, the input apart.
pub(crate) const LAYERS: [&str; 4] = ["lstm", "bi", "gru", "dense"];

impl Net {
    fn new(vb: &VarBuilder<'_>) -> Result<Self> {
        let backward = LSTMConfig {
            direction: Direction::Backward,
            ..Default::default()
        };
        Ok(Net {
            lstm: candle_nn::lstm(3, 5, Default::default(), vb.pp("lstm"))?,
            forwards: candle_nn::lstm(5, 2, Default::default(), vb.pp("bi"))?,
            backwards: candle_nn::lstm(5, 2, backward, vb.pp("bi"))?,
            gru: candle_nn::gru(4, 4, Default::default(), vb.pp("gru"))?,
            dense: candle_nn::linear(4, 3, vb.pp("dense"))?,
        })
    }

    /// Of `x [n, steps, 3]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = states(&self.lstm, x)?;
        let back = reversed(&states(&self.backwards, &reversed(&x)?)?)?;
        let x = Tensor::cat(&[states(&self.forwards, &x)?, back], 2)?;
        let hidden = self.gru.seq(&x)?.pop().map(|state| state.h().clone());
        self.dense
            .forward(&hidden.ok_or(candle_core::Error::Msg("no steps".to_owned()))?)
    }
}

/// All states of an LSTM, one behind the other.
fn states(layer: &LSTM, x: &Tensor) -> Result<Tensor> {
    let states: Vec<Tensor> = layer.seq(x)?.iter().map(|state| state.h().clone()).collect();
    Tensor::stack(&states, 1)
}

fn reversed(x: &Tensor) -> Result<Tensor> {
    let steps: Vec<u32> = (0..x.dim(1)? as u32).rev().collect();
    x.index_select(&Tensor::new(steps, x.device())?, 1)
}

/// The network, its variables, and Adam.
pub(crate) struct Training {
    net: Net,
    pub(crate) varmap: VarMap,
    layers: Layers,
    optimizer: Adam,
}

impl Training {
    /// With weights that are the same each time.
    pub(crate) fn new(convention: Convention) -> Result<Self> {
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        let net = Net::new(&vb)?;
        let training = Training {
            net,
            layers,
            optimizer: Adam::new(&varmap, ParamsAdam::of(convention))?,
            varmap,
        };
        for (number, (_, var)) in training.vars().iter().enumerate() {
            let values = Tensor::arange(0f32, var.elem_count() as f32, &Device::Cpu)?;
            let values = ((values * 0.37)? + number as f64)?.sin()?;
            var.set(&(values * 0.5)?.reshape(var.shape())?)?;
        }
        Ok(training)
    }

    /// All variables, by path.
    pub(crate) fn vars(&self) -> Vec<(String, Var)> {
        let vars = self.varmap.data().lock().unwrap_or_else(|broken| broken.into_inner());
        let mut vars: Vec<(String, Var)> = vars.iter().map(|(path, var)| (path.clone(), var.clone())).collect();
        vars.sort_by(|a, b| a.0.cmp(&b.0));
        vars
    }

    /// Goes on in a directory from what it finds there, and saves the last step.
    pub(crate) fn until(&mut self, dir: &str, until: i64, layout: Option<ObjectLayout>) -> tfckpt_candle::Result<()> {
        let mut run = Run::new(dir, &self.varmap, &self.optimizer).layers(&self.layers);
        if let Some(layout) = layout {
            run = run.objects(layout);
        }
        for step in run.restore_or_initialize()?..until {
            let off = (self.net.forward(&input(step)?)? - 0.5)?.sqr()?.mean_all()?;
            // The second bias alone, so that the two have other gradients, and other moments.
            let penalty = self.vars().into_iter().find(|(path, _)| path == "lstm.bias_hh_l0");
            let penalty = penalty.map(|(_, bias)| bias.sqr()?.sum_all()? * 0.01).transpose()?;
            let loss = match penalty {
                Some(penalty) => (off + penalty)?,
                None => off,
            };
            self.optimizer.backward_step(&loss)?;
            run.after_step()?;
        }
        run.save()?;
        Ok(())
    }

    /// Saves all of it by names, in a directory of its own.
    pub(crate) fn save(&self, dir: &str) -> tfckpt_candle::Result<()> {
        Run::new(dir, &self.varmap, &self.optimizer)
            .layers(&self.layers)
            .save()?;
        Ok(())
    }

    /// What it computes of the input of a step.
    pub(crate) fn output(&self, step: i64) -> Result<Tensor> {
        self.net.forward(&input(step)?)
    }
}

/// `[2, 4, 3]`.
pub(crate) fn input(step: i64) -> Result<Tensor> {
    let numbers = (Tensor::arange(0f32, 24f32, &Device::Cpu)? + step as f64)?;
    (numbers * 0.7)?.sin()?.reshape((2, 4, 3))
}
