//! What is wrong with an assignment map or a warm start.

use std::fmt;

use super::Suggest;
use crate::map::Mismatched;

/// One reason why a checkpoint cannot initialize a model as an `AssignmentMap` or a `WarmStart` says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentFault {
    /// The checkpoint has no tensor for a variable that is to be filled.
    #[error("`{entry}`: the checkpoint has no tensor `{}` for variable `{variable}`{}", tensors.join("` or `"), Suggest("did you mean", candidates))]
    TensorNotFound {
        /// What asks for it.
        entry: String,
        /// The variable's path in the model.
        variable: String,
        /// The names that were looked for.
        tensors: Vec<String>,
        /// The nearest names that are there.
        candidates: Vec<String>,
    },

    /// The model has no such variable, and as the tensor is not a scope, nothing else can be meant.
    #[error(
        "`{entry}`: the model has no variable `{variable}`, and a tensor cannot fill a scope: only `scope/` maps to `other_scope/`{}",
        Suggest("did you mean", candidates)
    )]
    UnknownVariable {
        /// What asks for it.
        entry: String,
        /// The name.
        variable: String,
        /// The nearest variables of the model.
        candidates: Vec<String>,
    },

    /// A scope of the checkpoint maps to what is neither a scope nor a variable.
    #[error(
        "`{entry}`: a scope maps to a scope, which `{target}` is not: end it in `/`, and write `/` for all variables{}",
        Suggest("did you mean", candidates)
    )]
    NotAScope {
        /// What asks for it.
        entry: String,
        /// Where the scope should go.
        target: String,
        /// The nearest variables of the model.
        candidates: Vec<String>,
    },

    /// No variable of the model is meant: a scope is empty, a pattern matches nothing.
    #[error("`{entry}` fills nothing: {reason}{}", Suggest("did you mean", candidates))]
    Unused {
        /// What is not used.
        entry: String,
        /// Why not.
        reason: &'static str,
        /// The nearest variables of the model.
        candidates: Vec<String>,
    },

    /// Two entries fill one variable.
    #[error("variable `{variable}` is filled twice, by `{first}` and by `{second}`: leave one out")]
    FilledTwice {
        /// The variable's path in the model.
        variable: String,
        /// The entry that comes first in the order of TensorFlow.
        first: String,
        /// The other one.
        second: String,
    },

    /// A tensor has another shape or dtype than its variable.
    #[error("variable `{}` needs {}, but tensor `{}` is {}{}", .0.path, .0.expected, .0.name, .0.found, Hint(&.0.hint))]
    Mismatched(Mismatched),

    /// A regular expression does not compile.
    #[error(
        "`{pattern}` cannot be used: {reason}; there are no look-arounds and no back-references: leave variables out with `except`"
    )]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong.
        reason: String,
    },

    /// A replacement refers to a group that its pattern does not have.
    #[error(
        "the replacement `{replacement}` refers to group `{group}`, which `{pattern}` does not have: groups are written `${{1}}` or `${{name}}`"
    )]
    UnknownGroup {
        /// The expression.
        pattern: String,
        /// The replacement.
        replacement: String,
        /// The group.
        group: String,
    },
}

/// Prints `; a hint` where there is one.
struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The faults, a line each.
pub(super) struct Lines<'a>(pub(super) &'a [AssignmentFault]);

/// Faults that are printed before the rest is only counted.
const LINES: usize = 20;

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.0.iter().take(LINES) {
            write!(f, "\n  {fault}")?;
        }
        match self.0.len().saturating_sub(LINES) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}
