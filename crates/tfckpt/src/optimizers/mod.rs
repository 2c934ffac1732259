//! How the state of TensorFlow's optimizers is called in checkpoints.
//!
//! An optimizer keeps tensors for each variable that it trains, its slots, and a few numbers of its own. What they are
//! called depends on the optimizer and on the generation of its Python class, a [`Convention`]; [`OptimizerNames`] knows
//! all of it. `V` is the variable, `dense/kernel`, and `V_` the same with underscores, `dense_kernel`:
//!
//! | | V1 | Keras 2, legacy | Keras 2.11 and later | Keras 3 |
//! |---|---|---|---|---|
//! | slots of Adam | `V/Adam`, `V/Adam_1` | `Adam/V/m`, `Adam/V/v` | `Adam/m/V`, `Adam/v/V` | `adam/V__momentum`, `adam/V__velocity` |
//! | numbers | `beta1_power`, `beta2_power` | `Adam/iter`, `Adam/learning_rate` | `iteration`, `learning_rate` | `adam/iteration`, `adam/learning_rate` |
//! | as Python objects | slots `m`, `v` | slots `m`, `v` | lists `_momentums`, `_velocities` | lists `_momentums`, `_velocities` |
//!
//! The slots, by the last part of these names:
//!
//! | | V1 | Keras 2, legacy | Keras 2.11 and later | Keras 3 | lists of Keras |
//! |---|---|---|---|---|---|
//! | SGD with momentum | `Momentum` | `momentum` | `m` | `momentum` | `momentums` |
//! | Adam, AdamW | `Adam`, `Adam_1` | `m`, `v`, `vhat` | `m`, `v`, `vhat` | `momentum`, `velocity`, `velocity_hat` | `_momentums`, `_velocities`, `_velocity_hats` |
//! | RMSProp | `RMSProp`, `RMSProp_1` | `rms`, `momentum` | `velocity`, `momentum` | `velocity`, `momentum` | `_velocities`, `_momentums` |
//! | centered | `RMSProp`, `RMSProp_1` is the mean, `RMSProp_2` the momentum | and `mg` | and `average_gradient` | and `average_gradient` | and `_average_gradients` |
//! | Adagrad | `Adagrad` | `accumulator` | `accumulator` | `accumulator` | `_accumulators` |
//! | Adadelta | `Adadelta`, `Adadelta_1` | `accum_grad`, `accum_var` | `accumulated_grad`, `accumulated_delta_var` | the same | `_accumulated_grads`, `_accumulated_delta_vars` |
//! | Adamax | `AdaMax`, `AdaMax_1` | `m`, `v` | `m`, `u` | `momentum`, `norm` | `_m`, `_u` |
//! | Nadam | `Adam`, `Adam_1` | `m`, `v` and `momentum_cache` | `m`, `v` and `_u_product` | `momentum`, `velocity` and `_u_product` | `_momentums`, `_velocities` |
//! | Lion | none; ours is `Lion` | none | `m` | `momentum` | 2: `momentums`, 3: `_momentums` |
//! | Ftrl | `Ftrl`, `Ftrl_1` | `accumulator`, `linear` | `accumulator`, `linear` | `accumulator`, `linear` | `_accumulators`, `_linears` |
//! | moving average | `ExponentialMovingAverage` | none | `average` | `average` | `_model_variables_moving_average` |
//!
//! The same slot may mean another number: the momentum of V1 is a sum of gradients, that of Keras the step itself, which
//! has the learning rate and the sign in it. Between these no names can translate.
//!
//! Source: `tensorflow/python/training/` and `tensorflow/contrib/opt/` (AdaMax, Nadam and AdamW of V1, of TensorFlow
//! 1.15), `tf_keras/src/optimizers/` 2.21 and `keras/src/optimizers/` 3.15, and what these wrote.

mod kind;
mod names;

pub use kind::{Convention, OptimizerKind, Slot};
pub(crate) use kind::{singular, told_by};
pub use names::{Counter, OptimizerNames};
