//! Recipes in plans, and on the way into a checkpoint.

mod compound;
mod cooked;
mod recurrent;
mod save;

pub(in crate::map) use compound::nearest_path;
pub use compound::{Compound, Made, Member, Refusal};
pub(super) use cooked::{Cooked, Kitchen, Part, Refused};
pub(in crate::map) use recurrent::{CELLS, known_variables, required_variables, stacked};
pub use recurrent::{Gate, RecurrentLayer, RecurrentParameter, RecurrentPart};
pub use save::{Ingredient, Tied};
