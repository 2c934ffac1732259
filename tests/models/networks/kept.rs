//! The networks that are kept in `tests/fixtures/models`, and what all tests of them share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, LayerNorm, Linear, ModuleT, VarBuilder, VarMap};
use serde_json::Value;
use tfckpt::Checkpoint;
use tfckpt::map::{LoadReport, NameMap};
use tfckpt_candle::{Import, Variables};

/// A network that TensorFlow built: its checkpoint, what went in, and what came out.
pub(crate) struct Kept {
    name: &'static str,
    prefix: PathBuf,
    expected: Value,
}

/// Outputs may differ by so much, relative to the largest one.
const TOLERANCE: f64 = 1e-5;

impl Kept {
    pub(crate) fn open(name: &'static str) -> Self {
        Self::with_prefix(name, "model.ckpt")
    }

    pub(crate) fn with_prefix(name: &'static str, prefix: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/models")
            .join(name);
        let expected = std::fs::read(folder.join("expected.json")).expect("the file is in the repository");
        Kept {
            name,
            prefix: folder.join(prefix),
            expected: serde_json::from_slice(&expected).expect("JSON"),
        }
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

    pub(crate) fn output(&self, name: &str) -> Tensor {
        self.tensor("outputs", name)
    }

    fn tensor(&self, side: &str, name: &str) -> Tensor {
        let tensor = &self.expected[side][name];
        let read = |value: &Value| -> Result<Tensor> {
            let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).expect("a shape");
            let values: Vec<f32> = serde_json::from_value(value["values"].clone()).expect("numbers");
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        read(tensor).unwrap_or_else(|error| panic!("{} `{name}` of {}: {error}", side, self.name))
    }

    /// How far this is from what TensorFlow computed, relative to the largest number of it. NaN if one of them is.
    pub(crate) fn difference(&self, output: &str, ours: &Tensor) -> f64 {
        let theirs = self.output(output);
        assert_eq!(theirs.dims(), ours.dims(), "{} {output}", self.name);
        let numbers = |tensor: &Tensor| -> Result<Vec<f64>> { tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1() };
        let (theirs, ours) = (numbers(&theirs).unwrap(), numbers(ours).unwrap());
        let largest = theirs.iter().fold(0f64, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.1, "{output} of {} says nothing", self.name);
        let off = |(a, b): (&f64, &f64)| (a - b).abs() / largest;
        let worse = |worst: f64, off: f64| if off <= worst { worst } else { off };
        theirs.iter().zip(&ours).map(off).fold(0.0, worse)
    }

    /// Fails unless this is what TensorFlow computed.
    pub(crate) fn assert_computes(&self, output: &str, ours: &Tensor) {
        let difference = self.difference(output, ours);
        println!("{} {output}: {difference:.1e}", self.name);
        let is_near = difference <= TOLERANCE;
        assert!(is_near, "{output} of {} differs by {difference:.1e}", self.name);
    }

    /// Fails if this is what TensorFlow computed: what is to be seen in an output is seen there.
    pub(crate) fn assert_computes_otherwise(&self, output: &str, ours: &Tensor) {
        let difference = self.difference(output, ours);
        let is_far = difference > 1e-3;
        assert!(is_far, "{output} of {} differs by {difference:.1e} alone", self.name);
    }

    /// Builds a model that trains from the checkpoint, saves it, and compares each of the variables that it took with the
    /// file that TensorFlow wrote, byte for byte. Gives what was loaded.
    pub(crate) fn assert_saved_as_it_was<M>(
        &self,
        names: &NameMap,
        build: impl FnOnce(VarBuilder) -> Result<M>,
    ) -> LoadReport {
        let (import, varmap) = (Import::new(self.checkpoint(), names.clone()), VarMap::new());
        let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
        build(vb).unwrap();
        let report = import.report();
        assert!(report.is_complete(), "{report}");
        let variables = Variables::new(&varmap).layers(&layers).names(names.clone());
        let folder = tempfile::tempdir().unwrap();
        tfckpt::Saver::new(folder.path())
            .save(variables.to_save().unwrap(), 1)
            .unwrap();
        let (ours, theirs) = (Checkpoint::open(folder.path()).unwrap(), self.checkpoint());
        let names: BTreeSet<&str> = report.loaded.iter().map(|loaded| loaded.name.as_str()).collect();
        // And global_step, which every save has.
        assert_eq!(ours.variables().count(), names.len() + 1);
        for loaded in &report.loaded {
            let [ours, theirs] = [&ours, &theirs].map(|checkpoint| {
                let shape = checkpoint.variable(&loaded.name).unwrap().shape().clone();
                (shape, checkpoint.read_bytes(&loaded.name).unwrap())
            });
            assert_eq!(ours, theirs, "{}", loaded.name);
        }
        report
    }
}

/// A layer normalization of so many numbers.
pub(crate) fn layer_norm(size: usize, epsilon: f64, vb: VarBuilder) -> Result<LayerNorm> {
    candle_nn::layer_norm(size, epsilon, vb)
}

/// Attention of many heads over `[batch, time, width]` each; `mask` is added to the scores.
pub(crate) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: impl Fn(Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let split = |x: &Tensor| -> Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        x.reshape((batch, time, heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (query, key, value) = (split(query)?, split(key)?, split(value)?);
    let scale = (query.dim(3)? as f64).sqrt();
    let scores = mask((query.matmul(&key.t()?)? / scale)?)?;
    let weights = candle_nn::ops::softmax(&scores, 3)?;
    weights.matmul(&value)?.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

/// What is added to scores `[batch, heads, query, key]` so that words that are 0 in `mask [batch, key]` are not attended to.
pub(crate) fn hides(mask: &Tensor) -> Result<Tensor> {
    let mask = mask.to_dtype(DType::F32)?.unsqueeze(1)?.unsqueeze(1)?;
    (mask - 1.0)? * 10000.0
}

/// Tables of words, positions and types, as BERT and its descendants have them.
pub(crate) struct Tables {
    pub(crate) words: candle_nn::Embedding,
    positions: candle_nn::Embedding,
    types: candle_nn::Embedding,
}

impl Tables {
    pub(crate) fn new(words: usize, width: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Tables {
            words: candle_nn::embedding(30, words, vb.pp("word_embeddings"))?,
            positions: candle_nn::embedding(12, width, vb.pp("position_embeddings"))?,
            types: candle_nn::embedding(2, width, vb.pp("token_type_embeddings"))?,
        })
    }

    /// The words, once they are as wide as the others, with positions and types.
    pub(crate) fn add(&self, words: &Tensor, types: &Tensor) -> Result<Tensor> {
        let positions = Tensor::arange(0u32, words.dim(1)? as u32, words.device())?;
        (words + self.types.forward(types)?)?.broadcast_add(&self.positions.forward(&positions)?)
    }
}

/// A convolution that pads as TensorFlow's `SAME`: at the right and the bottom more than at the left and the top, where it
/// cannot be the same.
pub(crate) struct SameConv {
    conv: Conv2d,
    size: usize,
}

impl SameConv {
    pub(crate) fn new(channels: [usize; 2], size: usize, stride: usize, groups: usize, vb: VarBuilder) -> Result<Self> {
        let config = Conv2dConfig {
            stride,
            groups,
            ..Default::default()
        };
        let [inputs, outputs] = channels;
        let conv = candle_nn::conv2d_no_bias(inputs, outputs, size, config, vb)?;
        Ok(SameConv { conv, size })
    }
}

impl Module for SameConv {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let stride = self.conv.config().stride;
        let pad = |x: Tensor, axis: usize| -> Result<Tensor> {
            let length = x.dim(axis)?;
            let all = ((length.div_ceil(stride) - 1) * stride + self.size).saturating_sub(length);
            x.pad_with_zeros(axis, all / 2, all - all / 2)
        };
        self.conv.forward(&pad(pad(x.clone(), 2)?, 3)?)
    }
}

/// A convolution and its batch normalization.
pub(crate) struct Normed<C> {
    pub(crate) conv: C,
    pub(crate) norm: BatchNorm,
}

impl<C: Module> Module for Normed<C> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward_t(&self.conv.forward(x)?, false)
    }
}

/// The mean over height and width, through a dense layer.
pub(crate) fn classify(x: &Tensor, dense: &Linear) -> Result<Tensor> {
    dense.forward(&x.mean(3)?.mean(2)?)
}
