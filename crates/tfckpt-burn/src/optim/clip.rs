//! Gradients that are too large together, as Keras clips them.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The gradients, scaled down together by the L2 norm of all of them, if that is more than `limit`: `global_clipnorm` of
/// Keras. Clipping of each gradient by itself, `clipnorm` and `clipvalue`, is Burn's `with_grad_clipping`.
///
/// An infinite norm, or one that is no number, makes all gradients so, as in Keras. The norm is fetched from the device.
///
/// ```
/// # use burn::nn::LinearConfig;
/// # use burn::optim::GradientsParams;
/// # use burn::tensor::{Device, Tensor};
/// use tfckpt_burn::optim::clip_by_global_norm;
///
/// # let device = Device::flex().autodiff();
/// # let model = LinearConfig::new(2, 3).init(&device);
/// # let loss = model.forward(Tensor::<2>::ones([4, 2], &device)).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// let gradients = clip_by_global_norm(gradients, &model, 1.0);
/// # let of_bias = gradients.get::<1>(model.bias.as_ref().unwrap().id).unwrap();
/// # assert!(of_bias.abs().max().into_scalar::<f32>() < 1.0);
/// ```
#[must_use]
pub fn clip_by_global_norm<M: Module>(gradients: GradientsParams, model: &M, limit: f64) -> GradientsParams {
    let mut sum = SumOfSquares {
        gradients: &gradients,
        seen: BTreeSet::new(),
        sum: 0.0,
    };
    model.visit(&mut sum);
    let norm = sum.sum.sqrt();
    let scale = limit * (1.0 / norm).min(1.0 / limit) + norm * 0.0;
    let mut scaled = Scaled {
        gradients,
        scale,
        done: GradientsParams::new(),
    };
    model.visit(&mut scaled);
    // Those of parameters that the model does not have are nobody's.
    scaled.done
}

struct SumOfSquares<'g> {
    gradients: &'g GradientsParams,
    /// A parameter that is in several places has one gradient.
    seen: BTreeSet<u64>,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.seen.insert(param.id.val())
            && let Some(gradient) = self.gradients.get::<D>(param.id)
        {
            let squares = (gradient.clone() * gradient).sum().into_data();
            self.sum += squares.iter::<f64>().next().unwrap_or(f64::NAN);
        }
    }
}

struct Scaled {
    gradients: GradientsParams,
    scale: f64,
    done: GradientsParams,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.done.register(param.id, gradient.mul_scalar(self.scale));
        }
    }
}
