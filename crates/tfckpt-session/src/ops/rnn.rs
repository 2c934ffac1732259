//! Cells of recurrent networks in one operation.

use candle_core::Tensor;

use super::math::sigmoid;
use super::table::{Args, Ops, many};
use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("LSTMBlockCell", |attrs| {
        let settings = Settings::new(attrs, false)?;
        many(move |args, _| {
            let weights = Weights::of(args, 3, 4)?;
            let step = lstm(args.float(0)?, args.float(1)?, args.float(2)?, &weights, &settings)?;
            Ok(step.into_values(args.tensor(0)?))
        })
    });
    for (name, second) in [("BlockLSTM", false), ("BlockLSTMV2", true)] {
        ops.pure(name, move |attrs| {
            let settings = Settings::new(attrs, second)?;
            many(move |args, _| block_lstm(args, &settings))
        });
    }
    ops.pure("GRUBlockCell", |_| many(|args, _| gru(args)));
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    forget_bias: f64,
    /// Not positive: cells are not clipped.
    cell_clip: f64,
    peephole: bool,
    /// The order of the gates in the weights: input, cell, forget, output, or forget before cell.
    forget_second: bool,
}

impl Settings {
    fn new(attrs: &Attrs<'_>, second: bool) -> Result<Self> {
        Ok(Settings {
            // The second version adds none.
            forget_bias: if second {
                0.0
            } else {
                f64::from(attrs.float("forget_bias", 1.0)?)
            },
            cell_clip: f64::from(attrs.float("cell_clip", if second { 0.0 } else { 3.0 })?),
            peephole: attrs.bool("use_peephole", false)?,
            forget_second: second,
        })
    }
}

/// `w` with the gates in its columns, the peepholes of input, forget and output gate, and the bias.
struct Weights {
    w: Tensor,
    peepholes: [Tensor; 3],
    bias: Tensor,
}

impl Weights {
    fn of(args: &Args, w: usize, peepholes: usize) -> Result<Self> {
        Ok(Weights {
            w: args.float(w)?.clone(),
            peepholes: [
                args.float(peepholes)?.clone(),
                args.float(peepholes + 1)?.clone(),
                args.float(peepholes + 2)?.clone(),
            ],
            bias: args.float(peepholes + 3)?.clone(),
        })
    }
}

/// What a cell gives out, in the order of the operation: i, cs, f, o, ci, co, h.
struct Step([Tensor; 7]);

impl Step {
    fn into_values(self, like: &TfTensor) -> Vec<Value> {
        self.0.into_iter().map(|tensor| like.with(tensor).into()).collect()
    }
}

fn lstm(x: &Tensor, cs_before: &Tensor, h_before: &Tensor, weights: &Weights, settings: &Settings) -> Result<Step> {
    let joined = Tensor::cat(&[x, h_before], 1)?;
    let cells = cs_before.dim(1)?;
    if weights.w.dims() != [joined.dim(1)?, 4 * cells] {
        return Err(Error::operand(format!(
            "weights of {:?} for {} inputs and {cells} cells",
            weights.w.dims(),
            joined.dim(1)?
        )));
    }
    let gates = joined.matmul(&weights.w)?.broadcast_add(&weights.bias)?;
    let gate = |place: usize| gates.narrow(1, place * cells, cells);
    let (cell, forget) = if settings.forget_second { (2, 1) } else { (1, 2) };
    let [peep_i, peep_f, peep_o] = &weights.peepholes;
    let peep = |gate: Tensor, cs: &Tensor, weight: &Tensor| match settings.peephole {
        true => gate + cs.broadcast_mul(weight)?,
        false => Ok(gate),
    };
    let i = sigmoid(&peep(gate(0)?, cs_before, peep_i)?)?;
    let f = sigmoid(&peep((gate(forget)? + settings.forget_bias)?, cs_before, peep_f)?)?;
    let ci = gate(cell)?.tanh()?;
    let cs = ((&ci * &i)? + (cs_before * &f)?)?;
    let cs = match settings.cell_clip > 0.0 {
        true => cs.clamp(-settings.cell_clip, settings.cell_clip)?,
        false => cs,
    };
    let o = sigmoid(&peep(gate(3)?, &cs, peep_o)?)?;
    let co = cs.tanh()?;
    let h = (&co * &o)?;
    Ok(Step([i, cs, f, o, ci, co, h]))
}

/// The cell over a whole sequence `[time, batch, inputs]`. Beyond the longest sequence all is 0.
fn block_lstm(args: &Args, settings: &Settings) -> Result<Vec<Value>> {
    let longest = args.int(0)?;
    let (time, batch, _) = args.float(1)?.dims3()?;
    let (mut cs, mut h) = (args.float(2)?.clone(), args.float(3)?.clone());
    let weights = Weights::of(args, 4, 5)?;
    let cells = cs.dim(1)?;
    let longest = usize::try_from(longest).unwrap_or(0).min(time);
    let mut outputs: [Vec<Tensor>; 7] = Default::default();
    for place in 0..longest {
        let x = args.float(1)?.narrow(0, place, 1)?.squeeze(0)?;
        let Step(step) = lstm(&x, &cs, &h, &weights, settings)?;
        let [_, next_cs, .., next_h] = &step;
        (cs, h) = (next_cs.clone(), next_h.clone());
        for (list, tensor) in outputs.iter_mut().zip(step) {
            list.push(tensor.unsqueeze(0)?);
        }
    }
    let like = args.tensor(1)?;
    let whole = |mut list: Vec<Tensor>| -> Result<Value> {
        if longest < time || list.is_empty() {
            list.push(Tensor::zeros(
                (time - longest, batch, cells),
                like.tensor.dtype(),
                like.tensor.device(),
            )?);
        }
        Ok(like.with(Tensor::cat(&list, 0)?).into())
    };
    outputs.into_iter().map(whole).collect()
}

/// Outputs r, u, c, h.
fn gru(args: &Args) -> Result<Vec<Value>> {
    let (x, h_before) = (args.float(0)?, args.float(1)?);
    let (w_ru, w_c, b_ru, b_c) = (args.float(2)?, args.float(3)?, args.float(4)?, args.float(5)?);
    let cells = h_before.dim(1)?;
    let gates = sigmoid(&Tensor::cat(&[x, h_before], 1)?.matmul(w_ru)?.broadcast_add(b_ru)?)?;
    let (r, u) = (gates.narrow(1, 0, cells)?, gates.narrow(1, cells, cells)?);
    let reset = (h_before * &r)?;
    let c = Tensor::cat(&[x, &reset], 1)?.matmul(w_c)?.broadcast_add(b_c)?.tanh()?;
    let h = ((&u * h_before)? + (u.affine(-1.0, 1.0)? * &c)?)?;
    let like = args.tensor(0)?;
    let r = r.contiguous()?;
    let u = u.contiguous()?;
    Ok([r, u, c, h]
        .into_iter()
        .map(|tensor| like.with(tensor).into())
        .collect())
}
