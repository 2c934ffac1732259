//! A load is decided before anything is read, and every problem is told at once.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tfckpt::io::Progress;
use tfckpt::map::{DenseOrder, Filling, Ingredient, Layer, Layout, NameMap, Plan, Recipe, Target};
use tfckpt::{Checkpoint, DType, Error, Limits, Saver, Variable};

fn target(path: &str, layer: Layer, shape: &[usize]) -> Target {
    let names = NameMap::keras();
    Target {
        path: path.to_owned(),
        names: names.names(path, layer),
        dtypes: vec![DType::Float32],
        shape: shape.to_vec(),
        layout: names.layout(path, layer, DenseOrder::OutIn),
        ..Target::default()
    }
}

fn checkpoint(dir: &std::path::Path) -> Checkpoint {
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let variables = [
        Variable::new("dense/kernel", [3, 4], &values),
        Variable::new("dense/bias", [4], &values[..4]),
        Variable::scalar("step", 7i32),
        Variable::new("norm/gamma", [4], &values[..4]),
    ];
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn what_fits_is_read_in_the_layout_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let targets = [
        target("dense.weight", Layer::Dense, &[4, 3]),
        target("dense.bias", Layer::Dense, &[4]),
    ];
    let plan = Plan::new(&checkpoint, &targets).unwrap();
    plan.verify(&checkpoint).unwrap();
    assert_eq!(plan.report().unused, ["global_step", "norm/gamma", "step"]);
    let read = |filling: &Filling<'_>| {
        let mut bytes = vec![0; filling.size()?];
        filling.read_into(&mut bytes)?;
        Ok::<_, Error>((filling.target(), bytes))
    };
    let filled = plan.carry_out(&checkpoint, read).unwrap();
    assert_eq!(filled.len(), 2);
    let (_, bytes) = filled.into_iter().find(|(target, _)| *target == 0).unwrap();
    let values: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect();
    assert_eq!(values, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
}

#[test]
fn every_problem_is_told_at_once_and_before_any_byte_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    // Without its data file nothing could be read.
    fs::remove_file(dir.path().join("model.ckpt-1.data-00000-of-00001")).unwrap();
    let targets = [
        target("dense.weight", Layer::Dense, &[3, 4]),
        target("dense.bias", Layer::Dense, &[4]),
        target("denes.bias", Layer::Dense, &[4]),
        target("step", Layer::Other, &[]),
        target("norm.weight", Layer::LayerNorm, &[5]),
    ];
    let Err(Error::Mismatch { report, .. }) = Plan::new(&checkpoint, &targets) else {
        panic!("it does not fit")
    };
    assert_eq!(report.loaded.len(), 1);
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.missing[0].names, ["denes/bias"]);
    let wrong: Vec<&str> = report.mismatched.iter().map(|wrong| wrong.path.as_str()).collect();
    assert_eq!(wrong, ["dense.weight", "step", "norm.weight"]);
    let text = report.to_string();
    assert!(
        text.contains(
            "`dense.weight` needs float32 [4, 3] (in the model [3, 4]), but `dense/kernel` is float32 [3, 4]"
        ),
        "{text}"
    );
    assert!(
        text.contains("`step` needs float32 [], but `step` is int32 []"),
        "{text}"
    );

    let partial = Plan::partial(&checkpoint, &targets);
    assert_eq!(partial.steps().len(), 1);
    assert!(!partial.report().is_complete());
}

#[test]
fn the_nearest_unused_name_is_suggested() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let plan = Plan::partial(&checkpoint, &[target("model.dense.weight", Layer::Dense, &[4, 3])]);
    assert_eq!(plan.report().missing[0].candidates[0], "dense/kernel");
}

#[test]
fn a_square_kernel_is_transposed_because_of_its_layer_and_an_embedding_is_not() {
    assert_eq!(
        target("fc.weight", Layer::Dense, &[4, 4]).layout,
        Layout::Permuted(&[1, 0])
    );
    assert_eq!(target("emb.weight", Layer::Embedding, &[4, 4]).layout, Layout::Same);
}

