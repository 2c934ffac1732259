//! Mappings in files: read, checked, carried out there and back, and drafted.

use std::collections::BTreeMap;

use tfckpt::map::{DenseOrder, Ingredient, Layer, Mapping, NameMap, Plan, Target};
use tfckpt::{Checkpoint, DType, Error, MappingFault, Saver, Variable};

type Floats = Vec<(&'static str, Vec<usize>, Vec<f32>)>;

fn counted(count: usize, first: f32) -> Vec<f32> {
    (0..count).map(|i| first + i as f32).collect()
}

fn checkpoint(dir: &std::path::Path, variables: &Floats) -> Checkpoint {
    let variables = variables
        .iter()
        .map(|(name, dims, values)| Variable::new(*name, dims.as_slice(), values));
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

fn targets(names: &NameMap, parameters: &[(&str, &[usize])]) -> Vec<Target> {
    let target = |(path, dims): &(&str, &[usize])| Target {
        path: (*path).to_owned(),
        names: names.names(path, Layer::Other),
        dtypes: vec![DType::Float32],
        shape: dims.to_vec(),
        layout: names.layout(path, Layer::Other, DenseOrder::OutIn),
        recipes: names
            .compound(path, dims, Layer::Other, DenseOrder::OutIn)
            .and_then(|compound| Some(compound.member(path)?.recipes.clone()))
            .unwrap_or_default(),
        ..Target::default()
    };
    parameters.iter().map(target).collect()
}

fn loaded(
    names: &NameMap,
    checkpoint: &Checkpoint,
    parameters: &[(&str, &[usize])],
) -> tfckpt::Result<BTreeMap<String, Vec<f32>>> {
    let targets = targets(names, parameters);
    let plan = Plan::new(checkpoint, &targets)?;
    let read = |filling: &tfckpt::map::Filling<'_>| {
        let values: Vec<f32> = filling.read()?;
        Ok::<_, Error>((targets[filling.target()].path.clone(), values))
    };
    Ok(plan.carry_out(checkpoint, read)?.into_iter().collect())
}

/// Saves parameters by what the mapping makes of them; those that are variables by themselves are not of interest here.
fn saved(
    names: &NameMap,
    dir: &std::path::Path,
    parameters: &[(&str, &[usize])],
    values: &BTreeMap<String, Vec<f32>>,
) -> tfckpt::Result<Checkpoint> {
    let find = |path: &str| {
        let (_, dims) = parameters.iter().find(|(own, _)| *own == path)?;
        let values = values.get(path)?;
        let fetch = move |sink: &mut tfckpt::Sink<'_>| values.iter().try_for_each(|value| sink(&value.to_le_bytes()));
        Some(Ingredient::new(DType::Float32, dims.to_vec(), fetch))
    };
    let mut variables: Vec<Variable<'_>> = Vec::new();
    for (path, dims) in parameters {
        let compound = names
            .compound(path, dims, Layer::Other, DenseOrder::OutIn)
            .expect("every parameter is made");
        for variable in compound.variables(&find)? {
            if variables.iter().all(|other| other.key() != variable.key()) {
                variables.push(variable);
            }
        }
    }
    Saver::new(dir).save(variables, 1)?;
    Checkpoint::open(dir)
}

const MADE: &str = r#"{
    "scope": "net",
    "rules": [
        { "path": "h.{i}.q", "variable": "h{i}/qkv", "axis": 1, "part": 0, "of": 3, "transpose": [1, 0] },
        { "path": "h.{i}.k", "variable": "h{i}/qkv", "axis": 1, "part": 1, "of": 3, "transpose": [1, 0] },
        { "path": "h.{i}.v", "variable": "h{i}/qkv", "axis": 1, "part": 2, "of": 3, "transpose": [1, 0] },
        { "path": "table", "variables": ["table/part_0", "table/part_1"], "axis": 0 },
        { "path": "stacked", "variables": ["a", "b", "c"], "axis": 1, "stack": true },
        { "path": "heads", "variable": "heads", "shape": [4, 3, 2], "transpose": [2, 0, 1] },
        { "path": "scale", "constant": 1 }
    ]
}"#;

