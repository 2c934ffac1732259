//! Recipes in plans, and on the way into a checkpoint.

mod cooked;
mod save;

pub(super) use cooked::{Cooked, Kitchen, Part, Refused};
pub use save::Ingredient;
