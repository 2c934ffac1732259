//! What TensorFlow built: in `tests/fixtures/models`, or wherever `make/models.py` has put it.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use serde_json::Value;
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt_candle::Import;

/// A network that TensorFlow built: its checkpoint, what went in, and what came out.
pub(crate) struct Kept {
    name: String,
    prefix: PathBuf,
    expected: Value,
}

impl Kept {
    /// The one of the repository that is called so.
    pub(crate) fn open(name: &str) -> Self {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
        Self::in_folder(&models.join(name))
    }

    /// The one in this folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let index = std::fs::read_dir(folder).expect("a folder of a network");
        let mut index =
            index.filter_map(|entry| Some(entry.ok()?.path().with_extension("")).filter(|path| is_prefix(path)));
        let expected = std::fs::read(folder.join("expected.json")).expect("every network has it");
        Kept {
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            prefix: index.next().expect("every network has a checkpoint"),
            expected: serde_json::from_slice(&expected).expect("JSON"),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open(&self.prefix).expect("a checkpoint")
    }

    /// The checkpoint, for a model whose names are these.
    pub(crate) fn import(&self, names: NameMap) -> (Import, VarBuilder<'static>) {
        let import = Import::new(self.checkpoint(), names);
        let vb = import.var_builder(DType::F32, &Device::Cpu);
        (import, vb)
    }

    /// An input of floating point.
    pub(crate) fn floats(&self, name: &str) -> Tensor {
        self.tensor("inputs", name)
    }

    /// An input of whole numbers.
    pub(crate) fn ids(&self, name: &str) -> Tensor {
        self.floats(name).to_dtype(DType::U32).expect("small numbers")
    }

    /// Images, which are `[n, height, width, channels]` in TensorFlow, as `[n, channels, height, width]`.
    pub(crate) fn images(&self) -> Tensor {
        self.floats("images").permute((0, 3, 1, 2)).expect("images")
    }

    /// `side` is `inputs` or `outputs`.
    pub(crate) fn tensor(&self, side: &str, name: &str) -> Tensor {
        let tensor = &self.expected[side][name];
        let read = |value: &Value| -> Result<Tensor> {
            let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).expect("a shape");
            let values: Vec<f32> = serde_json::from_value(value["values"].clone()).expect("numbers");
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        read(tensor).unwrap_or_else(|error| panic!("{} `{name}` of {}: {error}", side, self.name))
    }
}

fn is_prefix(path: &Path) -> bool {
    path.with_added_extension("index").is_file()
}
