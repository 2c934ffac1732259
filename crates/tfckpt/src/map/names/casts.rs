//! The dtypes that fill a parameter, and that it is saved in.

use super::NameMap;
use crate::dtype::DType;
use crate::map::convert::{Conversion, Fidelity};

/// Which differences between the dtype of a variable and that of a parameter are made up for by a cast.
///
/// Dtypes that the framework does not have are not among them: what they hold is always converted, exactly, and stored
/// again as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Casts {
    /// None: another dtype is an error.
    #[default]
    Never,
    /// Those that keep every value: float16 to float32, int8 to int32.
    Exact,
    /// Those that round, too: float32 to bfloat16. The report flags them. Integers that do not fit are an error.
    Lossy,
}

impl Casts {
    /// The dtypes of variables that may fill a parameter whose elements are of dtype `own`, which comes first: those that
    /// the framework `lacks` and that `own` holds exactly, and those that are to be cast. An unsigned
    /// 64-bit integer may fill a signed one; a value that does not fit is an error before anything is changed.
    pub fn accepts(self, own: DType, lacks: &[DType]) -> Vec<DType> {
        let accepted = |stored: &DType| {
            let fidelity = match Conversion::new(*stored, own) {
                Some(conversion) => conversion.fidelity(),
                None => return false,
            };
            let is_held = match (fidelity, stored) {
                (Fidelity::Same, _) => true,
                (Fidelity::Exact, DType::Bool) => false,
                // What is a number of one sort there is not one of another here.
                (Fidelity::Exact, _) => Conversion::new(own, *stored).is_some(),
                (Fidelity::Checked, DType::Uint64) => own == DType::Int64,
                _ => false,
            };
            let is_cast = match self {
                Casts::Never => false,
                Casts::Exact => fidelity <= Fidelity::Exact,
                Casts::Lossy => true,
            };
            (is_held && lacks.contains(stored)) || is_cast
        };
        let others = DType::all().filter(|stored| *stored != own).filter(accepted);
        std::iter::once(own).chain(others).collect()
    }
}

/// # Dtypes
impl NameMap {
    /// Which casts are made, on reading, between a variable's dtype and that of the parameter. Default: [`Casts::Never`].
    /// What was cast is saved as the model has it.
    #[must_use]
    pub fn cast(mut self, casts: Casts) -> Self {
        self.casts = casts;
        self
    }

    /// The casts that are made.
    pub fn casts(&self) -> Casts {
        self.casts
    }

    /// The dtypes of variables that may fill a parameter: [`Casts::accepts`].
    pub fn accepts(&self, own: DType, lacks: &[DType]) -> Vec<DType> {
        self.casts.accepts(own, lacks)
    }

    /// The parameter at `path` is saved in this dtype, exactly: a value that it does not have is an error. Parameters that
    /// were restored from dtypes that the framework lacks are saved as they were without that.
    #[must_use]
    pub fn stored_as(mut self, path: impl Into<String>, dtype: DType) -> Self {
        self.stored.insert(path.into(), dtype);
        self
    }

    /// The dtype that the parameter at `path` is to be saved in, if it was said.
    pub fn stored_dtype(&self, path: &str) -> Option<DType> {
        let of_mapping = || self.mapping.as_ref()?.stored_dtype(&self.inner(path));
        self.stored.get(path).copied().or_else(of_mapping)
    }
}
