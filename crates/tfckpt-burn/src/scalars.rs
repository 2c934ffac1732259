//! Burn's scalars as variables without dimensions.

use burn::store::burn_pack::Scalar;
use tfckpt::{Checkpoint, DType, Variable, VariableInfo};

use crate::error::Result;

/// A scalar as a variable of the dtype that holds it exactly.
pub(crate) fn variable(name: String, scalar: Scalar) -> Variable<'static> {
    let variable = match scalar {
        Scalar::UInt(value) => Variable::scalar(name, value),
        Scalar::Int(value) => Variable::scalar(name, value),
        Scalar::Float(value) => Variable::scalar(name, value),
        Scalar::Bool(value) => Variable::from_bytes(name, DType::Bool, [], vec![u8::from(value)]),
    };
    variable.non_trainable()
}

/// The scalar of a variable; `None` if it is no scalar that Burn has.
pub(crate) fn read(checkpoint: &Checkpoint, info: &VariableInfo) -> Result<Option<Scalar>> {
    if info.shape().rank() > 0 {
        return Ok(None);
    }
    let key = info.key();
    Ok(match info.dtype() {
        DType::Int64 => checkpoint.read::<i64>(key)?.first().map(|&value| Scalar::Int(value)),
        DType::Uint64 => checkpoint.read::<u64>(key)?.first().map(|&value| Scalar::UInt(value)),
        DType::Float64 => checkpoint.read::<f64>(key)?.first().map(|&value| Scalar::Float(value)),
        DType::Bool => checkpoint
            .read_bytes(key)?
            .first()
            .map(|&value| Scalar::Bool(value != 0)),
        _ => None,
    })
}
