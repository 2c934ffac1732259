//! Mistakes on purpose: each is refused or reported by name, or it is one that nobody can see, and stands here as such.
//!
//! `docs/mapping.md` lists those that cannot be seen.

#[path = "mistakes/optimizers.rs"]
mod optimizers;
#[path = "mistakes/recurrent.rs"]
mod recurrent;

use std::fs;
use std::path::Path;

use tfckpt::map::{
    Assign, AssignmentMap, Averages, Casts, DenseOrder, Layer, Mapping, ModelVariable, NameMap, Plan, Purpose, Rule,
    Target,
};
use tfckpt::{Checkpoint, DType, Saver, Variable};

/// A model: path, kind of layer, shape.
const MODEL: [(&str, Layer, &[usize]); 9] = [
    ("conv.weight", Layer::Conv2d, &[8, 3, 3, 3]),
    ("dw.weight", Layer::DepthwiseConv2d { multiplier: 2 }, &[8, 1, 3, 3]),
    ("bn.weight", Layer::BatchNorm, &[8]),
    ("bn.running_mean", Layer::BatchNorm, &[8]),
    ("q.weight", Layer::Dense, &[8, 8]),
    ("k.weight", Layer::Dense, &[8, 8]),
    ("fc.weight", Layer::Dense, &[5, 8]),
    ("fc.bias", Layer::Dense, &[5]),
    ("table.weight", Layer::Embedding, &[11, 8]),
];

/// Its variables, as TensorFlow stores them.
const STORED: [(&str, &[usize]); 11] = [
    ("conv/kernel", &[3, 3, 3, 8]),
    ("dw/kernel", &[3, 3, 4, 2]),
    ("bn/gamma", &[8]),
    ("bn/moving_mean", &[8]),
    ("q/kernel", &[8, 8]),
    ("k/kernel", &[8, 8]),
    ("fc/kernel", &[8, 5]),
    ("fc/bias", &[5]),
    ("table/embeddings", &[11, 8]),
    ("fc/kernel/Adam", &[8, 5]),
    ("extra", &[2]),
];

struct Case {
    dir: tempfile::TempDir,
    names: NameMap,
    /// Of the model as the framework sees it.
    model: Vec<(&'static str, Layer, Vec<usize>)>,
    dtype: DType,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let values = vec![0.5f32; 1000];
        let variables = STORED.iter().map(|(name, dims)| {
            let count = dims.iter().product();
            Variable::new(*name, *dims, &values[..count])
        });
        Saver::new(dir.path()).save(variables, 1).unwrap();
        Case {
            dir,
            names: NameMap::keras(),
            model: MODEL
                .iter()
                .map(|(path, layer, dims)| (*path, *layer, dims.to_vec()))
                .collect(),
            dtype: DType::Float32,
        }
    }

    fn names(mut self, names: NameMap) -> Self {
        self.names = names;
        self
    }

    fn mapping(self, rules: &str) -> Result<Self, String> {
        let text = format!("{{ \"rules\": [{rules}] }}");
        let mapping = Mapping::from_json(&text).map_err(|error| error.to_string())?;
        Ok(self.names(NameMap::from(mapping)))
    }

    fn targets(&self) -> Vec<Target> {
        let target = |(path, layer, dims): &(&str, Layer, Vec<usize>)| Target {
            path: (*path).to_owned(),
            names: self.names.names(path, *layer),
            dtypes: self.names.accepts(self.dtype, &[]),
            shape: dims.clone(),
            layout: self.names.layout(path, *layer, DenseOrder::OutIn),
            recipes: self.recipes(path, *layer, dims),
            ..Target::default()
        };
        self.model.iter().map(target).collect()
    }

    fn recipes(&self, path: &str, layer: Layer, dims: &[usize]) -> Vec<tfckpt::map::Recipe> {
        let compound = self.names.compound(path, dims, layer, DenseOrder::OutIn);
        compound
            .and_then(|compound| Some(compound.member(path)?.recipes.clone()))
            .unwrap_or_default()
    }

