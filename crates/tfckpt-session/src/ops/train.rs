//! The steps of TensorFlow's optimizers, in its order of operations: `tensorflow/core/kernels/training_ops.cc`.

use candle_core::Tensor;

use super::arithmetic::same_dtype;
use super::state::{held, value};
use super::table::{Args, Ops, many};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

/// An optimizer's step: which operands are variables, and which is the gradient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applies {
    pub(crate) kind: &'static str,
    /// Variable and slots are the first operands.
    pub(crate) variables: usize,
    pub(crate) gradient: usize,
    /// The names of the settings, in the order of the operands between variables and gradient, and after it.
    pub(crate) settings: &'static [(&'static str, usize)],
    step: fn(&Step<'_>) -> Result<()>,
}

/// Which operand of a sparse step has the rows.
pub(crate) fn sparse_rows(applies: &Applies) -> usize {
    applies.gradient + 1
}

/// Whether the operation is a step for some rows only.
pub(crate) fn is_sparse(op: &str) -> bool {
    op.strip_prefix("Resource").unwrap_or(op).starts_with("SparseApply")
}

/// What an operation with this name does, if it is an optimizer's step.
pub(crate) fn applies(op: &str) -> Option<&'static Applies> {
    let kind = op.strip_prefix("Resource").unwrap_or(op);
    let kind = kind.strip_prefix("Sparse").unwrap_or(kind).strip_prefix("Apply")?;
    TABLE.iter().find(|applies| applies.kind == kind)
}

pub(super) fn add(ops: &mut Ops) {
    for applies in &TABLE {
        for prefix in ["SparseApply", "ResourceSparseApply"] {
            ops.writes(&format!("{prefix}{}", applies.kind), move |attrs| {
                let nesterov = attrs.bool("use_nesterov", false)?;
                let update_slots = attrs.bool("update_slots", true)?;
                many(move |args, context| {
                    // The rows come after the gradient; the other operands are those of the dense step.
                    let place = sparse_rows(applies);
                    let rows = value(args, place, context)?;
                    let rest = args.values().iter().enumerate().filter(|(at, _)| *at != place);
                    let rest = Args::new(rest.map(|(_, value)| value.clone()).collect());
                    let step = Step::new(&rest, applies, nesterov, update_slots, Some(&rows), context)?;
                    (applies.step)(&step)?;
                    Ok(vec![Value::Variable(args.variable(0)?)])
                })
            });
        }
        for prefix in ["Apply", "ResourceApply"] {
            ops.writes(&format!("{prefix}{}", applies.kind), move |attrs| {
                let nesterov = attrs.bool("use_nesterov", false)?;
                let update_slots = attrs.bool("update_slots", true)?;
                many(move |args, context| {
                    let step = Step::new(args, applies, nesterov, update_slots, None, context)?;
                    (applies.step)(&step)?;
                    Ok(vec![Value::Variable(args.variable(0)?)])
                })
            });
        }
    }
}

