//! Filling a part of a model from the checkpoint of another one: the rules of TensorFlow's `init_from_checkpoint` and
//! `warm_start`, and errors where those are silent.

use tfckpt::map::{Assign, AssignmentMap, DenseOrder, Layer, ModelVariable, NameMap, Plan, Purpose, Recipe, Target};
use tfckpt::{AssignmentFault, Checkpoint, DType, Error, ErrorKind, Saver, Variable};

/// Tensors of two elements each, whose first says which one it is.
fn checkpoint(dir: &std::path::Path, names: &[&str]) -> Checkpoint {
    let values: Vec<[f32; 2]> = (0u8..).take(names.len()).map(|n| [f32::from(n), 0.5]).collect();
    let variables = names.iter().zip(&values);
    let variables = variables.map(|(&name, values)| Variable::new(name, [2], values));
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

fn variable(path: &str, purpose: Purpose, shape: &[usize]) -> ModelVariable {
    let (names, layer) = (NameMap::keras(), Layer::Dense);
    let target = Target {
        path: path.to_owned(),
        names: names.names(path, layer),
        dtypes: vec![DType::Float32],
        shape: shape.to_vec(),
        layout: names.layout(path, layer, DenseOrder::OutIn),
        ..Target::default()
    };
    ModelVariable { target, purpose }
}

/// Biases and other vectors of a model, trained but for those called `mean` or `slot`.
fn model(paths: &[&str]) -> Vec<ModelVariable> {
    let purpose = |path: &str| match path {
        path if path.ends_with("mean") => Purpose::Untrained,
        path if path.ends_with("slot") => Purpose::Optimizer,
        _ => Purpose::Trained,
    };
    let paths = paths.iter();
    paths.map(|path| variable(path, purpose(path), &[2])).collect()
}

/// Which variable gets which tensor, in the order of the model.
fn filled(plan: &Plan) -> Vec<(usize, String)> {
    let mut filled: Vec<(usize, String)> = plan
        .steps()
        .iter()
        .map(|step| (step.target(), step.variable().name().into_owned()))
        .collect();
    filled.sort();
    filled
}

fn pairs(pairs: &[(usize, &str)]) -> Vec<(usize, String)> {
    pairs.iter().map(|&(number, name)| (number, name.to_owned())).collect()
}

/// All that is wrong, a line each.
fn faults(result: tfckpt::Result<Plan>) -> Vec<AssignmentFault> {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    match error {
        Error::Assignment { faults, .. } => faults,
        other => panic!("{other}"),
    }
}

const OLD: [&str; 6] = ["old/a/bias", "old/b/bias", "root/bias", "w/bias", "x", "new/bias"];

#[test]
fn tensors_fill_variables_by_name_or_path() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let model = model(&["new.bias", "head.bias", "other.bias"]);
    let map = AssignmentMap::from([("old/a/bias", "new/bias"), ("x", "head.bias")]);
    let plan = map.plan(&checkpoint, &model).unwrap();
    assert_eq!(filled(&plan), pairs(&[(0, "old/a/bias"), (1, "x")]));
    assert!(
        plan.report().missing.is_empty(),
        "what no entry mentions is not missing"
    );
    assert_eq!(plan.report().loaded.len(), 2);
    assert!(plan.report().unused.contains(&"old/b/bias".to_owned()));
}

#[test]
fn one_tensor_fills_many_variables() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let map = AssignmentMap::new().assign("x", "a/bias").assign("x", "b/bias");
    let plan = map.plan(&checkpoint, &model(&["a.bias", "b.bias"])).unwrap();
    assert_eq!(filled(&plan), pairs(&[(0, "x"), (1, "x")]));
    let read = |filling: &tfckpt::map::Filling<'_>| Ok::<_, Error>((filling.target(), filling.read::<f32>()?));
    let mut values = plan.carry_out(&checkpoint, read).unwrap();
    values.sort_by_key(|(target, _)| *target);
    assert_eq!(values, [(0, vec![4.0, 0.5]), (1, vec![4.0, 0.5])]);
}

#[test]
fn scopes_map_to_scopes_and_a_slash_is_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let fill = |map: [(&str, &str); 1], paths: &[&str]| {
        filled(&AssignmentMap::from(map).plan(&checkpoint, &model(paths)).unwrap())
    };
    let two = pairs(&[(0, "old/a/bias"), (1, "old/b/bias")]);
    assert_eq!(
        fill([("old/", "new/")], &["new.a.bias", "new.b.bias", "head.bias"]),
        two
    );
    assert_eq!(fill([("old/", "/")], &["a.bias", "b.bias"]), two);
    assert_eq!(fill([("/", "new/")], &["new.old.a.bias", "new.old.b.bias"]), two);
    assert_eq!(fill([("/", "/")], &["old.a.bias", "old.b.bias"]), two);
    // The scope is `new/`, and `newer` is not in it.
    assert_eq!(
        fill([("old/a/", "new/")], &["new.bias", "newer.bias"]),
        pairs(&[(0, "old/a/bias")])
    );
}