    /// What is said; the report, if all is well.
    fn told(&self) -> String {
        let kinds: Vec<(&str, Layer)> = self.model.iter().map(|(path, layer, _)| (*path, *layer)).collect();
        let load = || -> tfckpt::Result<String> {
            self.names.check(&kinds)?;
            let checkpoint = Checkpoint::open(self.dir.path())?;
            let plan = Plan::new(&checkpoint, &self.targets())?;
            plan.verify(&checkpoint)?;
            Ok(format!("{:#}", plan.report()))
        };
        load().unwrap_or_else(|error| format!("refused: {error}"))
    }
}

pub(crate) fn refused(told: &str, words: &[&str]) {
    assert!(told.starts_with("refused: "), "not refused: {told}");
    for word in words {
        assert!(told.contains(word), "`{word}` is not in: {told}");
    }
}

#[test]
fn the_model_itself_is_right() {
    let told = Case::new().told();
    assert!(
        told.starts_with("9 loaded") && told.contains("unused: `extra`"),
        "{told}"
    );
}

#[test]
fn wrong_layers_are_refused_with_the_right_one_where_shapes_tell() {
    let with = |path, layer| Case::new().names(NameMap::keras().with_layer(path, layer)).told();
    // 1 to 8.
    refused(&with("fc", Layer::Embedding), &["`fc.weight`", "fc/embeddings"]);
    refused(
        &with("fc", Layer::Other),
        &["`fc.weight`", "`fc/weight`", "`fc/kernel`"],
    );
    refused(
        &with("conv", Layer::DepthwiseConv2d { multiplier: 1 }),
        &["`conv.weight`", "cannot have"],
    );
    refused(
        &with("dw", Layer::Conv2d),
        &["`dw.weight`", "Layer::DepthwiseConv2d { multiplier: 2 }"],
    );
    refused(
        &with("dw", Layer::DepthwiseConv2d { multiplier: 4 }),
        &["`dw.weight`", "[3, 3, 2, 4]"],
    );
    refused(
        &with("dw", Layer::DepthwiseConv2d { multiplier: 3 }),
        &["`dw.weight`", "cannot have"],
    );
    refused(
        &with("bn", Layer::LayerNorm),
        &["`bn.running_mean`", "`bn/moving_mean`"],
    );
    refused(&with("table", Layer::Dense), &["`table.weight`", "table/kernel"]);
}

#[test]
fn wrong_names_are_refused_with_those_that_are_near() {
    // 9 to 16.
    let told = |names: NameMap| Case::new().names(names).told();
    refused(
        &told(NameMap::keras().scope("model")),
        &["`conv.weight`", "model/conv/kernel", "`conv/kernel`"],
    );
    refused(&told(NameMap::keras().within("net")), &["net/fc/bias"]);
    refused(&told(NameMap::slim()), &["fc/weights", "`fc/kernel`"]);
    refused(&told(NameMap::identity()), &["`fc.weight`"]);
    refused(
        &told(NameMap::keras().rename("fc.bias", "fc/bais")),
        &["`fc/bais`", "`fc/bias`"],
    );
    refused(
        &told(NameMap::keras().averages(Averages::Trained)),
        &["fc/kernel/ExponentialMovingAverage"],
    );
    refused(
        &told(NameMap::keras().rename("fc.weight", "extra")),
        &["float32 [8, 5]", "`extra` is float32 [2]"],
    );
    let numbered = NameMap::tf_layers().numbered([("q", Layer::Dense), ("k", Layer::Dense)]);
    refused(&told(numbered), &["dense/kernel", "dense_1/kernel"]);
}

