//! Stacks, in which a loop of TensorFlow 1 leaves what the loop of its gradients needs.

use std::sync::Arc;

use super::table::{Args, Ops, many, one};
use crate::error::{Error, Result};
use crate::holders::Stack;
use crate::value::Value;

pub(super) fn add(ops: &mut Ops) {
    ops.impure("StackV2", |_| {
        many(|args, _| {
            let most = usize::try_from(args.int(0)?).ok();
            Ok(vec![Value::Stack(Arc::new(Stack::new(most)))])
        })
    });
    ops.impure("Stack", |attrs| {
        let most = usize::try_from(attrs.int("max_size", -1)?).ok();
        many(move |_, _| Ok(vec![Value::Stack(Arc::new(Stack::new(most)))]))
    });
    for name in ["StackPushV2", "StackPush"] {
        // Nobody needs what it returns: the counter of the loop waits for it.
        ops.acts(name, |_| {
            many(|args, context| {
                let pushed = args.tensor(1)?.clone();
                stack(args)?.push(pushed, context)?;
                Ok(vec![args.take(1)?])
            })
        });
    }
    for name in ["StackPopV2", "StackPop"] {
        ops.impure(name, |attrs| {
            let dtype = attrs.dtype("elem_type", tfckpt::DType::Float32)?;
            one(move |args, _| {
                let popped = stack(args)?.pop()?;
                match popped.dtype == dtype {
                    true => Ok(popped),
                    false => Err(Error::operand(format!(
                        "{} was pushed, {dtype} is popped",
                        popped.dtype
                    ))),
                }
            })
        });
    }
    for name in ["StackCloseV2", "StackClose"] {
        ops.acts(name, |_| {
            many(|args, _| {
                stack(args)?.clear();
                Ok(Vec::new())
            })
        });
    }
}

fn stack(args: &Args) -> Result<&Stack> {
    match args.value(0)? {
        Value::Stack(stack) => Ok(stack),
        other => Err(Error::operand(format!(
            "operand 0: expected a stack, found {}",
            other.name()
        ))),
    }
}