#[test]
fn a_variable_of_the_name_goes_before_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let mut model = model(&["a.bias", "b.bias"]);
    model[1].target.names = vec!["a.bias".to_owned()];
    let plan = AssignmentMap::from([("x", "a.bias")])
        .plan(&checkpoint, &model)
        .unwrap();
    assert_eq!(filled(&plan), pairs(&[(1, "x")]));
}

#[test]
fn other_names_of_a_variable_are_looked_for_in_the_scope_too() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = [0f32; 36];
    let variables = [Variable::new("old/dw/depthwise_kernel", [3, 3, 4, 1], &kernel)];
    Saver::new(dir.path()).save(variables, 1).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let (names, layer) = (NameMap::keras(), Layer::DepthwiseConv2d { multiplier: 1 });
    let target = Target {
        path: "dw.weight".to_owned(),
        names: names.names("dw.weight", layer),
        dtypes: vec![DType::Float32],
        shape: vec![4, 1, 3, 3],
        layout: names.layout("dw.weight", layer, DenseOrder::OutIn),
        ..Target::default()
    };
    let model = [ModelVariable {
        target,
        purpose: Purpose::Trained,
    }];
    let plan = AssignmentMap::from([("old/", "/")]).plan(&checkpoint, &model).unwrap();
    assert_eq!(filled(&plan), pairs(&[(0, "old/dw/depthwise_kernel")]));
    assert!(plan.report().loaded[0].transposed);
}

#[test]
fn state_of_optimizers_is_left_alone_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &["old/bias", "old/bias/slot", "old/mean"]);
    let model = model(&["new.bias", "new.bias.slot", "new.mean"]);
    let map = AssignmentMap::from([("old/", "new/")]);
    let plan = map.plan(&checkpoint, &model).unwrap();
    assert_eq!(filled(&plan), pairs(&[(0, "old/bias"), (2, "old/mean")]));
    let plan = map.optimizer_state(true).plan(&checkpoint, &model).unwrap();
    assert_eq!(filled(&plan).len(), 3);
    let map = AssignmentMap::from([("old/bias/slot", "new/bias/slot")]);
    let found = faults(map.plan(&checkpoint, &model));
    assert!(
        matches!(&found[..], [AssignmentFault::UnknownVariable { .. }]),
        "{found:?}"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_in_the_order_of_tensorflow() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let mut model = model(&["new.bias", "new.b.bias", "head.bias", "wide.bias", "wide.weight"]);
    model[3].target.shape = vec![3];
    model[4].target.shape = vec![2, 2];
    let map = AssignmentMap::from([
        ("xx", "new/b/bias"),        // no such tensor
        ("x", "heat/bias"),          // no such variable
        ("w/", "new/bia"),           // a scope to no scope
        ("root/bias", "new/"),       // a tensor to a scope
        ("root/", "nothing/"),       // an empty scope
        ("old/a/bias", "head/bias"), // twice
        ("old/b/bias", "head/bias"),
        ("x", "wide/bias"), // another shape
        ("x", "wide/kernel"),
    ]);
    let error = map.plan(&checkpoint, &model).unwrap_err();
    let text = error.to_string();
    for line in [
        "`root/ -> nothing/` fills nothing: no variable of the model is in that scope",
        "`root/bias -> new/`: the model has no variable `new/`, and a tensor cannot fill a scope: only `scope/` maps to \
         `other_scope/`; did you mean `new/bias` or `new/b/bias`?",
        "`w/ -> new/bia`: a scope maps to a scope, which `new/bia` is not: end it in `/`, and write `/` for all \
         variables; did you mean `new/bias`",
        "`x -> heat/bias`: the model has no variable `heat/bias`",
        "did you mean `head/bias`",
        "variable `head.bias` is filled twice, by `old/a/bias -> head/bias` and by `old/b/bias -> head/bias`: leave one out",
        "`xx -> new/b/bias`: the checkpoint has no tensor `xx` for variable `new.b.bias`; did you mean `x`?",
        "variable `wide.bias` needs float32 [3], but tensor `x` is float32 [2]",
        "variable `wide.weight` needs float32 [2, 2], but tensor `x` is float32 [2]",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert_eq!(faults(map.plan(&checkpoint, &model)).len(), 8);
}

#[test]
fn all_variables_of_a_scope_must_be_in_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let map = AssignmentMap::from([("old/", "new/")]);
    let found = faults(map.plan(&checkpoint, &model(&["new.a.bias", "new.c.bias"])));
    let [
        AssignmentFault::TensorNotFound {
            variable,
            tensors,
            candidates,
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(
        (variable.as_str(), &tensors[..]),
        ("new.c.bias", &["old/c/bias".to_owned()][..])
    );
    assert!(candidates.contains(&"old/a/bias".to_owned()), "{candidates:?}");
}

#[test]
fn a_scope_without_its_slash_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    // TensorFlow looks for `old/ew/a/bias`, for `old/a/bias` in the second case and for `` in the last.
    for (tensor, target) in [("old/", "new"), ("old/", "new/a"), ("old/", "")] {
        let found = faults(AssignmentMap::from([(tensor, target)]).plan(&checkpoint, &model(&["new.a.bias"])));
        assert!(matches!(&found[..], [AssignmentFault::NotAScope { .. }]), "{found:?}");
    }
    for (tensor, target) in [("old", "new/"), ("", "new/"), ("old", "new")] {
        let found = faults(AssignmentMap::from([(tensor, target)]).plan(&checkpoint, &model(&["new.a.bias"])));
        assert!(
            matches!(&found[..], [AssignmentFault::UnknownVariable { .. }]),
            "{found:?}"
        );
    }
}

#[test]
fn an_empty_map_fills_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let plan = AssignmentMap::new().plan(&checkpoint, &model(&["new.bias"])).unwrap();
    assert!(plan.steps().is_empty());
}

