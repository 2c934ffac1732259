//! Optimizers that compute exactly what TensorFlow's do.
//!
//! Burn's own differ from TensorFlow's of the same name: in where epsilon stands, in dampening, in the values that
//! accumulators begin with. A run that goes on from a checkpoint of TensorFlow, or whose checkpoints TensorFlow goes on
//! from, computes the same with one of these: the same operations in the same order and the same precision. Their state
//! is TensorFlow's own, slot for slot.
//!
//! They are used like Burn's: `Adam::v1().init()` is a `ModuleOptimizer`, and
//! `optimizer.with_group(group, Adam::v1(), None)` gives some parameters one of their own. Settings are kept in double
//! precision and rounded where TensorFlow rounds them. `v1` is the optimizer of `tf.compat.v1.train` or `tf.contrib.opt`,
//! `legacy` that of Keras before 2.11 and since then of `tf.keras.optimizers.legacy`, `keras` that of Keras 2.11 and later
//! and of Keras 3.
//!
//! | here | `tf.compat.v1.train` | `tf.keras.optimizers` | slots |
//! |---|---|---|---|
//! | [`Adam`] | `AdamOptimizer`, AdamW and Nadam of `tf.contrib` | `Adam`, `AdamW` | `m`, `v`, with AMSGrad `vhat` |
//! | [`Momentum`] | `MomentumOptimizer` | | `momentum` |
//! | [`Sgd`] | `GradientDescentOptimizer` | `SGD` | with momentum `momentum` |
//! | [`RmsProp`] | `RMSPropOptimizer` | `RMSprop` | `rms`, `mg` if centered, `momentum` |
//! | [`Adagrad`] | `AdagradOptimizer` | `Adagrad` | `accumulator` |
//! | [`Adadelta`] | `AdadeltaOptimizer` | `Adadelta` | `accum`, `accum_update` |
//! | [`Adamax`] | AdaMax of `tf.contrib` | `Adamax` | `m`, `v` |
//! | [`Nadam`] | | `Nadam` | `m`, `v` |
//! | [`Lion`] | | `Lion` | `momentum` |
//! | [`Ftrl`] | `FtrlOptimizer` | `Ftrl` | `accum`, `linear` |
//!
//! ```
//! use burn::module::ParamGroup;
//! use tfckpt_burn::optim::{Adam, Momentum};
//!
//! let all = Adam::v1().with_epsilon(1e-6).init();
//! let some = Adam::keras().init().with_group(ParamGroup::from_predicate("norm"), Momentum::v1(0.9), None);
//! # let _ = (all, some);
//! ```
//!
//! Clipping of each gradient by itself is Burn's, `with_grad_clipping`; of all together it is [`clip_by_global_norm`].
//!
//! # What differs
//! TensorFlow counts steps for the whole optimizer, Burn calls an optimizer for each parameter that has a gradient. A
//! parameter without one at some steps counts fewer of them here, and the bias corrections of the Adam family differ by that.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod clip;
mod form;
mod ftrl;
mod lion;
mod nadam;
mod number;
mod rmsprop;
mod sgd;
mod state;

pub use adadelta::{Adadelta, AdadeltaState};
pub use adagrad::{Adagrad, AdagradState};
pub use adam::{Adam, AdamState};
pub use adamax::{Adamax, AdamaxState};
pub use clip::clip_by_global_norm;
pub use ftrl::{Ftrl, FtrlState};
pub use lion::{Lion, LionState};
pub use nadam::{Nadam, NadamState};
pub use rmsprop::{RmsProp, RmsPropState};
pub use sgd::{Momentum, MomentumState, Sgd, SgdState};
