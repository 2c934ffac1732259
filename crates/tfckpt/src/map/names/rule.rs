//! Rules that name whole families of parameters: the names of a network, as data.

use std::fmt;

use super::pattern::{Match, Pattern, Template};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::map::layer::Layer;

/// What modules or parameters whose paths match a pattern are called, and perhaps what they are.
///
/// ```
/// use tfckpt::map::{Layer, NameMap, Rule};
///
/// # fn main() -> tfckpt::Result<()> {
/// let names = NameMap::keras().scope("bert").rules([
///     Rule::name("embeddings.{table:word|position}_embeddings.weight", "embeddings/{table}_embeddings")?
///         .layer(Layer::Embedding),
///     Rule::scope("encoder.layer.{i}", "encoder/layer_{i}")?,
/// ]);
/// let names_of = |path| names.names(path, Layer::Dense);
/// assert_eq!(names_of("embeddings.word_embeddings.weight"), ["bert/embeddings/word_embeddings"]);
/// assert_eq!(names_of("encoder.layer.11.output.dense.weight"), ["bert/encoder/layer_11/output/dense/kernel"]);
/// # Ok(())
/// # }
/// ```
///
/// # Patterns
///
/// | in a pattern | matches | in a name | becomes |
/// |---|---|---|---|
/// | `{i}` | a number | `{i}` | that number |
/// | | | `{i+1}`, `{i-1}` | the number with that added; below 0, the rule does not match |
/// | | | `{i:03}`, `{i+1:03}` | in at least so many digits |
/// | `{x:*}` | anything without a dot | `{x}` | the same |
/// | `{x:**}` | anything | `{x}` | the same, with slashes for dots |
/// | `{x:q\|k\|v}` | one of these | `{x}` | the same |
///
/// Of several rules the first that matches counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) of: Of,
    pattern: Matcher,
    templates: Vec<String>,
    filled: Vec<Template>,
    pub(super) layer: Option<Layer>,
    pub(super) layout: Option<Layout>,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Modules, and what is in them: the scope.
    Scope,
    /// A parameter: the whole name.
    Name,
    /// A module: what kind of layer it is.
    Kind,
}

#[derive(Debug, Clone)]
enum Matcher {
    Pattern(Pattern),
    #[cfg(feature = "regex")]
    Regex(regex::Regex),
}

/// Expressions are the same if they are written the same.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Matcher::Pattern(a), Matcher::Pattern(b)) => a == b,
            #[cfg(feature = "regex")]
            (Matcher::Regex(a), Matcher::Regex(b)) => a.as_str() == b.as_str(),
            #[cfg(feature = "regex")]
            _ => false,
        }
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Pattern(pattern) => pattern.fmt(f),
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => regex.fmt(f),
        }
    }
}

/// The most memory that a compiled expression may take, in bytes.
#[cfg(feature = "regex")]
const SIZE_LIMIT: usize = 1 << 20;

impl Rule {
    /// The module whose path matches `pattern` is the scope `scope`, and what is in it is in that scope: its names follow
    /// from their layers. An empty scope is none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the pattern or the scope is not one.
    pub fn scope(pattern: &str, scope: &str) -> Result<Self> {
        Self::new(Of::Scope, pattern, Some(scope))
    }

    /// The parameter whose path matches `pattern` is called `name`. The layout still follows from its layer.
    ///
    /// # Errors
    /// As [`scope`](Self::scope).
    pub fn name(pattern: &str, name: &str) -> Result<Self> {
        Self::new(Of::Name, pattern, Some(name))
    }

    /// The module whose path matches `pattern` is a layer of this kind, whatever the framework takes it for. As
    /// [`NameMap::with_layer`](super::NameMap::with_layer), but for many at once.
    ///
    /// # Errors
    /// As [`scope`](Self::scope).
    pub fn kind(pattern: &str, layer: Layer) -> Result<Self> {
        Ok(Self::new(Of::Kind, pattern, None)?.layer(layer))
    }

