//! What a load did, or why it did nothing.

use std::fmt;

/// What was loaded, and everything that did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// Parameters that have a variable of the right dtype and shape.
    pub loaded: Vec<Loaded>,
    /// Parameters that have no variable.
    pub missing: Vec<Missing>,
    /// Parameters whose variable has another dtype or shape.
    pub mismatched: Vec<Mismatched>,
    /// Variables that no parameter asked for, by name.
    pub unused: Vec<String>,
}

/// A parameter and the variable that fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The parameter's path in the model.
    pub path: String,
    /// The variable's name in the checkpoint.
    pub name: String,
    /// Whether its axes are permuted on the way.
    pub transposed: bool,
}

/// A parameter without a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The parameter's path in the model.
    pub path: String,
    /// The names that were looked for.
    pub names: Vec<String>,
    /// The nearest unused variables.
    pub candidates: Vec<String>,
}

/// A parameter whose variable does not fit it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatched {
    /// The parameter's path in the model.
    pub path: String,
    /// The variable's name in the checkpoint.
    pub name: String,
    /// What the model needs: `float32 [3, 4]`.
    pub expected: String,
    /// What the checkpoint has.
    pub found: String,
}

impl LoadReport {
    /// Whether every parameter was loaded. Unused variables do not matter.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }
}

/// Lines that are printed of a list before the rest is only counted.
const LINES: usize = 20;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} loaded, {} missing, {} mismatched, {} unused",
            self.loaded.len(),
            self.missing.len(),
            self.mismatched.len(),
            self.unused.len()
        )?;
        section(f, &self.missing, |f, missing| {
            write!(
                f,
                "missing: `{}`, looked for as `{}`",
                missing.path,
                missing.names.join("` or `")
            )?;
            match missing.candidates.as_slice() {
                [] => Ok(()),
                near => write!(f, "; nearest: `{}`", near.join("`, `")),
            }
        })?;
        section(f, &self.mismatched, |f, wrong| {
            write!(
                f,
                "mismatched: `{}` needs {}, but `{}` is {}",
                wrong.path, wrong.expected, wrong.name, wrong.found
            )
        })?;
        section(f, &self.unused, |f, name| write!(f, "unused: `{name}`"))
    }
}

fn section<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for item in items.iter().take(LINES) {
        f.write_str("\n  ")?;
        line(f, item)?;
    }
    match items.len().saturating_sub(LINES) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more"),
    }
}