#[test]
fn hundreds_of_faults_are_counted_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), &OLD);
    let paths: Vec<String> = (0..300).map(|n| format!("layer{n}.bias")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let error = AssignmentMap::from([("/", "/")])
        .plan(&checkpoint, &model(&paths))
        .unwrap_err();
    assert!(error.to_string().ends_with("… and 280 more"), "{error}");
}

/// What names variables by regular expressions.
#[cfg(feature = "regex")]
mod patterns {
    use super::*;
    use tfckpt::map::WarmStart;

    const MODEL: [&str; 4] = ["enc.a.bias", "enc.b.bias", "enc.mean", "head.bias"];
    const TENSORS: [&str; 6] = [
        "enc/a/bias",
        "enc/b/bias",
        "enc/mean",
        "head/bias",
        "enc/a/bias/slot",
        "other",
    ];

    fn warm(warm_start: &WarmStart) -> tfckpt::Result<Vec<usize>> {
        let dir = tempfile::tempdir().unwrap();
        let plan = warm_start.plan(&checkpoint(dir.path(), &TENSORS), &model(&MODEL))?;
        Ok(filled(&plan).into_iter().map(|(number, _)| number).collect())
    }

    #[test]
    fn warm_start_selects_trained_variables_by_one_pattern_and_all_by_a_list() {
        assert_eq!(warm(&WarmStart::trained(".*")).unwrap(), [0, 1, 3]);
        assert_eq!(warm(&WarmStart::trained("enc")).unwrap(), [0, 1]);
        assert_eq!(warm(&WarmStart::trained(".*b/bias$")).unwrap(), [1]);
        assert_eq!(warm(&WarmStart::trained(".*b/bias:0")).unwrap(), [1]);
        assert_eq!(warm(&WarmStart::all([".*"])).unwrap(), [0, 1, 2, 3]);
        assert_eq!(warm(&WarmStart::all(["enc/[am]", "enc/a"])).unwrap(), [0, 2]);
        assert_eq!(
            warm(&WarmStart::all([".*"]).except("head/").except(".*mean")).unwrap(),
            [0, 1]
        );
    }

    #[test]
    fn a_pattern_that_is_of_no_use_is_an_error() {
        for warm_start in [
            WarmStart::trained("bias"),
            WarmStart::trained("enc/mean"),
            WarmStart::all([".*", "nothing"]),
            WarmStart::trained(".*").except("nothing"),
            WarmStart::trained("head").prev_name("enc/a/bias", "other"),
            WarmStart::trained("head").prev_name("heat/bias", "other"),
        ] {
            let found = faults(warm(&warm_start).map(|_| unreachable!()));
            assert!(matches!(&found[..], [AssignmentFault::Unused { .. }]), "{found:?}");
        }
        let found = faults(warm(&WarmStart::trained("(")).map(|_| unreachable!()));
        assert!(matches!(&found[..], [AssignmentFault::Pattern { .. }]), "{found:?}");
    }

