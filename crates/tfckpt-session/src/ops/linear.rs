//! Products of matrices.

use candle_core::Tensor;

use super::arithmetic::{ints, same_dtype};
use super::broadcast::broadcast;
use super::elementwise::widened;
use super::table::{Ops, one};
use crate::context::Context;
use crate::dtype::is_float;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("MatMul", |attrs| {
        let (a, b) = (attrs.bool("transpose_a", false)?, attrs.bool("transpose_b", false)?);
        one(move |args, context| {
            let (x, y) = (args.tensor(0)?, args.tensor(1)?);
            if x.dims().len() != 2 || y.dims().len() != 2 {
                return Err(Error::operand(format!("matrices of {:?} and {:?}", x.dims(), y.dims())));
            }
            product(x, y, a, b, context)
        })
    });
    for name in ["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"] {
        ops.pure(name, |attrs| {
            let (a, b) = (attrs.bool("adj_x", false)?, attrs.bool("adj_y", false)?);
            one(move |args, context| product(args.tensor(0)?, args.tensor(1)?, a, b, context))
        });
    }
}

fn product(x: &TfTensor, y: &TfTensor, a: bool, b: bool, context: &Context<'_>) -> Result<TfTensor> {
    same_dtype(x, y)?;
    let (Some((outer_x, [x1, x2])), Some((outer_y, [y1, y2]))) =
        (x.dims().split_last_chunk::<2>(), y.dims().split_last_chunk::<2>())
    else {
        return Err(Error::operand(format!("matrices of {:?} and {:?}", x.dims(), y.dims())));
    };
    let (rows, inner) = if a { (*x2, *x1) } else { (*x1, *x2) };
    let (inner_y, columns) = if b { (*y2, *y1) } else { (*y1, *y2) };
    if inner != inner_y {
        return Err(Error::operand(format!(
            "matrices of {:?} and {:?} do not fit",
            x.dims(),
            y.dims()
        )));
    }
    let mut dims = broadcast(outer_x, outer_y)?;
    dims.extend([rows, columns]);
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    let turned = |tensor: &Tensor, turn: bool| match turn {
        true => tensor.t(),
        false => Ok(tensor.clone()),
    };
    let (left, right) = (turned(&x.tensor, a)?, turned(&y.tensor, b)?);
    if !is_float(x.dtype) {
        return int_product(x.dtype, &left, &right, &dims, inner);
    }
    let right_wide = match x.tensor.dtype() {
        candle_core::DType::F16 | candle_core::DType::BF16 => right.to_dtype(candle_core::DType::F32)?,
        _ => right,
    };
    Ok(x.with(widened(&left, |left| matmul(left, &right_wide, &dims, inner))?))
}

/// A product of matrices, or of stacks of them that are stretched to fit.
pub(super) fn matmul(left: &Tensor, right: &Tensor, dims: &[usize], inner: usize) -> Result<Tensor> {
    if dims.contains(&0) || inner == 0 {
        // Gradients of nothing are nothing.
        return Ok(Tensor::zeros(dims, left.dtype(), left.device())?);
    }
    match left.rank() == 2 && right.rank() == 2 {
        true => Ok(left.matmul(right)?),
        false => {
            let stretch = |tensor: &Tensor| {
                let own = tensor.rank() - 2;
                let outer = dims.get(..dims.len() - 2).unwrap_or_default();
                let mut wanted = outer.to_vec();
                wanted.extend(tensor.dims().get(own..).unwrap_or_default());
                match tensor.dims() == wanted {
                    true => tensor.contiguous(),
                    false => tensor.broadcast_as(wanted)?.contiguous(),
                }
            };
            Ok(stretch(left)?.matmul(&stretch(right)?)?)
        }
    }
}

fn int_product(dtype: tfckpt::DType, left: &Tensor, right: &Tensor, dims: &[usize], inner: usize) -> Result<TfTensor> {
    let Some((outer, [rows, columns])) = dims.split_last_chunk::<2>() else {
        return Err(Error::operand("a product of vectors"));
    };
    let stretch = |tensor: &Tensor, last: [usize; 2]| -> Result<Vec<i64>> {
        let mut wanted = outer.to_vec();
        wanted.extend(last);
        Ok(tensor.broadcast_as(wanted)?.flatten_all()?.to_vec1::<i64>()?)
    };
    let (left, right) = (stretch(left, [*rows, inner])?, stretch(right, [inner, *columns])?);
    let mut values = vec![0i64; dims.iter().product()];
    if inner > 0 && !values.is_empty() {
        let stacks = values
            .chunks_exact_mut(rows * columns)
            .zip(left.chunks_exact(rows * inner))
            .zip(right.chunks_exact(inner * columns));
        for ((result, left), right) in stacks {
            for (row, left) in result.chunks_exact_mut(*columns).zip(left.chunks_exact(inner)) {
                for (x, right) in left.iter().zip(right.chunks_exact(*columns)) {
                    for (sum, y) in row.iter_mut().zip(right) {
                        *sum = sum.wrapping_add(x.wrapping_mul(*y));
                    }
                }
            }
        }
    }
    ints(values, dims, dtype)
}