const PARAMETERS: [(&str, &[usize]); 8] = [
    ("h.1.q", &[2, 5]),
    ("h.1.k", &[2, 5]),
    ("h.1.v", &[2, 5]),
    ("table", &[6, 2]),
    ("stacked", &[2, 3]),
    ("heads", &[8, 3]),
    ("scale", &[4]),
    ("h.0.q", &[2, 5]),
];

fn made_variables() -> Floats {
    vec![
        ("net/h1/qkv", vec![5, 6], counted(30, 100.0)),
        ("net/h0/qkv", vec![5, 6], counted(30, 500.0)),
        ("net/table/part_0", vec![3, 2], counted(6, 0.0)),
        ("net/table/part_1", vec![3, 2], counted(6, 6.0)),
        ("net/a", vec![2], vec![1., 2.]),
        ("net/b", vec![2], vec![3., 4.]),
        ("net/c", vec![2], vec![5., 6.]),
        ("net/heads", vec![4, 3, 2], counted(24, 0.0)),
    ]
}

#[test]
fn parameters_are_made_of_variables_and_variables_of_parameters() {
    let (there, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let original = checkpoint(there.path(), &made_variables());
    let names = NameMap::from(Mapping::from_json(MADE).unwrap());
    let mut parameters = PARAMETERS.to_vec();
    parameters.extend([("h.0.k", &[2usize, 5][..]), ("h.0.v", &[2, 5])]);
    let values = loaded(&names, &original, &parameters).unwrap();
    assert_eq!(
        values["h.1.k"],
        [102., 108., 114., 120., 126., 103., 109., 115., 121., 127.]
    );
    assert_eq!(values["h.0.q"][..2], [500., 506.]);
    assert_eq!(values["table"], counted(12, 0.0));
    assert_eq!(values["stacked"], [1., 3., 5., 2., 4., 6.]);
    assert_eq!(values["heads"][..3], [0., 2., 4.]);
    assert_eq!(values["scale"], [1.0; 4]);
    let again = saved(&names, back.path(), &parameters, &values).unwrap();
    for (name, ..) in made_variables() {
        assert_eq!(
            again.variable(name).unwrap().shape(),
            original.variable(name).unwrap().shape(),
            "{name}"
        );
        assert_eq!(
            again.read_bytes(name).unwrap(),
            original.read_bytes(name).unwrap(),
            "{name}"
        );
    }
    assert!(
        !again.contains("net/scale") && !again.contains("scale"),
        "a constant is no variable"
    );
}

#[test]
fn what_cannot_be_written_back_says_so() {
    let (there, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let original = checkpoint(there.path(), &made_variables());
    let text = r#"{ "rules": [
        { "path": "q", "variable": "net/h1/qkv", "axis": 1, "part": 0, "of": 3 },
        { "path": "v", "variable": "net/h1/qkv", "axis": 1, "part": 2, "of": 3 }
    ] }"#;
    let names = NameMap::from(Mapping::from_json(text).unwrap());
    let parameters: [(&str, &[usize]); 2] = [("q", &[5, 2]), ("v", &[5, 2])];
    let values = loaded(&names, &original, &parameters).unwrap();
    assert_eq!(values["v"][..2], [104., 105.]);
    let error = saved(&names, back.path(), &parameters, &values)
        .unwrap_err()
        .to_string();
    assert!(error.contains("net/h1/qkv") && error.contains("part 1 of 3"), "{error}");

    let names = NameMap::from(Mapping::from_json(r#"{ "rules": [{ "path": "scale", "constant": 1 }] }"#).unwrap());
    let changed = BTreeMap::from([("scale".to_owned(), vec![1., 1., 2., 1.])]);
    let error = saved(&names, back.path(), &[("scale", &[4])], &changed)
        .unwrap_err()
        .to_string();
    assert!(error.contains("scale"), "{error}");
}

#[test]
fn a_mapping_is_read_as_it_was_written() {
    let mapping = Mapping::from_json(MADE).unwrap();
    let text = mapping.to_json();
    assert!(text.lines().count() > 7, "{text}");
    assert_eq!(Mapping::from_json(&text).unwrap(), mapping);
    assert_eq!(NameMap::from(&mapping), NameMap::from(mapping));
    let all = r#"{ "names": "slim", "model_scope": "m", "within": "w", "indices": "suffixes", "averages": "where_there",
        "cast": "lossy", "rules": [{ "path": "w.a", "variable": "b", "dtype": "int8", "note": "n" }], "ignore": ["{x:**}/Adam"] }"#;
    let mapping = Mapping::from_json(all).unwrap();
    assert_eq!(Mapping::from_json(&mapping.to_json()).unwrap(), mapping);
    let names = NameMap::from(mapping);
    assert_eq!(names.stored_dtype("a"), Some(DType::Int8));
    assert!(names.ignores("w/fc/weights/Adam") && !names.ignores("w/fc/weights"));
}

#[test]
fn mistakes_in_the_file_are_told_with_their_rule() {
    for (rule, reason) in [
        (r#"{ "path": "a" }"#, "says nothing"),
        (r#"{ "path": "a", "skip": true, "constant": 1 }"#, "several things"),
        (r#"{ "variable": "a" }"#, "needs a `path`"),
        (r#"{ "path": "{i", "variable": "a" }"#, "without its `}`"),
        (r#"{ "path": "a.{i}", "variable": "b{j}" }"#, "`{j}` is not in"),
        (r#"{ "path": "a", "variable": "b", "transpose": [0, 0] }"#, "each once"),
        (
            r#"{ "path": "a", "variable": "b", "part": 3, "of": 3, "axis": 0 }"#,
            "below `of`",
        ),
        (r#"{ "path": "a", "variable": "b", "part": 1 }"#, "go together"),
        (r#"{ "path": "a", "layer": "linear" }"#, "no layer `linear`"),
        (r#"{ "path": "a", "layer": "depthwise_conv2d" }"#, "`multiplier`"),
        (
            r#"{ "path": "a", "scope": "b", "transpose": [1, 0] }"#,
            "go with a variable",
        ),
        (r#"{ "path": "a", "variable": "b", "dtype": "float" }"#, "no dtype"),
        (r#"{ "path": "a", "variabel": "b" }"#, "unknown field"),
    ] {
        let error = Mapping::from_json(&format!("{{ \"rules\": [{rule}] }}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{rule}: {error}");
    }
}

#[test]
fn a_mapping_has_to_be_one_for_its_model() {
    let faults = |rules: &str, paths: &[&str]| {
        let mapping = Mapping::from_json(&format!("{{ \"rules\": [{rules}] }}")).unwrap();
        let parameters: Vec<(&str, Layer)> = paths.iter().map(|path| (*path, Layer::Dense)).collect();
        match mapping.check(&parameters) {
            Ok(()) => Vec::new(),
            Err(Error::Mapping { faults }) => faults,
            Err(error) => panic!("{error}"),
        }
    };
    let two = r#"{ "path": "a.{i}.weight", "variable": "x{i}" }, { "path": "{m:**}.weight", "variable": "{m}/w" }"#;
    assert!(matches!(
        faults(two, &["a.1.weight"]).as_slice(),
        [MappingFault::Ambiguous { path, first, second }]
            if path == "a.1.weight" && first.contains("a.{i}.weight") && second.contains("{m:**}.weight")
    ));
    let exact = r#"{ "path": "a.1.weight", "variable": "x" }, { "path": "{m:**}.weight", "variable": "{m}/w" }"#;
    assert!(
        faults(exact, &["a.1.weight", "b.weight"]).is_empty(),
        "what has no captures counts first"
    );
    assert!(matches!(
        faults(r#"{ "path": "b.weight", "variable": "x" }"#, &["a.weight"]).as_slice(),
        [MappingFault::Unused { rule }] if rule.contains("b.weight")
    ));
    assert!(matches!(
        faults(r#"{ "path": "b.weight", "variable": "a/kernel" }"#, &["a.weight", "b.weight"]).as_slice(),
        [MappingFault::Collision { variable, first, second }]
            if variable == "a/kernel" && first == "a.weight" && second == "b.weight"
    ));
    let shared = r#"{ "path": "b.weight", "variable": "a/kernel", "shared": true }"#;
    assert!(faults(shared, &["a.weight", "b.weight"]).is_empty());
    let scopes = r#"{ "path": "a", "scope": "x" }, { "path": "a.b", "scope": "y" }"#;
    assert!(matches!(
        faults(scopes, &["a.b.weight"]).as_slice(),
        [MappingFault::Unused { rule }] if rule.contains("a.b")
    ));
}

#[test]
fn what_is_skipped_is_left_as_it_is_and_what_is_ignored_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(
        dir.path(),
        &vec![("a/bias", vec![2], vec![1., 2.]), ("junk", vec![1], vec![0.])],
    );
    let text = r#"{ "rules": [{ "path": "head.{x:**}", "skip": true }], "ignore": ["junk"] }"#;
    let names = NameMap::from(Mapping::from_json(text).unwrap());
    let values = loaded(&names, &checkpoint, &[("a.bias", &[2]), ("head.weight", &[9, 9])]).unwrap();
    assert_eq!(values.len(), 1);
    assert!(names.skips("head.weight") && !names.skips("a.bias"));
    assert!(names.ignores("junk"));
}

#[cfg(feature = "regex")]
#[test]
fn expressions_rename() {
    let text = r#"{ "rules": [{ "regex": "h\\.(\\d+)\\.attn\\.weight", "variable": "model/h${1}/w", "layer": "embedding" }] }"#;
    let names = NameMap::from(Mapping::from_json(text).unwrap());
    assert_eq!(names.names("h.7.attn.weight", Layer::Dense), ["model/h7/w"]);
    assert_eq!(
        names.layout("h.7.attn.weight", Layer::Dense, DenseOrder::OutIn),
        tfckpt::map::Layout::Same
    );
    let mapping = Mapping::from_json(r#"{ "rules": [{ "regex": "a(", "variable": "b" }] }"#);
    assert!(mapping.is_err());
}

#[test]
fn a_draft_finds_what_is_alike_and_says_what_it_does_not_know() {
    let parameters = [
        ("conv1.weight", vec![8, 1, 3, 3]),
        ("conv1.bias", vec![8]),
        ("fc.weight", vec![10, 72]),
        ("square.weight", vec![16, 16]),
        ("blocks.0.fc.weight", vec![4, 6]),
        ("blocks.1.fc.weight", vec![4, 6]),
        ("dw.weight", vec![6, 1, 3, 3]),
        ("strange", vec![77]),
    ];
    let variables = [
        ("net/conv1/kernel", vec![3, 3, 1, 8]),
        ("net/conv1/bias", vec![8]),
        ("net/conv1/bias/Adam", vec![8]),
        ("net/fc/kernel", vec![72, 10]),
        ("net/square/kernel", vec![16, 16]),
        ("net/blocks_0/fc/kernel", vec![6, 4]),
        ("net/blocks_1/fc/kernel", vec![6, 4]),
        ("net/dw/depthwise_kernel", vec![3, 3, 3, 2]),
        ("global_step", vec![]),
    ];
    let owned = |list: &[(&str, Vec<usize>)]| -> Vec<(String, Vec<usize>)> {
        list.iter()
            .map(|(name, dims)| ((*name).to_owned(), dims.clone()))
            .collect()
    };
    let draft = Mapping::draft(&owned(&parameters), &owned(&variables));
    let names = NameMap::from(&draft.mapping);
    let recipe = |path: &str, dims: &[usize]| {
        let compound = names.compound(path, dims, Layer::Other, DenseOrder::OutIn).expect(path);
        compound.made[0].name.clone()
    };
    for ((path, dims), expected) in parameters.iter().zip([
        "net/conv1/kernel",
        "net/conv1/bias",
        "net/fc/kernel",
        "net/square/kernel",
        "net/blocks_0/fc/kernel",
        "net/blocks_1/fc/kernel",
        "net/dw/depthwise_kernel",
    ]) {
        assert_eq!(recipe(path, dims), expected);
    }
    assert_eq!(draft.missing, ["strange"]);
    assert_eq!(draft.unused, ["net/conv1/bias/Adam", "global_step"]);
    let uncertain: Vec<&str> = draft.uncertain.iter().map(|guess| guess.path.as_str()).collect();
    assert!(
        uncertain.contains(&"square.weight"),
        "a square kernel is never certain: {uncertain:?}"
    );
    assert!(!uncertain.contains(&"fc.weight"), "{:?}", draft.uncertain);
    let text = draft.mapping.to_json();
    assert!(
        text.contains("uncertain: its shape is the same when it is transposed"),
        "{text}"
    );
    // And it is a mapping that works.
    assert_eq!(Mapping::from_json(&text).unwrap(), draft.mapping);
    let kinds: Vec<(&str, Layer)> = parameters.iter().map(|(path, _)| (*path, Layer::Other)).collect();
    draft.mapping.check(&kinds).unwrap();
}