const TABLE: [Applies; 12] = [
    Applies {
        kind: "GradientDescent",
        variables: 1,
        gradient: 2,
        settings: &[("learning_rate", 1)],
        step: |s| s.put(0, (s.var(0)? - s.times(&s.gradient, 1)?)?),
    },
    Applies {
        kind: "Momentum",
        variables: 2,
        gradient: 3,
        settings: &[("learning_rate", 2), ("momentum", 4)],
        step: |s| {
            let accum = (s.times(&s.var(1)?, 4)? + &s.gradient)?;
            let change = match s.nesterov {
                true => (s.times(&s.gradient, 2)? + s.times(&s.times(&accum, 4)?, 2)?)?,
                false => s.times(&accum, 2)?,
            };
            s.put(1, accum)?;
            s.put(0, (s.var(0)? - change)?)
        },
    },
    Applies {
        kind: "KerasMomentum",
        variables: 2,
        gradient: 3,
        settings: &[("learning_rate", 2), ("momentum", 4)],
        step: |s| {
            let accum = (s.times(&s.var(1)?, 4)? - s.times(&s.gradient, 2)?)?;
            let change = match s.nesterov {
                true => (s.times(&accum, 4)? - s.times(&s.gradient, 2)?)?,
                false => accum.clone(),
            };
            s.put(1, accum)?;
            s.put(0, (s.var(0)? + change)?)
        },
    },
    Applies {
        kind: "Adam",
        variables: 3,
        gradient: 9,
        settings: &[
            ("beta1_power", 3),
            ("beta2_power", 4),
            ("learning_rate", 5),
            ("beta1", 6),
            ("beta2", 7),
            ("epsilon", 8),
        ],
        step: adam,
    },
    Applies {
        kind: "AdaMax",
        variables: 3,
        gradient: 8,
        settings: &[
            ("beta1_power", 3),
            ("learning_rate", 4),
            ("beta1", 5),
            ("beta2", 6),
            ("epsilon", 7),
        ],
        step: |s| {
            let g = &s.gradient;
            let (m, v) = (s.var(1)?, s.var(2)?);
            let m = (&m + ((g - &m)? * s.one_minus(5)?)?)?;
            let v = s.times(&v, 6)?.maximum(&g.abs()?)?;
            let rate = s.number(4)? / s.one_minus(3)?;
            let change = ((&m / (&v + s.number(7)?)?)? * rate)?;
            s.put(1, m)?;
            s.put(2, v)?;
            s.put(0, (s.var(0)? - change)?)
        },
    },
    Applies {
        kind: "Adagrad",
        variables: 2,
        gradient: 3,
        settings: &[("learning_rate", 2)],
        step: |s| {
            let accum = s.accumulated_square()?;
            let change = (s.times(&s.gradient, 2)? / accum.sqrt()?)?;
            s.put(1, accum)?;
            s.put(0, (s.var(0)? - change)?)
        },
    },
    Applies {
        kind: "AdagradV2",
        variables: 2,
        gradient: 4,
        settings: &[("learning_rate", 2), ("epsilon", 3)],
        step: |s| {
            let accum = s.accumulated_square()?;
            let change = (s.times(&s.gradient, 2)? / (accum.sqrt()? + s.number(3)?)?)?;
            s.put(1, accum)?;
            s.put(0, (s.var(0)? - change)?)
        },
    },
    Applies {
        kind: "Adadelta",
        variables: 3,
        gradient: 6,
        settings: &[("learning_rate", 3), ("rho", 4), ("epsilon", 5)],
        step: |s| {
            let (g, rest, epsilon) = (&s.gradient, s.one_minus(4)?, s.number(5)?);
            let accum = (s.times(&s.var(1)?, 4)? + (g.sqr()? * rest)?)?;
            let before = s.var(2)?;
            let update = (((&before + epsilon)?.sqrt()? * (&accum + epsilon)?.sqrt()?.recip()?)? * g)?;
            let after = (s.times(&before, 4)? + (update.sqr()? * rest)?)?;
            s.put(1, accum)?;
            s.put(2, after)?;
            s.put(0, (s.var(0)? - s.times(&update, 3)?)?)
        },
    },
    Applies {
        kind: "RMSProp",
        variables: 3,
        gradient: 7,
        settings: &[("learning_rate", 3), ("decay", 4), ("momentum", 5), ("epsilon", 6)],
        step: |s| {
            let g = &s.gradient;
            let ms = s.var(1)?;
            let ms = (&ms + ((g.sqr()? - &ms)? * s.one_minus(4)?)?)?;
            let scaled = (s.times(g, 3)? / (&ms + s.number(6)?)?.sqrt()?)?;
            let mom = (s.times(&s.var(2)?, 5)? + scaled)?;
            s.put(1, ms)?;
            s.put(0, (s.var(0)? - &mom)?)?;
            s.put(2, mom)
        },
    },
    Applies {
        kind: "CenteredRMSProp",
        variables: 4,
        gradient: 8,
        settings: &[("learning_rate", 4), ("decay", 5), ("momentum", 6), ("epsilon", 7)],
        step: |s| {
            let (g, rest) = (&s.gradient, s.one_minus(5)?);
            let (mg, ms) = (s.var(1)?, s.var(2)?);
            let ms = (&ms + ((g.sqr()? - &ms)? * rest)?)?;
            let mg = (&mg + ((g - &mg)? * rest)?)?;
            let denominator = ((&ms - mg.sqr()?)? + s.number(7)?)?;
            let mom = (s.times(&s.var(3)?, 6)? + (s.times(g, 4)? / denominator.sqrt()?)?)?;
            s.put(1, mg)?;
            s.put(2, ms)?;
            s.put(0, (s.var(0)? - &mom)?)?;
            s.put(3, mom)
        },
    },
    Applies {
        kind: "Ftrl",
        variables: 3,
        gradient: 3,
        settings: &[("learning_rate", 4), ("l1", 5), ("l2", 6), ("learning_rate_power", 7)],
        step: |s| ftrl(s, 0.0, 7),
    },
    Applies {
        kind: "FtrlV2",
        variables: 3,
        gradient: 3,
        settings: &[
            ("learning_rate", 4),
            ("l1", 5),
            ("l2", 6),
            ("l2_shrinkage", 7),
            ("learning_rate_power", 8),
        ],
        step: |s| ftrl(s, s.number(7)?, 8),
    },
];

