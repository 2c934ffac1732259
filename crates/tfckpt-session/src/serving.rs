//! What a loader of an export does: its tables are filled, and its signatures are called by their names.

use std::sync::PoisonError;

use candle_core::Tensor;
use tfckpt::{Collection, Signature};

use crate::error::Result;
use crate::session::{Session, unknown, wanted};
use crate::value::Value;

impl Session {
    /// Runs a signature of the graph: feeds and results by the names that it gives them.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::Error::Unknown) for a signature or an input that is not there; otherwise as [`run`](Self::run).
    pub fn run_signature(&self, name: &str, feeds: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let signature = self.signature(name)?;
        let fed = by_names_of(&signature, feeds)?;
        let fetches: Vec<&str> = signature.outputs.values().map(|info| info.name.as_str()).collect();
        let results = self.run(&fetches, &fed)?;
        Ok(signature.outputs.keys().cloned().zip(results).collect())
    }

    /// As [`run_signature`](Self::run_signature), with values of any kind: the strings that an Estimator's export parses, and
    /// classes by name.
    ///
    /// # Errors
    /// As [`run_signature`](Self::run_signature).
    pub fn run_signature_values(&self, name: &str, feeds: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        let signature = self.signature(name)?;
        let fed = by_names_of(&signature, feeds)?;
        let fetches: Vec<&str> = signature.outputs.values().map(|info| info.name.as_str()).collect();
        let results = self.run_values(&fetches, &fed)?;
        Ok(signature.outputs.keys().cloned().zip(results).collect())
    }

    fn signature(&self, name: &str) -> Result<Signature> {
        let mut all = self.graph().signatures();
        let found = all.find_map(|(known, signature)| (known == name).then_some(signature));
        found.ok_or_else(|| {
            let names: Vec<String> = self.graph().signatures().map(|(name, _)| name.to_owned()).collect();
            unknown("signature", name, names.iter())
        })
    }

    /// Does what fills the graph's tables, once, as `tf.tables_initializer()` and the loader of a SavedModel do.
    pub(crate) fn fill_tables(&self) -> Result<()> {
        let mut filled = self.tables.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if *filled {
            return Ok(());
        }
        let fills = self
            .graph()
            .nodes()
            .filter(|node| node.op().starts_with("InitializeTable"));
        let mut targets: Vec<String> = fills.map(|node| node.name().to_owned()).collect();
        let op = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        for (name, collection) in self.graph().collections() {
            if let ("table_initializer" | "saved_model_main_op" | "legacy_init_op", Collection::Nodes(nodes)) =
                (name, collection)
            {
                targets.extend(nodes.iter().map(|node| op(node)));
            }
        }
        if let Ok(signature) = self.signature("__saved_model_init_op") {
            targets.extend(signature.outputs.values().map(|info| op(&info.name)));
        }
        if !targets.is_empty() {
            let names: Vec<&str> = targets.iter().map(String::as_str).collect();
            let program = self.program(wanted(&[], &names, std::iter::empty()))?;
            self.run_program(&program, Vec::new(), false)?;
        }
        *filled = true;
        Ok(())
    }
}

/// Feeds by the names of tensors, instead of those of the signature.
fn by_names_of<'s, T: Clone>(signature: &'s Signature, feeds: &[(&str, T)]) -> Result<Vec<(&'s str, T)>> {
    let named = feeds.iter().map(|(input, value)| {
        let known = signature.inputs.get(*input);
        let info = known.ok_or_else(|| unknown("input of a signature", input, signature.inputs.keys()))?;
        Ok((info.name.as_str(), value.clone()))
    });
    named.collect()
}