    #[test]
    fn earlier_names_lead_to_tensors_and_several_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let warm_start = WarmStart::trained("enc/")
            .prev_name("enc/a/bias", "other")
            .prev_name("enc.b.bias", "other");
        let plan = warm_start
            .plan(&checkpoint(dir.path(), &TENSORS), &model(&MODEL))
            .unwrap();
        assert_eq!(filled(&plan), pairs(&[(0, "other"), (1, "other")]));
        let found = faults(warm(&WarmStart::trained("enc/").prev_name("enc/a/bias", "othr")).map(|_| unreachable!()));
        let AssignmentFault::TensorNotFound { candidates, .. } = &found[0] else {
            panic!("{found:?}");
        };
        assert_eq!(candidates[..], ["other"]);
    }

    #[test]
    fn what_is_selected_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), &["enc/a/bias"]);
        let found = faults(WarmStart::all([".*"]).plan(&checkpoint, &model(&MODEL)));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn beginnings_of_names_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), &["teacher/block_1/bias", "teacher/block_2/bias", "x"]);
        let model = model(&["student.layer_1.bias", "student.layer_2.bias", "head.bias"]);
        let map = AssignmentMap::from([("x", "head/bias")]).replace(r"student/layer_(\d+)/", "teacher/block_${1}/");
        let plan = map.plan(&checkpoint, &model).unwrap();
        let all = pairs(&[(0, "teacher/block_1/bias"), (1, "teacher/block_2/bias"), (2, "x")]);
        assert_eq!(filled(&plan), all);

        let map = AssignmentMap::new()
            .replace("layer", "block")
            .replace("student/(a)?", "$2")
            .replace("(?=x)", "");
        let found = faults(map.plan(&checkpoint, &model));
        assert!(
            matches!(
                &found[..],
                [
                    AssignmentFault::Unused { .. },
                    AssignmentFault::UnknownGroup { .. },
                    AssignmentFault::Pattern { .. }
                ]
            ),
            "{found:?}"
        );
        let twice = AssignmentMap::from([("x", "head/bias")]).replace(".*bias$", "x");
        let found = faults(twice.plan(&checkpoint, &model));
        assert!(matches!(&found[..], [AssignmentFault::FilledTwice { .. }]), "{found:?}");
    }

    #[test]
    fn expressions_take_bounded_memory_and_linear_time() {
        let found = faults(warm(&WarmStart::trained(r"(\w{1000}){1000}")).map(|_| unreachable!()));
        assert!(matches!(&found[..], [AssignmentFault::Pattern { .. }]), "{found:?}");
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), &TENSORS);
        let long = "a".repeat(20_000);
        let begun = std::time::Instant::now();
        let found = faults(WarmStart::trained("(a*)*b").plan(&checkpoint, &model(&[&long])));
        assert!(matches!(&found[..], [AssignmentFault::Unused { .. }]));
        assert!(begun.elapsed().as_secs() < 20, "exponential");
    }
}

#[test]
fn parameters_that_are_made_of_parts_of_one_tensor_are_initialised_together() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let saved = [
        Variable::new("old/lstm/kernel", [3, 4], &values),
        Variable::new("old/lstm/bias", [4], &values[..4]),
    ];
    Saver::new(dir.path()).save(saved, 1).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let made = |path: &str, shape: &[usize], name: &str, recipe: Recipe| ModelVariable {
        target: Target {
            path: path.to_owned(),
            names: vec![name.to_owned()],
            dtypes: vec![DType::Float32],
            shape: shape.to_vec(),
            recipes: vec![recipe],
            ..Target::default()
        },
        purpose: Purpose::Trained,
    };
    let kernel = || Recipe::source("lstm/kernel").of_shape([3, 4]);
    let variables = [
        made("a", &[3, 2], "lstm/kernel", kernel().slice(1, 0..2)),
        made("b", &[3, 2], "lstm/kernel", kernel().slice(1, 2..4)),
        made("c", &[4], "lstm/bias", Recipe::source("lstm/bias")),
    ];
    let maps = [
        AssignmentMap::from([("old/", "/")]),
        AssignmentMap::from([("old/lstm/kernel", "lstm/kernel"), ("old/lstm/bias", "lstm/bias")]),
    ];
    for map in maps {
        let plan = map.plan(&checkpoint, &variables).unwrap();
        let mut read = plan
            .carry_out(&checkpoint, |filling| {
                Ok::<_, Error>((filling.target(), filling.read::<f32>()?))
            })
            .unwrap();
        read.sort_by_key(|(target, _)| *target);
        assert_eq!(read[0].1, [0., 1., 4., 5., 8., 9.]);
        assert_eq!(read[1].1, [2., 3., 6., 7., 10., 11.]);
        assert_eq!(read[2].1, [0., 1., 2., 3.]);
    }
    let map = AssignmentMap::from([("old/lstm/kernels", "lstm/kernel")]);
    let error = map.plan(&checkpoint, &variables).unwrap_err().to_string();
    assert!(
        error.contains("`old/lstm/kernels`") && error.contains("old/lstm/kernel`"),
        "{error}"
    );
}
