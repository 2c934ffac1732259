//! Regular expressions with the meaning of Python's `re.match`: anchored at the start, not at the end.

use regex::{Captures, Regex, RegexBuilder};

use crate::error::AssignmentFault;

/// The most memory that a compiled expression may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// An expression, and whether it was of use.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, AssignmentFault> {
        let compiled = RegexBuilder::new(pattern)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build();
        match compiled {
            Ok(regex) => Ok(Pattern { regex }),
            Err(error) => Err(AssignmentFault::Pattern {
                pattern: pattern.to_owned(),
                reason: in_one_line(&error.to_string()),
            }),
        }
    }

    /// Whether a variable is meant. TensorFlow compares with the name of its first output, `fc/kernel:0`, for which
    /// people write `fc/kernel$` all the same.
    pub(super) fn selects(&self, name: &str) -> bool {
        self.at_start(name).is_some() || self.at_start(&format!("{name}:0")).is_some()
    }

    /// The leftmost match, if it is one at the start: where there is one at the start, none is further left.
    fn at_start<'n>(&self, name: &'n str) -> Option<Captures<'n>> {
        let captures = self.regex.captures(name)?;
        captures
            .get(0)
            .is_some_and(|whole| whole.start() == 0)
            .then_some(captures)
    }
}

/// What takes the place of that which a pattern matches.
#[derive(Debug)]
pub(super) struct Replacement<'r> {
    pattern: Pattern,
    replacement: &'r str,
}

impl<'r> Replacement<'r> {
    /// # Errors
    /// The expression does not compile, or the replacement refers to a group that it does not have; the `regex` crate
    /// takes that for nothing: `$1_x` is the group `1_x`.
    pub(super) fn new(pattern: &str, replacement: &'r str) -> Result<Self, AssignmentFault> {
        let compiled = Pattern::new(pattern)?;
        let known = |group: &str| match group.parse::<usize>() {
            Ok(number) => number < compiled.regex.captures_len(),
            Err(_) => compiled.regex.capture_names().flatten().any(|name| name == group),
        };
        if let Some(group) = groups(replacement).find(|group| !known(group)) {
            return Err(AssignmentFault::UnknownGroup {
                pattern: pattern.to_owned(),
                replacement: replacement.to_owned(),
                group: group.to_owned(),
            });
        }
        Ok(Replacement {
            pattern: compiled,
            replacement,
        })
    }

    /// The name with its beginning replaced; `None` if the pattern does not match there.
    pub(super) fn apply(&self, name: &str) -> Option<String> {
        let captures = self.pattern.at_start(name)?;
        let mut replaced = String::new();
        captures.expand(self.replacement, &mut replaced);
        let rest = captures.get(0).and_then(|whole| name.get(whole.end()..))?;
        Some(replaced + rest)
    }
}

/// The groups that a replacement refers to, as [`Captures::expand`] reads it: `$$` is a dollar.
fn groups(replacement: &str) -> impl Iterator<Item = &str> {
    let mut rest = replacement;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            rest = after.strip_prefix('$').unwrap_or(after);
            if rest.len() == after.len()
                && let Some(group) = group(after)
            {
                return Some(group);
            }
        }
    })
}

/// The group whose name begins here, after a dollar.
fn group(after: &str) -> Option<&str> {
    if let Some(braced) = after.strip_prefix('{') {
        return braced.split_once('}').map(|(group, _)| group);
    }
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    after
        .get(..end.unwrap_or(after.len()))
        .filter(|group| !group.is_empty())
}

/// The `regex` crate draws a picture of a few lines; its last line says what is wrong.
fn in_one_line(error: &str) -> String {
    let last = error.lines().next_back().unwrap_or(error);
    last.trim()
        .trim_start_matches("error: ")
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_anchored_at_the_start_alone() {
        let selects = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().selects(name);
        assert!(selects("fc", "fc2/kernel"));
        assert!(!selects("kernel", "fc/kernel"));
        assert!(selects(".*kernel", "fc/kernel/part"));
        assert!(selects("fc/kernel$", "fc/kernel"));
        assert!(selects("fc/kernel:0$", "fc/kernel"));
        assert!(selects("a|fc", "fc/kernel"));
        // The leftmost match is further right, but there is one at the start, too.
        assert!(selects("c/|fc.*", "fc/kernel"));
        assert!(selects("", "fc/kernel"));
    }

    #[test]
    fn the_beginning_is_replaced_and_the_rest_stays() {
        let apply = |pattern, replacement, name: &str| Replacement::new(pattern, replacement).unwrap().apply(name);
        assert_eq!(apply("new/", "old/", "new/new/w"), Some("old/new/w".to_owned()));
        assert_eq!(apply("new/", "old/", "other/new/w"), None);
        let layer = apply(r"layer_(?<n>\d+)/(.*)$", "block${n}x/${2}", "layer_12/w");
        assert_eq!(layer, Some("block12x/w".to_owned()));
        assert_eq!(apply("a", "$$1", "a/b"), Some("$1/b".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault() {
        for pattern in ["(", "(?!head)", r"(a)\1", r"\w{5000}{5000}"] {
            let fault = Pattern::new(pattern).unwrap_err();
            assert!(matches!(fault, AssignmentFault::Pattern { .. }), "{fault}");
        }
        let group = |replacement| match Replacement::new("(a)", replacement) {
            Err(AssignmentFault::UnknownGroup { group, .. }) => group,
            other => panic!("{other:?}"),
        };
        assert_eq!(group("$1_x"), "1_x");
        assert_eq!(group("${2}"), "2");
        assert_eq!(group("b$$$name"), "name");
    }
}
