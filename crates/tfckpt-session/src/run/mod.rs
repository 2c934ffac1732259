//! Running what was compiled.

mod control;
mod program;

pub(crate) use control::{Case, Cell, Loop};
pub(crate) use program::{Operand, Program, Step};
