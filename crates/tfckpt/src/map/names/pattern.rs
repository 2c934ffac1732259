//! Patterns of paths, and what they turn into.
//!
//! | in a pattern | matches |
//! |---|---|
//! | `{i}` | a number |
//! | `{x:*}` | anything without a dot |
//! | `{x:**}` | anything |
//! | `{x:q\|k\|v}` | one of these |
//! | the rest | itself |
//!
//! | in a name | becomes |
//! |---|---|
//! | `{x}` | what `x` has matched; dots become slashes |
//! | `{i+1}`, `{i-1}` | the number, with that added or taken away |
//! | `{i:03}`, `{i+1:03}` | the number, in at least so many digits |

use std::collections::BTreeSet;
use std::fmt;

/// What a path, or the beginning of one, may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::map) struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Capture(String, Kind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Number,
    /// Without a dot.
    Component,
    Components,
    OneOf(Vec<String>),
}

/// What the captures of a pattern have matched, and how far the match goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::map) struct Match<'p> {
    pub(in crate::map) captures: Vec<(&'p str, &'p str)>,
    /// What comes after it: nothing, or a dot and more.
    pub(in crate::map) rest: &'p str,
}

/// A name with places for captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::map) struct Template {
    text: String,
    pieces: Vec<Insert>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Insert {
    Text(String),
    Capture { name: String, shift: i64, digits: usize },
}

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern.
    pub(in crate::map) fn new(text: &str) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        let pieces = pieces(
            text,
            |text| Ok(Piece::Text(text.to_owned())),
            |inside| {
                let (name, kind) = match inside.split_once(':') {
                    None => (inside, Kind::Number),
                    Some((name, "*")) => (name, Kind::Component),
                    Some((name, "**")) => (name, Kind::Components),
                    Some((name, words)) if words.split('|').all(|word| !word.is_empty()) => {
                        (name, Kind::OneOf(words.split('|').map(str::to_owned).collect()))
                    }
                    Some(_) => return Err(format!("`{{{inside}}}` has an empty alternative")),
                };
                check_name(name)?;
                match names.insert(name.to_owned()) {
                    true => Ok(Piece::Capture(name.to_owned(), kind)),
                    false => Err(format!("`{name}` is there twice")),
                }
            },
        )?;
        Ok(Pattern {
            text: text.to_owned(),
            pieces,
        })
    }

    /// A path that is matched by itself alone.
    pub(in crate::map) fn exact(path: &str) -> Self {
        Pattern {
            text: path.to_owned(),
            pieces: vec![Piece::Text(path.to_owned())],
        }
    }

    /// Whether no other path matches than the pattern itself.
    pub(in crate::map) fn is_exact(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The path that has these captures; `None` if one is not among them.
    pub(in crate::map) fn fill(&self, found: &Match<'_>) -> Option<String> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Capture(name, _) => {
                let (_, value) = found.captures.iter().find(|(captured, _)| captured == name)?;
                Some((*value).to_owned())
            }
        };
        self.pieces.iter().map(text).collect()
    }

    /// Matches the whole path.
    pub(in crate::map) fn matches<'p>(&'p self, path: &'p str) -> Option<Match<'p>> {
        self.run(path, false)
    }

    /// Matches the path, or its first components.
    pub(in crate::map) fn matches_start<'p>(&'p self, path: &'p str) -> Option<Match<'p>> {
        self.run(path, true)
    }

    fn run<'p>(&'p self, path: &'p str, start: bool) -> Option<Match<'p>> {
        let mut matcher = Matcher {
            pieces: &self.pieces,
            start,
            captures: Vec::new(),
            failed: BTreeSet::new(),
        };
        let rest = matcher.at(0, path)?;
        Some(Match {
            captures: matcher.captures,
            rest,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Goes back where a capture took too much, but never twice to the same place: the time is bounded by the product of the
/// lengths.
struct Matcher<'p> {
    pieces: &'p [Piece],
    start: bool,
    captures: Vec<(&'p str, &'p str)>,
    failed: BTreeSet<(usize, usize)>,
}

impl<'p> Matcher<'p> {
    fn at(&mut self, number: usize, rest: &'p str) -> Option<&'p str> {
        if self.failed.contains(&(number, rest.len())) {
            return None;
        }
        let found = self.try_at(number, rest);
        if found.is_none() {
            self.failed.insert((number, rest.len()));
        }
        found
    }

    fn try_at(&mut self, number: usize, rest: &'p str) -> Option<&'p str> {
        let pieces = self.pieces;
        match pieces.get(number) {
            None => (rest.is_empty() || (self.start && rest.starts_with('.'))).then_some(rest),
            Some(Piece::Text(text)) => self.at(number + 1, rest.strip_prefix(text.as_str())?),
            Some(Piece::Capture(name, kind)) => {
                // The longest first.
                for end in kind.ends(rest).into_iter().rev() {
                    let (taken, left) = rest.split_at_checked(end)?;
                    let before = self.captures.len();
                    self.captures.push((name, taken));
                    if let Some(found) = self.at(number + 1, left) {
                        return Some(found);
                    }
                    self.captures.truncate(before);
                }
                None
            }
        }
    }
}

impl Kind {
    /// Where what is captured may end, the shortest first.
    fn ends(&self, text: &str) -> Vec<usize> {
        let run = |is_part: fn(char) -> bool| -> Vec<usize> {
            let part = text.char_indices().take_while(|(_, c)| is_part(*c));
            part.map(|(at, c)| at + c.len_utf8()).collect()
        };
        match self {
            // A number is taken whole: 12 is not 1 and then 2.
            Kind::Number => run(|c| c.is_ascii_digit()).pop().into_iter().collect(),
            Kind::Component => run(|c| c != '.'),
            Kind::Components => run(|_| true),
            Kind::OneOf(words) => {
                let mut ends: Vec<usize> = words
                    .iter()
                    .filter(|word| text.starts_with(word.as_str()))
                    .map(String::len)
                    .collect();
                ends.sort_unstable();
                ends
            }
        }
    }
}

impl Template {
    /// # Errors
    /// What is wrong with it, or a capture that the pattern does not have.
    pub(in crate::map) fn new(text: &str, pattern: &Pattern) -> Result<Self, String> {
        let captured = |name: &str| {
            pattern.pieces.iter().find_map(|piece| match piece {
                Piece::Capture(captured, kind) if captured == name => Some(kind),
                _ => None,
            })
        };
        let pieces = pieces(
            text,
            |text| Ok(Insert::Text(text.to_owned())),
            |inside| {
                let (value, digits) = match inside.split_once(':') {
                    None => (inside, None),
                    Some((value, digits)) => {
                        let digits = digits.parse().ok().filter(|digits| (1..=9).contains(digits));
                        let unclear =
                            || format!("`{{{inside}}}`: after the colon comes a number of digits from 1 to 9");
                        (value, Some(digits.ok_or_else(unclear)?))
                    }
                };
                let (name, shift) = match value.find(['+', '-']) {
                    None => (value, None),
                    Some(at) => {
                        let (name, shift) = value.split_at_checked(at).unwrap_or((value, ""));
                        let unclear = |_| format!("`{{{inside}}}`: `{shift}` is no number to add");
                        (name, Some(shift.parse::<i64>().map_err(unclear)?))
                    }
                };
                let kind = captured(name).ok_or_else(|| format!("`{{{name}}}` is not in `{pattern}`"))?;
                if *kind != Kind::Number && (shift.is_some() || digits.is_some()) {
                    return Err(format!("`{name}` is no number in `{pattern}`"));
                }
                Ok(Insert::Capture {
                    name: name.to_owned(),
                    shift: shift.unwrap_or(0),
                    digits: digits.unwrap_or(0),
                })
            },
        )?;
        Ok(Template {
            text: text.to_owned(),
            pieces,
        })
    }

    /// A name without places.
    pub(in crate::map) fn exact(name: &str) -> Self {
        Template {
            text: name.to_owned(),
            pieces: vec![Insert::Text(name.to_owned())],
        }
    }

    /// The name for a match; `None` if a number comes out below 0.
    pub(in crate::map) fn fill(&self, found: &Match<'_>) -> Option<String> {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Insert::Text(text) => name.push_str(text),
                Insert::Capture {
                    name: captured,
                    shift,
                    digits,
                } => {
                    let (_, value) = found.captures.iter().find(|(name, _)| name == captured)?;
                    match (*shift, *digits) {
                        (0, 0) => name.push_str(&value.replace('.', "/")),
                        (shift, digits) => {
                            let number = value
                                .parse::<i64>()
                                .ok()?
                                .checked_add(shift)
                                .filter(|number| *number >= 0)?;
                            name.push_str(&format!("{number:0digits$}"));
                        }
                    }
                }
            }
        }
        Some(name)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text before, between and after braces, and what is inside of them.
fn pieces<T>(
    text: &str,
    outside: impl Fn(&str) -> Result<T, String>,
    mut inside: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (within, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
        if !before.is_empty() {
            pieces.push(outside(before)?);
        }
        pieces.push(inside(within)?);
        rest = after;
    }
    match rest.contains('}') {
        true => return Err("a `}` without its `{`".to_owned()),
        false if !rest.is_empty() => pieces.push(outside(rest)?),
        false => {}
    }
    Ok(pieces)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match !name.is_empty() && name.chars().all(is_word) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` is no name for what is matched: letters, digits and `_` are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(pattern: &str, template: &str, path: &str) -> Option<String> {
        let pattern = Pattern::new(pattern).unwrap();
        let template = Template::new(template, &pattern).unwrap();
        template.fill(&pattern.matches(path)?)
    }

    #[test]
    fn captures_go_where_the_template_says() {
        let cases = [
            (
                "encoder.layer.{i}",
                "encoder/layer_{i}",
                "encoder.layer.12",
                "encoder/layer_12",
            ),
            (
                "layer{b}.{u}.conv{c}",
                "block{b}/unit_{u+1}/conv{c}",
                "layer1.0.conv3",
                "block1/unit_1/conv3",
            ),
            ("block.{i}", "block_{i:03}", "block.7", "block_007"),
            ("conv_{i}", "Conv2d_{i-1:2}_depthwise", "conv_13", "Conv2d_12_depthwise"),
            (
                "{m:**}.word_embeddings.weight",
                "{m}/word_embeddings",
                "a.b.word_embeddings.weight",
                "a/b/word_embeddings",
            ),
            (
                "att.{p:query|key|q}.{f:*}",
                "att/{f}_{p}",
                "att.query.weight",
                "att/weight_query",
            ),
            ("{a:*}{i}", "{i}/{a}", "conv12", "2/conv1"),
        ];
        for (pattern, template, path, name) in cases {
            assert_eq!(renamed(pattern, template, path).as_deref(), Some(name), "{pattern}");
        }
    }

    #[test]
    fn what_does_not_match_stays_out() {
        assert_eq!(renamed("layer.{i}", "l", "layer.x"), None);
        assert_eq!(renamed("layer.{i}", "l", "layer.1.weight"), None);
        assert_eq!(renamed("{x:*}", "l", "a.b"), None);
        assert_eq!(renamed("{x:a|b}", "l", "c"), None);
        assert_eq!(renamed("l{i}", "l{i-1}", "l0"), None, "there is no -1");
        assert_eq!(renamed("l{i}", "l{i+1}", "l99999999999999999999"), None);
    }

    #[test]
    fn the_start_of_a_path_ends_between_components() {
        let pattern = Pattern::new("layer.{i}").unwrap();
        assert_eq!(pattern.matches_start("layer.12.fc").unwrap().rest, ".fc");
        assert_eq!(pattern.matches_start("layer.12").unwrap().rest, "");
        assert!(pattern.matches_start("layer.12x").is_none());
        assert!(pattern.matches_start("layers.1").is_none());
    }

    #[test]
    fn a_pattern_of_many_captures_ends_soon() {
        let pattern = (0..30).map(|i| format!("{{c{i}:**}}a")).collect::<String>();
        assert!(
            Pattern::new(&pattern)
                .unwrap()
                .matches(&"a".repeat(300).replace("aa", "ab"))
                .is_none()
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (pattern, reason) in [
            ("a{", "without its `}`"),
            ("a}", "without its `{`"),
            ("{}", "no name"),
            ("{i}{i}", "twice"),
            ("{x:a|}", "empty alternative"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let pattern = Pattern::new("{i}.{x:*}").unwrap();
        for (template, reason) in [
            ("{j}", "is not in"),
            ("{x+1}", "no number"),
            ("{x:03}", "no number"),
            ("{i+b}", "to add"),
            ("{i:}", "digits"),
            ("{i:99}", "digits"),
        ] {
            let error = Template::new(template, &pattern).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
