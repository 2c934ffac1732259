//! Running what was compiled.

mod blocks;
mod control;
mod fused;
mod program;

pub(crate) use control::{Case, Cell, Loop};
pub(crate) use fused::{Fused, Part, Place};
pub(crate) use program::{Operand, Program, Step};
