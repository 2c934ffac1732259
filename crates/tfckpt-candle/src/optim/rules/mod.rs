//! The formulas, each with its settings.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod candle_adamw;
mod ftrl;
mod lion;
mod nadam;
mod rms_prop;
mod sgd;

pub use adadelta::{Adadelta, ParamsAdadelta};
pub use adagrad::{Adagrad, ParamsAdagrad};
pub use adam::{Adam, KerasAdamW, ParamsAdam, ParamsKerasAdamW};
pub use adamax::{Adamax, ParamsAdamax};
pub use candle_adamw::AdamW;
pub use ftrl::{Ftrl, ParamsFtrl};
pub use lion::{Lion, ParamsLion};
pub use nadam::{Nadam, ParamsNadam};
pub use rms_prop::{ParamsRmsProp, RmsProp};
pub use sgd::{ParamsSgd, Sgd};
