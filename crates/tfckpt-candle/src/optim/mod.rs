//! Optimizers whose state is part of a checkpoint.

mod changes;
mod clip;
mod exact;
mod precision;
mod rule;
mod rules;
mod state;
mod vars;

pub use changes::Changes;
pub use clip::Clip;
pub use exact::TfOptimizer;
pub use rules::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Ftrl, KerasAdamW, Lion, Nadam, ParamsAdadelta, ParamsAdagrad, ParamsAdam,
    ParamsAdamax, ParamsFtrl, ParamsKerasAdamW, ParamsLion, ParamsNadam, ParamsRmsProp, ParamsSgd, RmsProp, Sgd,
};
pub use state::{CheckpointedOptimizer, OptimizerState};

pub(crate) use state::{Absent, Counter, Slot};