#[test]
fn a_transpose_too_many_or_too_few_is_refused_where_shapes_tell() {
    // 17 to 20.
    let told = |rules: &str| match Case::new().mapping(rules) {
        Ok(case) => case.told(),
        Err(error) => format!("refused: {error}"),
    };
    let rule =
        |transpose: &str| format!(r#"{{ "path": "fc.weight", "variable": "fc/kernel", "transpose": {transpose} }}"#);
    assert!(told(&rule("[1, 0]")).starts_with("9 loaded"));
    refused(&told(&rule("[0, 1]")), &["`fc.weight`", "fc/kernel"]);
    refused(&told(&rule("[1, 1]")), &["each once"]);
    refused(&told(&rule("[0, 1, 2]")), &["fc.weight"]);
    let embedding = r#"{ "path": "table.weight", "variable": "table/embeddings", "transpose": [1, 0] }"#;
    refused(&told(embedding), &["`table.weight`"]);
}

#[test]
fn a_mapping_that_is_none_for_the_model_is_refused() {
    // 21 to 27.
    let told = |rules: &str| match Case::new().mapping(rules) {
        Ok(case) => case.told(),
        Err(error) => format!("refused: {error}"),
    };
    refused(
        &told(r#"{ "path": "head.weight", "variable": "fc/kernel" }"#),
        &["head.weight", "of no use"],
    );
    refused(
        &told(r#"{ "path": "k.weight", "variable": "q/kernel" }"#),
        &["`q.weight` and `k.weight`", "`q/kernel`"],
    );
    refused(
        &told(
            r#"{ "path": "{m:q|k}.weight", "variable": "{m}/kernel" }, { "path": "{m:*}.weight", "variable": "{m}/kernel" }"#,
        ),
        &["two rules", "`q.weight`"],
    );
    refused(
        &told(r#"{ "path": "fc.weight", "variable": "fc/kernel", "axis": 1, "part": 0, "of": 2 }"#),
        &["`fc.weight`", "fc/kernel"],
    );
    refused(
        &told(r#"{ "path": "fc.weight", "variables": ["fc/kernel", "q/kernel"], "axis": 0 }"#),
        &["fc.weight"],
    );
    refused(
        &told(r#"{ "path": "fc.weight", "variable": "fc/kernel", "dtype": "int7" }"#),
        &["int7"],
    );
    refused(
        &told(r#"{ "path": "fc.weight", "variable": "fc/{i}" }"#),
        &["`{i}` is not in"],
    );
}

#[test]
fn parts_that_are_not_those_of_the_variable_are_refused() {
    // 40 to 45.
    let told = |rules: &str| match Case::new().mapping(rules) {
        Ok(case) => case.told(),
        Err(error) => format!("refused: {error}"),
    };
    let part = |path: &str, part: usize, of: usize| {
        format!(r#"{{ "path": "{path}.weight", "variable": "qk/kernel", "axis": 1, "part": {part}, "of": {of} }}"#)
    };
    // `q/kernel` is [8, 8], and taken for two of [8, 8] side by side.
    let twice = |second: usize| {
        let [q, k] = [part("q", 0, 2), part("k", second, 2)];
        told(&format!("{q}, {k}").replace("qk/kernel", "q/kernel"))
    };
    refused(
        &twice(1),
        &["`q.weight` needs", "float32 [8, 16]", "`q/kernel` is float32 [8, 8]"],
    );
    // One part for two parameters, and a whole that others have parts of.
    refused(&twice(0), &["`q.weight` and `k.weight`", "`q/kernel`"]);
    let whole = r#"{ "path": "k.weight", "variable": "q/kernel", "transpose": [1, 0] }"#;
    refused(
        &told(&format!(
            "{}, {whole}",
            part("q", 0, 2).replace("qk/kernel", "q/kernel")
        )),
        &["`q.weight` and `k.weight`"],
    );
    let both = format!("{}, {whole}", whole.replace("k.weight", "q.weight"));
    refused(&told(&both), &["`q.weight` and `k.weight`", "\"shared\": true"]);
    // A part that a layer lays out, of too many.
    let laid_out = part("q", 0, 3)
        .replace(" }", r#", "layer": "dense" }"#)
        .replace("qk/kernel", "q/kernel");
    refused(&told(&laid_out), &["`q.weight` needs", "float32 [8, 24]"]);
    refused(&told(&part("q", 2, 2)), &["below `of`"]);
}

#[test]
fn other_dtypes_are_refused_with_what_to_do() {
    // 28 to 30.
    let with = |dtype, casts| {
        Case {
            dtype,
            ..Case::new().names(NameMap::keras().cast(casts))
        }
        .told()
    };
    refused(&with(DType::Float64, Casts::Never), &["needs float64", "Casts::Exact"]);
    refused(
        &with(DType::Bfloat16, Casts::Exact),
        &["needs bfloat16", "Casts::Lossy"],
    );
    refused(&with(DType::Int32, Casts::Lossy), &["no cast from float32 to int32"]);
    // What is rounded is said.
    let told = with(DType::Bfloat16, Casts::Lossy);
    assert!(
        told.contains("9 perhaps rounded") && told.contains("cast from float32 to bfloat16"),
        "{told}"
    );
}

#[test]
fn missing_and_damaged_variables_are_refused_and_others_reported() {
    // 31 to 36.
    let slot = Target {
        path: "Adam of fc.bias".to_owned(),
        names: vec!["fc/bias/Adam".to_owned()],
        dtypes: vec![DType::Float32],
        shape: vec![5],
        ..Target::default()
    };
    let case = Case::new();
    let checkpoint = Checkpoint::open(case.dir.path()).unwrap();
    let mut targets = case.targets();
    targets.push(slot);
    let error = Plan::new(&checkpoint, &targets).unwrap_err().to_string();
    assert!(
        error.contains("`Adam of fc.bias`") && error.contains("fc/bias/Adam"),
        "{error}"
    );
    let report = Plan::partial(&checkpoint, &targets).into_report();
    assert_eq!(report.missing.len(), 1);
    assert_eq!(
        report.unused,
        ["extra", "fc/kernel/Adam", "global_step"],
        "a variable too many is named"
    );

    let told = Case {
        model: vec![("fc.weight", Layer::Dense, vec![5, 9])],
        ..Case::new()
    }
    .told();
    refused(&told, &["float32 [9, 5]", "is float32 [8, 5]"]);

    let case = Case::new();
    let data = data_file(case.dir.path());
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() - 4]).unwrap();
    refused(&case.told(), &["truncated", "variable `"]);
    let mut flipped = bytes;
    flipped[5] ^= 1;
    fs::write(&data, flipped).unwrap();
    refused(&case.told(), &["crc32c", "variable `"]);
    fs::remove_file(&data).unwrap();
    refused(&case.told(), &["missing"]);
}

#[test]
fn mistakes_of_fine_tuning_are_refused() {
    // 37 to 39.
    let case = Case::new();
    let checkpoint = Checkpoint::open(case.dir.path()).unwrap();
    let variables: Vec<ModelVariable> = case
        .targets()
        .into_iter()
        .map(|target| ModelVariable {
            target,
            purpose: Purpose::Trained,
        })
        .collect();
    let told = |map: AssignmentMap| map.plan(&checkpoint, &variables).map(drop).unwrap_err().to_string();
    assert!(told(AssignmentMap::from([("fc/kernal", "fc/kernel")])).contains("did you mean `fc/kernel`"));
    assert!(told(AssignmentMap::from([("q/kernel", "fc/kernel")])).contains("needs float32 [8, 5]"));
    assert!(told(AssignmentMap::from([("q/", "qq/")])).contains("fills nothing"));
}

#[test]
fn what_nobody_can_see() {
    // Two kernels of one shape, swapped on purpose: the names are there, the shapes are right, the values are any numbers.
    let told = Case::new()
        .names(
            NameMap::keras()
                .rename("q.weight", "k/kernel")
                .rename("k.weight", "q/kernel"),
        )
        .told();
    assert!(told.starts_with("9 loaded"), "{told}");
    // The report says what was taken for what.
    assert!(told.contains("`q.weight` from `k/kernel`, transposed"), "{told}");
    // A square kernel that is declared to be stored as it is.
    let rule = Rule::name("q.weight", "q/kernel")
        .unwrap()
        .layout(tfckpt::map::Layout::Same);
    let told = Case::new().names(NameMap::keras().rules([rule])).told();
    assert!(told.contains("`q.weight` from `q/kernel`\n"), "{told}");
    // A mean in the place of a scale.
    let told = Case::new()
        .names(
            NameMap::keras()
                .rename("bn.weight", "bn/moving_mean")
                .rename("bn.running_mean", "bn/gamma"),
        )
        .told();
    assert!(told.starts_with("9 loaded"), "{told}");
}

fn data_file(dir: &Path) -> std::path::PathBuf {
    dir.join("model.ckpt-1.data-00000-of-00001")
}