struct Step<'a> {
    args: &'a Args,
    context: &'a Context<'a>,
    gradient: Tensor,
    nesterov: bool,
    update_slots: bool,
    /// The rows that the step is for; `None` for all.
    rows: Option<Vec<i64>>,
}

impl<'a> Step<'a> {
    fn new(
        args: &'a Args,
        applies: &Applies,
        nesterov: bool,
        update_slots: bool,
        rows: Option<&TfTensor>,
        context: &'a Context<'a>,
    ) -> Result<Self> {
        let gradient = value(args, applies.gradient, context)?;
        let rows = rows.map(TfTensor::to_ints).transpose()?;
        let variable = held(args.variable(0)?, context)?;
        same_dtype(&variable, &gradient)?;
        for slot in 0..applies.variables {
            let slot = held(args.variable(slot)?, context)?;
            let mut dims = slot.dims().to_vec();
            if let (Some(rows), Some(first)) = (&rows, dims.first_mut()) {
                if rows.iter().any(|row| !(0..super::shape::signed(*first)).contains(row)) {
                    return Err(Error::operand(format!("a row is not in [0, {first})")));
                }
                *first = rows.len();
            }
            if dims != gradient.dims() {
                let what = format!("a gradient of {:?} for a slot of {:?}", gradient.dims(), slot.dims());
                return Err(Error::operand(what));
            }
        }
        Ok(Step {
            args,
            context,
            gradient: gradient.tensor.detach().to_device(context.device)?,
            nesterov,
            update_slots,
            rows,
        })
    }

    /// Variable, or slot.
    fn var(&self, place: usize) -> Result<Tensor> {
        let whole = held(self.args.variable(place)?, self.context)?.tensor;
        match &self.rows {
            Some(rows) if rows.is_empty() => Ok(whole.narrow(0, 0, 0)?),
            Some(rows) => super::turns::picked(&whole, 0, rows.clone()),
            None => Ok(whole),
        }
    }

