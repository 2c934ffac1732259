//! The names that the graph of a checkpoint gives to its variables, for whoever asks the bundle for one.

use std::sync::{Arc, OnceLock};

use super::find::FindFault;
use super::{OBJECT_GRAPH_KEY, ObjectGraph};
use crate::bundle::{Bundle, Names};
use crate::error::{Error, Result};

/// The graph of a checkpoint, read when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct ObjectNames {
    graph: OnceLock<Result<Option<ObjectGraph>, Arc<Error>>>,
}

impl ObjectNames {
    /// The names of a bundle that has a graph. Looks at the index only.
    pub(crate) fn of(bundle: &Bundle) -> Option<Arc<Self>> {
        bundle.has_key(OBJECT_GRAPH_KEY).then(Arc::default)
    }

    /// The graph; reading it fails the same way every time.
    pub(crate) fn graph(&self, bundle: &Bundle) -> Result<Option<&ObjectGraph>> {
        let read = self.graph.get_or_init(|| ObjectGraph::read(bundle).map_err(Arc::new));
        read.as_ref().map(Option::as_ref).map_err(|source| Error::ObjectGraph {
            prefix: bundle.prefix(),
            source: source.clone(),
        })
    }
}

impl Names for ObjectNames {
    fn key_of(&self, bundle: &Bundle, name: &str) -> Result<Option<String>> {
        let Some(graph) = self.graph(bundle)? else {
            return Ok(None);
        };
        match graph.resolve(name) {
            Some(Ok(variable)) => Ok(Some(variable.key().to_owned())),
            None | Some(Err(FindFault::Unknown { .. })) => Ok(None),
            Some(Err(FindFault::Ambiguous { candidates })) => Err(Error::AmbiguousName {
                prefix: bundle.prefix(),
                name: name.to_owned(),
                candidates,
            }),
        }
    }

    fn name_of(&self, bundle: &Bundle, key: &str) -> Option<String> {
        let graph = self.graph(bundle).ok().flatten()?;
        graph.with_key(key).map(|variable| variable.name())
    }
}