#[test]
fn a_wrong_buffer_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let plan = Plan::new(&checkpoint, &[target("dense.weight", Layer::Dense, &[4, 3])]).unwrap();
    let result = plan.carry_out(&checkpoint, |filling| filling.read_into(&mut [0; 7]));
    assert!(matches!(
        result,
        Err(Error::WrongLength {
            expected: 48,
            got: 7,
            ..
        })
    ));
}

/// A parameter that a recipe makes.
fn cooked(path: &str, shape: &[usize], recipes: impl IntoIterator<Item = Recipe>) -> Target {
    Target {
        path: path.to_owned(),
        dtypes: vec![DType::Float32],
        shape: shape.to_vec(),
        recipes: recipes.into_iter().collect(),
        ..Target::default()
    }
}

/// Carries out a plan: the values of each target.
fn filled(plan: &Plan, checkpoint: &Checkpoint, targets: &[Target]) -> Vec<Vec<f32>> {
    let read = |filling: &Filling<'_>| {
        let values: Vec<f32> = filling.read()?;
        let mut bytes = vec![0; filling.size()?];
        filling.read_into(&mut bytes)?;
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes), values);
        Ok::<_, Error>((filling.target(), values))
    };
    let mut all = vec![Vec::new(); targets.len()];
    let done = plan.carry_out(checkpoint, read).unwrap();
    assert!(
        done.iter()
            .map(|(target, _)| *target)
            .eq(plan.filled().map(|(target, _)| target))
    );
    for (target, values) in done {
        all[target] = values;
    }
    all
}

#[test]
fn parameters_are_made_of_parts_of_variables_and_of_several() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let kernel = || Recipe::source("dense/kernel").of_shape([3, 4]);
    let targets = [
        cooked("left", &[2, 3], [kernel().slice(1, 0..2).permute([1, 0])]),
        target("dense.bias", Layer::Dense, &[4]),
        cooked("right", &[3, 2], [kernel().slice(1, 2..4)]),
        // The first way lacks a source.
        cooked(
            "sum",
            &[4],
            [
                Recipe::source("nowhere"),
                Recipe::sum([Recipe::source("dense/bias"), Recipe::source("norm/gamma")]).plus(0.5),
            ],
        ),
        cooked("ones", &[2], [Recipe::constant([2], 1.0)]),
    ];
    for threads in [1, 3] {
        let limits = Limits::default().with_threads(threads);
        let checkpoint = Checkpoint::open_with(checkpoint.prefix(), &limits).unwrap();
        let plan = Plan::new(&checkpoint, &targets).unwrap();
        plan.verify(&checkpoint).unwrap();
        assert_eq!(plan.report().unused, ["global_step", "step"]);
        let names: Vec<(&str, &str, bool)> = plan
            .report()
            .loaded
            .iter()
            .map(|loaded| (loaded.path.as_str(), loaded.name.as_str(), loaded.transposed))
            .collect();
        assert_eq!(names[0], ("left", "dense/kernel", true));
        assert_eq!(names[3], ("sum", "dense/bias + norm/gamma", false));
        let values = filled(&plan, &checkpoint, &targets);
        assert_eq!(values[0], [0., 4., 8., 1., 5., 9.]);
        assert_eq!(values[1], [0., 1., 2., 3.]);
        assert_eq!(values[2], [2., 3., 6., 7., 10., 11.]);
        assert_eq!(values[3], [0.5, 2.5, 4.5, 6.5]);
        assert_eq!(values[4], [1., 1.]);
    }
}

