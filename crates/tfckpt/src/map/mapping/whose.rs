//! The names of a model, as a mapping says them.

use super::kind::Kind;
use super::{AveragesName, CastName, IndicesName, Mapping, Whose};
use crate::map::names::{Averages, Casts, Indices, NameMap, Rule};

impl Mapping {
    /// Those that it begins with, and its rules.
    pub(super) fn to_names(&self) -> NameMap {
        let mut names = match self.names {
            None | Some(Whose::Keras | Whose::Keras3) => NameMap::keras(),
            Some(Whose::Keras2) => NameMap::keras2(),
            Some(Whose::TfLayers) => NameMap::tf_layers(),
            Some(Whose::Slim) => NameMap::slim(),
            Some(Whose::Identity) => NameMap::identity(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        names = names
            .scope(text(&self.scope))
            .model_scope(text(&self.model_scope))
            .within(text(&self.within));
        if let Some(indices) = self.indices {
            names = names.indices(match indices {
                IndicesName::Scopes => Indices::Scopes,
                IndicesName::Suffixes => Indices::Suffixes,
                IndicesName::Uniquified => Indices::Uniquified,
            });
        }
        names = names.averages(match self.averages {
            None | Some(AveragesName::Never) => Averages::Never,
            Some(AveragesName::Trained) => Averages::Trained,
            Some(AveragesName::All) => Averages::All,
            Some(AveragesName::WhereThere) => Averages::WhereThere,
        });
        names = names.cast(match self.cast {
            None | Some(CastName::Never) => Casts::Never,
            Some(CastName::Exact) => Casts::Exact,
            Some(CastName::Lossy) => Casts::Lossy,
        });
        // Those without captures come first.
        let kinds = self.rules.iter().filter_map(|entry| entry.to_kind().ok());
        let mut rules: Vec<Rule> = kinds.filter_map(Kind::into_rule).collect();
        rules.sort_by_key(|rule| !rule.is_exact());
        names.rules(rules)
    }
}
