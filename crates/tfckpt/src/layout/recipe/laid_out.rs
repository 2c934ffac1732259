//! Layouts as recipes.

use super::Recipe;
use crate::layout::{Layout, Transform};

impl Recipe {
    /// This, which is a variable in that layout, as the parameter of shape `model`; `None` if the layout does not fit it.
    pub(crate) fn into_model(self, layout: Layout, model: &[usize]) -> Option<Recipe> {
        let transform = layout.to_model(model)?;
        Some(self.transformed(&transform).reshape(model))
    }

    /// This, which is a parameter of shape `model`, as a variable in that layout; `None` if the layout does not fit it.
    pub(crate) fn into_stored(self, layout: Layout, model: &[usize]) -> Option<Recipe> {
        let (transform, shape) = (layout.to_stored(model)?, layout.stored_shape(model)?);
        Some(self.transformed(&transform).reshape(shape.dims()))
    }

    fn transformed(self, transform: &Transform) -> Recipe {
        match transform.is_identity() {
            true => self,
            false => self.reshape(transform.dims()).permute(transform.permutation()),
        }
    }
}