    /// The parameter whose whole path matches the regular expression is called what `replacement` says, in which `${1}`
    /// and `${name}` stand for groups.
    ///
    /// ```
    /// # use tfckpt::map::{Layer, NameMap, Rule};
    /// # fn main() -> tfckpt::Result<()> {
    /// let rule = Rule::regex(r"h\.(\d+)\.attn\.c_attn\.weight", "model/h${1}/attn/c_attn/w")?;
    /// let names = NameMap::keras().rules([rule]);
    /// assert_eq!(names.names("h.3.attn.c_attn.weight", Layer::Dense), ["model/h3/attn/c_attn/w"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the expression does not compile, or the replacement refers to a group that it does
    /// not have.
    #[cfg(feature = "regex")]
    pub fn regex(expression: &str, replacement: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidArgument {
            what: format!("the rule `{expression}` -> `{replacement}`: {reason}"),
        };
        let compiled = regex::RegexBuilder::new(&format!("^(?:{expression})$"))
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| invalid(error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))?;
        let rule = Rule {
            of: Of::Name,
            pattern: Matcher::Regex(compiled),
            templates: Vec::new(),
            filled: Vec::new(),
            layer: None,
            layout: None,
        };
        rule.or(replacement)
    }

    fn new(of: Of, text: &str, template: Option<&str>) -> Result<Self> {
        let pattern = Pattern::new(text).map_err(|reason| Error::InvalidArgument {
            what: format!("the pattern `{text}`: {reason}"),
        })?;
        let rule = Rule {
            of,
            pattern: Matcher::Pattern(pattern),
            templates: Vec::new(),
            filled: Vec::new(),
            layer: None,
            layout: None,
        };
        match template {
            Some(template) => rule.or(template),
            None => Ok(rule),
        }
    }

    /// A rule for one module or parameter, whatever characters its path has.
    pub(super) fn exact(of: Of, path: &str, name: &str) -> Self {
        Rule {
            of,
            pattern: Matcher::Pattern(Pattern::exact(path)),
            templates: vec![name.to_owned()],
            filled: vec![Template::exact(name)],
            layer: None,
            layout: None,
        }
    }

    /// One more name or scope, which is read if those before are not there, and never written.
    ///
    /// # Errors
    /// As [`scope`](Self::scope).
    pub fn or(mut self, name: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidArgument {
            what: format!("the rule `{}` -> `{name}`: {reason}", self.pattern),
        };
        match &self.pattern {
            Matcher::Pattern(pattern) => {
                let template = Template::new(name, pattern).map_err(invalid)?;
                self.filled.push(template);
            }
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => {
                let known = |group: &str| match group.parse::<usize>() {
                    Ok(number) => number < regex.captures_len(),
                    Err(_) => regex.capture_names().flatten().any(|name| name == group),
                };
                if let Some(group) = groups(name).find(|group| !known(group)) {
                    return Err(invalid(format!(
                        "there is no group `{group}`: groups are written `${{1}}` or `${{name}}`"
                    )));
                }
            }
        }
        self.templates.push(name.to_owned());
        Ok(self)
    }

    /// What kind of layer the module is: that which the pattern of a scope matches as a whole, or that which the
    /// parameter is in.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layer = Some(layer);
        self
    }

    /// How the parameter is laid out in the checkpoint, whatever its layer; for rules of [names](Self::name).
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Whether it is for one path alone.
    pub(in crate::map) fn is_exact(&self) -> bool {
        match &self.pattern {
            Matcher::Pattern(pattern) => pattern.is_exact(),
            #[cfg(feature = "regex")]
            Matcher::Regex(_) => false,
        }
    }

    pub(in crate::map) fn is_name(&self) -> bool {
        self.of == Of::Name
    }

    pub(in crate::map) fn is_scope(&self) -> bool {
        self.of == Of::Scope
    }

    /// Whether it matches this path as a whole.
    pub(in crate::map) fn is_for(&self, path: &str) -> bool {
        match &self.pattern {
            Matcher::Pattern(pattern) => pattern.matches(path).is_some(),
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// The names for a parameter at this path; `None` if the rule is not about it.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        match &self.pattern {
            Matcher::Pattern(pattern) => self.fill(&pattern.matches(path)?),
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => {
                let captures = regex.captures(path)?;
                let expand = |replacement: &String| {
                    let mut name = String::new();
                    captures.expand(replacement, &mut name);
                    name
                };
                Some(self.templates.iter().map(expand).collect())
            }
        }
    }

    /// The scopes for a module at this path, and the path within them; `None` if the rule is not about it.
    pub(in crate::map) fn scopes<'p>(&'p self, module: &'p str) -> Option<(Vec<String>, &'p str)> {
        match &self.pattern {
            Matcher::Pattern(pattern) => {
                let found = pattern.matches_start(module)?;
                let rest = found.rest.strip_prefix('.').unwrap_or(found.rest);
                Some((self.fill(&found)?, rest))
            }
            #[cfg(feature = "regex")]
            Matcher::Regex(_) => None,
        }
    }

    fn fill(&self, found: &Match<'_>) -> Option<Vec<String>> {
        self.filled.iter().map(|template| template.fill(found)).collect()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Of::Kind => write!(f, "{} is {:?}", self.pattern, self.layer.unwrap_or_default()),
            _ => write!(f, "{} -> {}", self.pattern, self.templates.join(" or ")),
        }
    }
}

/// The groups that a replacement refers to, as the `regex` crate reads it: `$$` is a dollar.
#[cfg(feature = "regex")]
fn groups(replacement: &str) -> impl Iterator<Item = &str> {
    let mut rest = replacement;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            if let Some(after) = after.strip_prefix('$') {
                rest = after;
                continue;
            }
            rest = after;
            let group = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').map(|(group, _)| group),
                None => {
                    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
                    after.get(..end).filter(|group| !group.is_empty())
                }
            };
            if group.is_some() {
                return group;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_names_are_read_in_their_order() {
        let rule = Rule::name("a.{i}", "x_{i}").unwrap().or("y_{i+1}").unwrap();
        assert_eq!(rule.names("a.3").unwrap(), ["x_3", "y_4"]);
        assert_eq!(rule.to_string(), "a.{i} -> x_{i} or y_{i+1}");
        assert!(Rule::name("a.{i}", "x").unwrap().or("{j}").is_err());
    }

    #[test]
    fn a_scope_has_what_is_in_the_module() {
        let rule = Rule::scope("enc.{i}", "layer_{i}").unwrap();
        let (scopes, rest) = rule.scopes("enc.3.fc").unwrap();
        assert_eq!((scopes, rest), (vec!["layer_3".to_owned()], "fc"));
        assert_eq!(rule.scopes("enc.3").unwrap().1, "");
        assert!(rule.scopes("dec.3").is_none());
    }

    #[cfg(feature = "regex")]
    #[test]
    fn an_expression_is_for_whole_paths_and_its_groups_are_checked() {
        let rule = Rule::regex(r"a\.(\d+)", "x$1").unwrap();
        assert_eq!(rule.names("a.3").unwrap(), ["x3"]);
        assert!(rule.names("a.3.b").is_none() && rule.names("ba.3").is_none());
        for (expression, replacement) in [("a(", "x"), ("a", "$1"), ("a(?<n>b)", "${m}"), ("(a)", "$1_x")] {
            assert!(Rule::regex(expression, replacement).is_err(), "{expression}");
        }
        assert!(Rule::regex("a(?<n>b)", "${n}$$").is_ok());
    }
}
