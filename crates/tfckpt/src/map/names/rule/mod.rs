//! Rules that name whole families of parameters: the names of a network, as data.

mod matching;
mod part;

use std::fmt;

use super::pattern::{Pattern, Template};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::map::layer::Layer;
use crate::map::recipe::known_variables;
pub(in crate::map) use part::EqualPart;

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
    pub(super) part: Option<EqualPart>,
    /// Of a layer whose variables have names of their own: what Keras calls each, and its name.
    variables: Vec<(String, Template)>,
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
    /// A module: what kind of layer it is, and what each of its variables is called.
    Variables,
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

    /// The module whose path matches `pattern` is a layer of this kind, and its variables have these names, whatever they would
    /// be called otherwise. Each is given by what Keras or the cell of TensorFlow 1 calls it within the layer:
    ///
    /// | layer | its variables |
    /// |---|---|
    /// | LSTM and plain recurrent layers of Keras, GRU of Keras | `kernel`, `recurrent_kernel`, `bias` |
    /// | the other cells of LSTM and plain recurrent layers | `kernel`, `bias` |
    /// | [`GruCell::Tf1`](crate::map::GruCell::Tf1) | `gates/kernel`, `gates/bias`, `candidate/kernel`, `candidate/bias` |
    /// | of a layer with two directions | the same after `forward/` and `backward/` |
    /// | attention | `query/kernel`, `query/bias`, `key/…`, `value/…`, `attention_output/kernel`, `attention_output/bias` |
    /// | separable convolutions | `depthwise_kernel`, `pointwise_kernel`, `bias` |
    /// | all others | as [`Layer`] has them |
    ///
    /// ```
    /// # use tfckpt::map::{ForgetBias, Layer, LstmCell, NameMap, Rule};
    /// # fn main() -> tfckpt::Result<()> {
    /// let layer = Layer::Lstm { cell: LstmCell::Basic(ForgetBias::new(1.0)) };
    /// let rule = Rule::variables("encoder.{i}", layer, [("kernel", "enc{i}/W"), ("bias", "enc{i}/b")])?;
    /// let names = NameMap::keras().rules([rule]);
    /// assert_eq!(names.layer("encoder.2", Layer::Other), layer);
    /// assert_eq!(names.names("encoder.2.kernel", Layer::Other), ["enc2/W"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`scope`](Self::scope); [`Error::InvalidArgument`] if a variable is given twice, or two have one name, or the layer
    /// has no such variable.
    pub fn variables<'n>(
        pattern: &str,
        layer: Layer,
        names: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Result<Self> {
        let mut rule = Self::new(Of::Variables, pattern, None)?.layer(layer);
        let Some(own) = rule.pattern().cloned() else {
            return Ok(rule);
        };
        let mut variables: Vec<(String, Template)> = Vec::new();
        for (leaf, name) in names {
            let invalid = |reason: String| Error::invalid(format!("the variable `{leaf}` of `{pattern}`: {reason}"));
            if let Some(known) = known_variables(layer)
                && !known.contains(&inner_leaf(leaf, layer))
            {
                let known = known.join("`, `");
                return Err(invalid(format!("such a layer has no such variable; it has `{known}`")));
            }
            let template = Template::new(name, &own).map_err(invalid)?;
            if variables.iter().any(|(other, _)| other == leaf) {
                return Err(invalid("it is there twice".to_owned()));
            }
            if variables.iter().any(|(_, other)| *other == template) {
                return Err(invalid(format!("`{name}` is another variable of the layer already")));
            }
            variables.push((leaf.to_owned(), template));
        }
        if variables.is_empty() {
            return Err(Error::invalid(format!(
                "no variable of the layer `{pattern}` has a name"
            )));
        }
        rule.variables = variables;
        Ok(rule)
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
        Self::matching(Of::Name, Matcher::Regex(compiled)).or(replacement)
    }

    /// For what `pattern` matches, and so far without anything that it says of it.
    fn matching(of: Of, pattern: Matcher) -> Self {
        Rule {
            of,
            pattern,
            templates: Vec::new(),
            filled: Vec::new(),
            layer: None,
            layout: None,
            part: None,
            variables: Vec::new(),
        }
    }

    fn new(of: Of, text: &str, template: Option<&str>) -> Result<Self> {
        let pattern = Pattern::new(text).map_err(|reason| Error::InvalidArgument {
            what: format!("the pattern `{text}`: {reason}"),
        })?;
        let rule = Self::matching(of, Matcher::Pattern(pattern));
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
            part: None,
            variables: Vec::new(),
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

    /// The parameter is one of so many equal parts of the variable along one of its axes, `part` from 0; for rules of
    /// [names](Self::name). How the part is laid out follows from its layer, as if it were a variable by itself. It is saved
    /// only with the other parts, for which there are rules with the same captures.
    ///
    /// ```
    /// # use tfckpt::map::{Layer, NameMap, Rule};
    /// # fn main() -> tfckpt::Result<()> {
    /// let part = |path, part| Rule::name(path, "h{i}/qkv")?.layer(Layer::Dense).part(1, part, 3);
    /// let names = NameMap::keras().rules([part("h.{i}.q.weight", 0)?, part("h.{i}.k.weight", 1)?, part("h.{i}.v.weight", 2)?]);
    /// # let _ = names;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such part, or the rule is no name for paths that match a pattern.
    pub fn part(mut self, axis: usize, part: usize, of: usize) -> Result<Self> {
        let invalid = |reason: String| Error::invalid(format!("the rule `{self}`: {reason}"));
        if self.of != Of::Name || self.pattern().is_none() {
            return Err(invalid(
                "a part has a name, and a path that matches a pattern".to_owned(),
            ));
        }
        let part = EqualPart::new(axis, part, of).map_err(invalid)?;
        self.part = Some(part);
        Ok(self)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Of::Kind | Of::Variables => write!(f, "{} is {:?}", self.pattern, self.layer.unwrap_or_default()),
            _ => write!(f, "{} -> {}", self.pattern, self.templates.join(" or ")),
        }
    }
}

/// The variable of a layer, without the direction.
fn inner_leaf(leaf: &str, layer: Layer) -> &str {
    let directions = ["forward/", "backward/"].into_iter().filter(|_| layer.is_recurrent());
    directions
        .into_iter()
        .find_map(|direction| leaf.strip_prefix(direction))
        .unwrap_or(leaf)
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
