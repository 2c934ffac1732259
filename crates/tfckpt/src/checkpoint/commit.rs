//! One checkpoint on its way to the disk.

use std::sync::Arc;

use super::GLOBAL_STEP;
use super::retention::remove_checkpoint;
use crate::bundle::{Bundle, BundleWriter, Written, index_name, parse_shard_name};
use crate::error::{Error, Result};
use crate::io::{Durability, Storage, write_file};
use crate::limits::Limits;
use crate::meta::{GraphSpec, MetaGraphWriter, VariableKind, meta_name};
use crate::objects::ObjectLayout;
use crate::tensor::Variable;

/// How checkpoints are written.
#[derive(Debug, Clone)]
pub(super) struct Committer {
    pub(super) durability: Durability,
    pub(super) max_shard_bytes: u64,
    pub(super) threads: usize,
    pub(super) verify: bool,
    /// The graph that is written beside each, unless they are object-based.
    pub(super) meta_graph: Option<MetaGraphWriter>,
    pub(super) objects: Option<ObjectLayout>,
}

impl Default for Committer {
    fn default() -> Self {
        Committer {
            durability: Durability::default(),
            max_shard_bytes: u64::MAX,
            threads: Limits::default().threads(),
            verify: false,
            meta_graph: Some(MetaGraphWriter {
                kind: VariableKind::default(),
                max_to_keep: 5,
                keep_checkpoint_every_n_hours: super::saver::KEEP_EVERY_N_HOURS,
            }),
            objects: None,
        }
    }
}

impl Committer {
    /// The variables of one checkpoint, `global_step` among them, in the order in which they lie on disk.
    pub(super) fn arrange<'v>(
        &self,
        variables: impl IntoIterator<Item = Variable<'v>>,
        global_step: i64,
        save_counter: i64,
    ) -> Result<Vec<Variable<'v>>> {
        let mut variables: Vec<Variable<'v>> = variables.into_iter().collect();
        variables.push(Variable::scalar(GLOBAL_STEP, global_step));
        if let Some(layout) = &self.objects {
            variables = layout.clone().save_counter(save_counter).apply(variables)?;
        }
        variables.sort_by(|a, b| a.key().cmp(b.key()));
        // Before a byte is written. Slices of one variable share its name.
        let twice = |[a, b]: &&[Variable<'_>; 2]| a.key() == b.key() && (a.part().is_none() || b.part().is_none());
        match variables.array_windows().find(twice) {
            Some([twice, _]) => Err(Error::DuplicateName {
                name: twice.name().into_owned(),
            }),
            None => Ok(variables),
        }
    }

    /// Writes data files, graph and index: after it the checkpoint is there, whole. Nothing of this name may be there
    /// before. After an error nothing is there.
    pub(super) fn write(
        &self,
        storage: &Arc<dyn Storage>,
        name: &str,
        variables: Vec<Variable<'_>>,
    ) -> Result<Written> {
        check_space(storage.as_ref(), name, &variables)?;
        let written = self.write_files(storage, name, variables);
        let written = written.and_then(|written| match self.verify {
            true => self.read_back(storage, name).map(|()| written),
            false => Ok(written),
        });
        if written.is_err() {
            // The error that is told is the first one. What is left is swept when the directory is next written to.
            let _ = remove_checkpoint(storage.as_ref(), name);
        }
        written
    }

    fn write_files(&self, storage: &Arc<dyn Storage>, name: &str, variables: Vec<Variable<'_>>) -> Result<Written> {
        let mut writer = BundleWriter::create(storage.clone(), name)?
            .with_durability(self.durability)
            .with_max_shard_bytes(self.max_shard_bytes)
            .with_threads(self.threads);
        let graph = self.meta_graph.as_ref().filter(|_| self.objects.is_none());
        let graph = graph.map(|graph| {
            let specs = variables.iter().map(|variable| GraphSpec::of(variable, GLOBAL_STEP));
            graph.to_bytes(&specs.collect::<Vec<_>>())
        });
        writer.add_all(variables)?;
        // The index comes last: with it, everything is there.
        if let Some(graph) = graph {
            let meta = meta_name(name);
            write_file(storage.as_ref(), &meta, &graph, self.durability)
                .map_err(|error| Error::io("write", storage.path(&meta), error))?;
        }
        writer.finish()
    }

    /// Reads what was written, from the device where that can be asked for, and compares checksums.
    fn read_back(&self, storage: &Arc<dyn Storage>, name: &str) -> Result<()> {
        let files = storage.list().unwrap_or_default();
        let of =
            |file: &&String| **file == index_name(name) || parse_shard_name(file).is_some_and(|(of, ..)| of == name);
        files.iter().filter(of).for_each(|file| storage.forget_cached(file));
        let limits = Limits::default().with_threads(self.threads);
        let verified = Bundle::open(storage.clone(), name, &limits)
            .and_then(|bundle| bundle.verify_all(&bundle.variables().collect::<Vec<_>>()));
        verified.map_err(|error| Error::NotStored {
            prefix: storage.path(name),
            source: Box::new(error),
        })
    }
}

/// Whether there is room for the variables, as far as that can be known: their bytes, and a little for index and graph.
fn check_space(storage: &dyn Storage, name: &str, variables: &[Variable<'_>]) -> Result<()> {
    /// Bytes of index and graph for each variable, besides its name; the graph of a name has it some dozen times.
    const PER_VARIABLE: u64 = 256;
    let bytes = |variable: &Variable<'_>| variable.byte_len().unwrap_or(0).saturating_add(PER_VARIABLE);
    let needed = variables.iter().map(bytes).fold(0, u64::saturating_add);
    match storage.free_bytes() {
        Ok(Some(free)) if free < needed => Err(Error::NoSpace {
            prefix: storage.path(name),
            needed,
            free,
        }),
        // A storage that cannot say is written to until it says no.
        _ => Ok(()),
    }
}
