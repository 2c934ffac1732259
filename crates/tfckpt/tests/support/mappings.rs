//! TensorFlow's recurrent layers under names that no preset knows, and mappings for them: for the tests of mappings here and in
//! both adapters.
#![allow(dead_code, reason = "shared between test binaries, which use different parts of it")]

use std::path::Path;

use tfckpt::map::{Mapping, NameMap};
use tfckpt::{Checkpoint, Saver, Variable, VariableInfo};

/// A checkpoint of `tests/fixtures/layers`.
pub(crate) fn layers(name: &str) -> Checkpoint {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/layers");
    Checkpoint::open(root.join(name)).unwrap()
}

/// Variables of TensorFlow's own, under other names.
pub(crate) fn renamed(dir: &Path, names: &[(&str, &str)]) -> Checkpoint {
    let model = layers("model");
    let variables = names.iter().map(|(old, new)| {
        let info = model.variable(old).unwrap();
        Variable::from_bytes(*new, info.dtype(), info.shape().clone(), model.read_bytes(old).unwrap())
    });
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

/// A mapping of these rules.
pub(crate) fn names(rules: &str) -> NameMap {
    NameMap::from(Mapping::from_json(&format!("{{ \"rules\": [{rules}], \"ignore\": [\"global_step\"] }}")).unwrap())
}

/// All variables but the step: names, dtypes, shapes and bytes.
pub(crate) fn contents(checkpoint: &Checkpoint) -> Vec<(String, String, Vec<u8>)> {
    let infos = checkpoint.variables().filter(|info| info.name() != "global_step");
    let read = |info: &VariableInfo| {
        let bytes = checkpoint.read_bytes(info.key()).unwrap();
        (
            info.name().into_owned(),
            format!("{} {}", info.dtype(), info.shape()),
            bytes,
        )
    };
    infos.map(read).collect()
}
