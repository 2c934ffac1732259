//! Losses.

use candle_core::{D, Tensor};

use super::activation::log_softmax;
use super::elementwise::widened;
use super::table::{Ops, many, one};
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("SparseSoftmaxCrossEntropyWithLogits", |_| {
        many(|args, _| {
            let (logits, labels) = (args.tensor(0)?, args.ints(1)?);
            let (rows, classes) = args.float(0)?.dims2()?;
            if labels.len() != rows {
                return Err(Error::operand(format!(
                    "{} labels for logits of {:?}",
                    labels.len(),
                    logits.dims()
                )));
            }
            let mut hot = vec![0f32; rows * classes];
            for (row, label) in hot.chunks_mut(classes.max(1)).zip(&labels) {
                let place = usize::try_from(*label).ok().and_then(|label| row.get_mut(label));
                *place.ok_or_else(|| Error::operand(format!("label {label} of {classes} classes")))? = 1.0;
            }
            let hot = Tensor::from_vec(hot, (rows, classes), &candle_core::Device::Cpu)?;
            cross_entropy(logits, &hot.to_device(logits.tensor.device())?, false)
        })
    });
    ops.pure("SoftmaxCrossEntropyWithLogits", |_| {
        many(|args, context| {
            let (logits, labels) = (args.float(0)?, args.float(1)?);
            let (logits, labels) = super::broadcast::stretched(logits, labels, context)?;
            cross_entropy(&args.tensor(0)?.with(logits), &labels, context.tracked)
        })
    });
    ops.pure("L2Loss", |_| {
        one(|args, _| {
            let x = args.tensor(0)?;
            Ok(x.with(widened(args.float(0)?, |x| Ok((x.sqr()?.sum_all()? * 0.5)?))?))
        })
    });
}

/// The loss of each row, and its gradient by the logits: TensorFlow's is that of labels that add up to 1, whether they do
/// or not, and labels of 0 have one, too. `as_tensorflow` makes Candle follow back the same.
fn cross_entropy(logits: &TfTensor, labels: &Tensor, as_tensorflow: bool) -> Result<Vec<crate::value::Value>> {
    if logits.dims().len() != 2 {
        return Err(Error::operand(format!("logits of shape {:?}", logits.dims())));
    }
    if logits.tensor.elem_count() == 0 {
        let rows = logits.tensor.dim(0)?;
        let loss = Tensor::zeros(rows, logits.tensor.dtype(), logits.tensor.device())?;
        return Ok(vec![logits.with(loss).into(), logits.clone().into()]);
    }
    let wide = match logits.tensor.dtype() {
        candle_core::DType::F16 | candle_core::DType::BF16 => candle_core::DType::F32,
        dtype => dtype,
    };
    let (x, labels) = (logits.tensor.to_dtype(wide)?, labels.to_dtype(wide)?);
    let logarithms = log_softmax(&x)?;
    // 0 times an infinite logarithm is 0.
    let terms = labels
        .ne(0.0)?
        .where_cond(&(&labels * &logarithms)?, &labels.zeros_like()?)?;
    let loss = terms.sum(D::Minus1)?.neg()?;
    let gradient = (logarithms.exp()? - &labels)?;
    let loss = match as_tensorflow {
        true => {
            let by_logits = (gradient.detach() * (&x - x.detach())?)?;
            let by_labels = (logarithms.detach() * (&labels - labels.detach())?)?;
            (loss.detach() + (by_logits - by_labels)?.sum(D::Minus1)?)?
        }
        false => loss,
    };
    let back = |tensor: Tensor| -> Result<Tensor> { Ok(tensor.to_dtype(logits.tensor.dtype())?) };
    Ok(vec![
        logits.with(back(loss)?).into(),
        logits.with(back(gradient)?).into(),
    ])
}
