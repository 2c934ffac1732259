//! A module of single numbers, to see what an optimizer does with them.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

use crate::inert::inert;

/// A parameter of one element.
#[derive(Debug, Clone)]
pub(super) struct Probed {
    pub(super) id: u64,
    /// Its path in the real module, by which optimizers are chosen.
    pub(super) path: String,
    pub(super) rank: usize,
    /// Its gradient.
    pub(super) gradient: f64,
    /// What it is, at first 0.
    pub(super) value: f32,
}

/// Does something for a rank that is known only now; nothing for one that Burn has no optimizers for.
macro_rules! for_rank {
    ($rank:expr, $d:ident => $body:expr) => {
        match $rank {
            0 => {
                const $d: usize = 0;
                $body
            }
            1 => {
                const $d: usize = 1;
                $body
            }
            2 => {
                const $d: usize = 2;
                $body
            }
            3 => {
                const $d: usize = 3;
                $body
            }
            4 => {
                const $d: usize = 4;
                $body
            }
            5 => {
                const $d: usize = 5;
                $body
            }
            6 => {
                const $d: usize = 6;
                $body
            }
            7 => {
                const $d: usize = 7;
                $body
            }
            8 => {
                const $d: usize = 8;
                $body
            }
            _ => {}
        }
    };
}

#[derive(Debug, Clone)]
struct Numbers(Vec<Probed>);

/// Makes a step with a learning rate of 1. What the numbers are then.
pub(super) fn step(optimizer: &mut ModuleOptimizer, numbers: Vec<Probed>) -> Vec<Probed> {
    let mut gradients = GradientsParams::new();
    for number in &numbers {
        for_rank!(number.rank, D => {
            let gradient = Tensor::<D>::full([1; D], number.gradient, &Device::flex());
            gradients.register(ParamId::from(number.id), gradient);
        });
    }
    optimizer.step(1.0, Numbers(numbers), gradients).0
}

impl Module for Numbers {
    inert!();

    fn map<Mapper: ModuleMapper>(mut self, mapper: &mut Mapper) -> Self {
        let device = Device::flex().autodiff();
        for number in &mut self.0 {
            for name in number.path.split('.') {
                mapper.enter_module(name, "");
            }
            for_rank!(number.rank, D => {
                let value = Tensor::<D>::full([1; D], number.value, &device);
                let param = mapper.map_float(Param::initialized(ParamId::from(number.id), value));
                number.value = param.val().into_data().iter::<f32>().next().unwrap_or(f32::NAN);
            });
            for name in number.path.split('.') {
                mapper.exit_module(name, "");
            }
        }
        self
    }
}