    fn put(&self, place: usize, tensor: Tensor) -> Result<()> {
        let variable = self.args.variable(place)?;
        let TfTensor { tensor: whole, dtype } = held(variable, self.context)?;
        let tensor = match &self.rows {
            Some(rows) if rows.is_empty() => return Ok(()),
            Some(rows) => {
                let count = whole.dim(0)?;
                let mut from: Vec<i64> = (0..super::shape::signed(count)).collect();
                for (at, row) in rows.iter().enumerate() {
                    if let Some(slot) = usize::try_from(*row).ok().and_then(|row| from.get_mut(row)) {
                        *slot = super::shape::signed(count + at);
                    }
                }
                super::turns::picked(&Tensor::cat(&[&whole, &tensor], 0)?, 0, from)?
            }
            None => tensor,
        };
        self.context
            .variables
            .assign(variable, &TfTensor { tensor, dtype }, self.context.device)
    }

    /// A setting, in the precision of the variable.
    fn number(&self, place: usize) -> Result<f64> {
        let setting = value(self.args, place, self.context)?;
        Args::new(vec![Value::Tensor(setting)]).float_scalar(0)
    }

    fn times(&self, x: &Tensor, place: usize) -> Result<Tensor> {
        Ok((x * self.number(place)?)?)
    }

    /// One minus a setting, rounded as in the precision of the variable.
    fn one_minus(&self, place: usize) -> Result<f64> {
        let rest = 1.0 - self.number(place)?;
        Ok(match self.gradient.dtype() {
            candle_core::DType::F64 => rest,
            _ => f64::from(super::elementwise::single(rest)),
        })
    }

    fn accumulated_square(&self) -> Result<Tensor> {
        let accum = self.var(1)?;
        match self.update_slots {
            true => Ok((accum + self.gradient.sqr()?)?),
            false => Ok(accum),
        }
    }
}

fn adam(s: &Step<'_>) -> Result<()> {
    let g = &s.gradient;
    let (power1, power2, rate) = (s.number(3)?, s.number(4)?, s.number(5)?);
    let single = super::elementwise::single;
    let alpha = match g.dtype() {
        candle_core::DType::F64 => rate * (1.0 - power2).sqrt() / (1.0 - power1),
        _ => f64::from(single(rate) * (1.0 - single(power2)).sqrt() / (1.0 - single(power1))),
    };
    let (m, v) = (s.var(1)?, s.var(2)?);
    let m = (&m + ((g - &m)? * s.one_minus(6)?)?)?;
    let v = (&v + ((g.sqr()? - &v)? * s.one_minus(7)?)?)?;
    let root = (v.sqrt()? + s.number(8)?)?;
    let change = match s.nesterov {
        true => (((s.times(&m, 6)? + (g * s.one_minus(6)?)?)? * alpha)? / root)?,
        false => ((&m * alpha)? / root)?,
    };
    s.put(1, m)?;
    s.put(2, v)?;
    s.put(0, (s.var(0)? - change)?)
}

/// `linear` is the third variable, `accum` the second.
fn ftrl(s: &Step<'_>, shrinkage: f64, power: usize) -> Result<()> {
    let (rate, l1, l2, power) = (s.number(4)?, s.number(5)?, s.number(6)?, s.number(power)?);
    let (var, accum, linear) = (s.var(0)?, s.var(1)?, s.var(2)?);
    let g = &s.gradient;
    let shrunk = match shrinkage {
        0.0 => g.clone(),
        shrinkage => (g + (&var * (2.0 * shrinkage))?)?,
    };
    let next = (&accum + g.sqr()?)?;
    let powered = |x: &Tensor| match power {
        -0.5 => x.sqrt(),
        power => x.powf(-power),
    };
    let sigma = ((powered(&next)? - powered(&accum)?)? / rate)?;
    let linear = (&linear + (shrunk - (sigma * &var)?)?)?;
    let quadratic = ((powered(&next)? / rate)? + 2.0 * l2)?;
    let clipped = linear.clamp(-l1, l1)?;
    let change = ((clipped - &linear)? / quadratic)?;
    let var = linear.abs()?.gt(l1)?.where_cond(&change, &var.zeros_like()?)?;
    s.put(0, var)?;
    s.put(1, next)?;
    s.put(2, linear)
}
