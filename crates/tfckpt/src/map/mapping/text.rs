//! Mappings as JSON and TOML.

use super::Mapping;
use super::entry::Entry;
use crate::error::{Error, Result};
use crate::map::names::Pattern;

impl Mapping {
    /// Reads a mapping, and checks every rule by itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with line and column, or the number of the rule.
    pub fn from_json(text: &str) -> Result<Self> {
        let mapping =
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("this is no mapping: {error}")));
        Self::checked(mapping?)
    }

    /// Reads a mapping in TOML, of the same keys and values, and checks every rule by itself.
    ///
    /// ```
    /// use tfckpt::map::Mapping;
    ///
    /// # fn main() -> tfckpt::Result<()> {
    /// let mapping = Mapping::from_toml(r#"
    ///     names = "slim"
    ///     ignore = ["global_step"]
    ///
    ///     [[rules]]
    ///     path = "head.weight"
    ///     variable = "logits/weights"
    ///     transpose = [1, 0]
    /// "#)?;
    /// assert_eq!(mapping, Mapping::from_json(&mapping.to_json())?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self> {
        let place = |error: &toml::de::Error| {
            let before = text.get(..error.span()?.start)?;
            let line = before.rsplit('\n').next().unwrap_or_default();
            let (lines, column) = (before.matches('\n').count() + 1, line.chars().count() + 1);
            Some(format!(" at line {lines} column {column}"))
        };
        let mapping = toml::from_str(text).map_err(|error| {
            let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::invalid(format!(
                "this is no mapping: {reason}{}",
                place(&error).unwrap_or_default()
            ))
        });
        Self::checked(mapping?)
    }

    /// Itself, if each of its rules says something.
    fn checked(self) -> Result<Self> {
        for (number, entry) in self.rules.iter().enumerate() {
            entry
                .to_kind()
                .map_err(|reason| Error::invalid(format!("rule {} of the mapping, {entry}: {reason}", number + 1)))?;
        }
        for pattern in &self.ignore {
            Pattern::new(pattern).map_err(|reason| Error::invalid(format!("`{pattern}` of `ignore`: {reason}")))?;
        }
        Ok(self)
    }

    /// The same as JSON, a rule to a line.
    pub fn to_json(&self) -> String {
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap_or_default();
        let rules: Vec<String> = self.rules.iter().map(line).collect();
        let rest = Mapping {
            rules: Vec::new(),
            ..self.clone()
        };
        let text = serde_json::to_string_pretty(&rest).unwrap_or_default();
        match rules.is_empty() {
            true => text,
            false => text.replacen(
                "\"rules\": []",
                &format!("\"rules\": [\n    {}\n  ]", rules.join(",\n    ")),
                1,
            ),
        }
    }

    /// The same as TOML.
    #[cfg(feature = "toml")]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}
