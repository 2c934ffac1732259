//! Shapes of variables.

/// The shape of a variable: its dimensions, outermost first (row-major). A scalar has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Box<[usize]>);

/// TensorFlow's own limit.
const MAX_RANK: usize = 254;

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Self {
        Self::default()
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements: 1 for a scalar, 0 if any dimension is 0; `None` if it overflows.
    pub fn element_count(&self) -> Option<u64> {
        self.0
            .iter()
            .try_fold(1u64, |count, &dim| count.checked_mul(dim as u64))
    }

    /// The dimensions as a file has them, checked: none negative, at most 254, fewer than 2^63 elements.
    pub(crate) fn from_file(dims: &[i64]) -> Option<Self> {
        let dims: Option<Box<[usize]>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        Some(Shape(dims?)).filter(Shape::is_storable)
    }

    /// Whether the format can hold it; the same rule for readers and writers.
    pub(crate) fn is_storable(&self) -> bool {
        // A zero anywhere makes the product zero, but the other dimensions must still make sense together.
        let mut dims = self.0.iter().filter(|&&dim| dim != 0);
        let product = dims.try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
        self.rank() <= MAX_RANK && product.is_some_and(|n| i64::try_from(n).is_ok())
    }
}

impl<D: Into<Box<[usize]>>> From<D> for Shape {
    fn from(dims: D) -> Self {
        Shape(dims.into())
    }
}

impl AsRef<[usize]> for Shape {
    fn as_ref(&self) -> &[usize] {
        &self.0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        assert!(Shape::from_file(&[2, -1]).is_none());
        assert!(Shape::from_file(&[i64::MAX, 2]).is_none());
        assert!(Shape::from_file(&[0, i64::MAX, 4]).is_none());
        assert!(Shape::from_file(&[1; 255]).is_none());
        assert_eq!(Shape::from_file(&[1; 254]).unwrap().element_count(), Some(1));
        assert_eq!(Shape::from_file(&[2, 0, 3]).unwrap().element_count(), Some(0));
        assert_eq!(Shape::from_file(&[]).unwrap(), Shape::scalar());
    }
}
