//! A rule as it is written.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::dtype::DType;

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variables: Option<Variables>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) axis: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<usize>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) stack: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constant: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) skip: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cell: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forget_bias: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_after: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) multiplier: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transpose: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dtype: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The variables that something is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Variables {
    /// A parameter, side by side.
    List(Vec<String>),
    /// A layer: what each is called in it, and its name.
    Named(BTreeMap<String, String>),
}

/// By hand, so that an error keeps its place in the file.
impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Variables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of variables, or for a layer what each of its variables is called")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Variables::List(names))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((leaf, name)) = items.next_entry::<String, String>()? {
                    if names.insert(leaf.clone(), name).is_some() {
                        return Err(serde::de::Error::custom(format!("`{leaf}` is there twice")));
                    }
                }
                Ok(Variables::Named(names))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Entry {
    /// The dtype that its parameters are saved in.
    pub(super) fn stored(&self) -> Option<DType> {
        self.dtype.as_deref().and_then(DType::from_name)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without_note = Entry {
            note: None,
            ..self.clone()
        };
        f.write_str(&serde_json::to_string(&without_note).unwrap_or_default())
    }
}
