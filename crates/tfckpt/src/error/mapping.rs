//! What is wrong with a mapping.

use std::fmt;

/// One reason why a mapping is not one for a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingFault {
    /// No parameter of the model needs the rule.
    #[error("the rule {rule} is of no use: it matches nothing that a rule before it does not, so correct or remove it")]
    Unused {
        /// The rule.
        rule: String,
    },

    /// Two rules say something of one parameter.
    #[error(
        "two rules are for parameter `{path}`, {first} and {second}: remove one, or give it a `path` without captures"
    )]
    Ambiguous {
        /// The parameter.
        path: String,
        /// The rule that comes first.
        first: String,
        /// The other one.
        second: String,
    },

    /// Two parameters are one variable.
    #[error(
        "parameters `{first}` and `{second}` are both the variable `{variable}`: rename one, or say `\"shared\": true` in a rule for the second"
    )]
    Collision {
        /// The variable.
        variable: String,
        /// The parameter that comes first.
        first: String,
        /// The other one.
        second: String,
    },

    /// A layer has a variable that a rule for it does not name.
    #[error("the rule {rule} has no name for `{variable}` of `{layer}`: add it to its `variables`")]
    Unnamed {
        /// The variable as it is called in the layer, `bias`, or the parameter that it is.
        variable: String,
        /// The layer.
        layer: String,
        /// The rule.
        rule: String,
    },

    /// A layer has no such variable as a rule for it names.
    #[error("the rule {rule} names `{variable}`, which `{layer}` does not have: remove it from its `variables`")]
    Superfluous {
        /// The variable as it is called in the layer.
        variable: String,
        /// The layer.
        layer: String,
        /// The rule.
        rule: String,
    },
}

/// The faults, a line each.
pub(super) struct Faults<'a>(pub(super) &'a [MappingFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