/// Counts the bytes that are read.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Progress for Count {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_variable_of_which_several_parameters_are_made_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let values = vec![1f32; 1000 * 40];
    let variables = [
        Variable::new("kernel", [1000, 40], &values),
        Variable::new("other", [1000, 40], &values),
    ];
    Saver::new(dir.path()).save(variables, 1).unwrap();
    let count = Arc::new(Count::default());
    let limits = Limits::default().with_threads(2);
    let checkpoint = Checkpoint::open_watched(dir.path(), &limits, count.clone()).unwrap();
    let gates = (0..4).map(|gate| {
        let recipe = Recipe::source("kernel").slice(1, 10 * gate..10 * gate + 10);
        cooked(&format!("gate {gate}"), &[1000, 10], [recipe])
    });
    let targets: Vec<Target> = gates
        .chain([cooked("other", &[40, 1000], [Recipe::source("other").permute([1, 0])])])
        .collect();
    let plan = Plan::new(&checkpoint, &targets).unwrap();
    assert!(
        filled(&plan, &checkpoint, &targets)
            .iter()
            .flatten()
            .all(|value| *value == 1.0)
    );
    assert_eq!(count.0.load(Ordering::Relaxed), 2 * 1000 * 40 * 4);
}

#[test]
fn recipes_that_cannot_be_carried_out_are_told_with_all_other_problems() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    fs::remove_file(dir.path().join("model.ckpt-1.data-00000-of-00001")).unwrap();
    let kernel = || Recipe::source("dense/kernel");
    let targets = [
        cooked("missing", &[2], [Recipe::any_of(["dense/kernels", "no"])]),
        cooked("shape", &[2, 4], [kernel().of_shape([2, 4])]),
        cooked("dtype", &[], [Recipe::source("step")]),
        cooked(
            "mixed",
            &[],
            [Recipe::sum([Recipe::source("dense/bias"), Recipe::source("step")])],
        ),
        cooked("slice", &[4, 4], [kernel().slice(0, 0..4)]),
        cooked("result", &[4, 4], [kernel().slice(0, 0..2)]),
        cooked("fits", &[3, 4], [kernel()]),
    ];
    let Err(Error::Mismatch { report, .. }) = Plan::new(&checkpoint, &targets) else {
        panic!("it does not fit")
    };
    let text = report.to_string();
    for line in [
        "1 loaded, 1 missing, 5 mismatched",
        "missing: `missing`, looked for as `dense/kernels` or `no`; nearest: ",
        "`shape` needs float32 [2, 4], but `dense/kernel` is float32 [3, 4]",
        "`dtype` needs float32 [], but `step` is int32 []",
        "`mixed` needs float32 [], but `step` is int32 []",
        "`slice` needs float32 [4, 4], but `dense/kernel` is no such thing: no elements 0..4 along axis 0 of [3, 4]",
        "`result` needs float32 [4, 4], but `dense/kernel` is float32 [2, 4]",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_variable_is_made_of_parameters_while_it_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let part = |first: f32, len: usize| {
        let values: Vec<f32> = (0..len).map(|i| first + i as f32).collect();
        Ingredient::new(DType::Float32, [len / 2, 2], move |sink| {
            bytemuck::cast_slice::<f32, u8>(&values)
                .chunks(5)
                .try_for_each(&mut *sink)
        })
    };
    let recipe = Recipe::concat(
        1,
        [Recipe::source("a").permute([1, 0]), Recipe::source("b").permute([1, 0])],
    );
    let find = |name: &str| match name {
        "a" => Some(part(0.0, 4)),
        "b" => Some(part(10.0, 6)),
        _ => None,
    };
    let variable = recipe.variable("kernel", find).unwrap();
    assert_eq!(
        (variable.shape().dims(), variable.dtype()),
        (&[2, 5][..], DType::Float32)
    );
    Saver::new(dir.path()).save([variable], 1).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let kernel: Vec<f32> = checkpoint.read("kernel").unwrap();
    assert_eq!(kernel, [0., 2., 10., 12., 14., 1., 3., 11., 13., 15.]);

    let error = Recipe::source("c").variable("kernel", find).unwrap_err().to_string();
    assert_eq!(error, "variable `kernel` cannot be made: there is no `c`");
    // Bytes that do not come are an error, and no checkpoint.
    let short = Ingredient::new(DType::Float32, [2], |sink| sink(&[0; 4]));
    let variable = Recipe::source("a").variable("a", |_| Some(short.clone())).unwrap();
    let Err(Error::Source { source, .. }) = Saver::new(dir.path()).save([variable], 2) else {
        panic!("it has too few bytes")
    };
    assert!(source.to_string().contains("4 bytes were given, 8 needed"), "{source}");
}
