//! A part of a model begins with values of another one's checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::{Conv2dConfig, VarBuilder, VarMap};
use tfckpt::map::{AssignmentMap, NameMap, WarmStart};
use tfckpt::{AssignmentFault, Checkpoint, Saver, Variable};
use tfckpt_candle::{Adam, Error, Layers, ParamsAdam, Run, Variables, recording};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// What TensorFlow saved: the networks of `data/make_tf_digits.py`.
fn trained(which: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../data/tf-digits")
        .join(which)
}

/// The network of function `saver` there, in scope `net`, with another head.
fn network(vb: &VarBuilder, classes: usize) -> candle_core::Result<()> {
    let same = Conv2dConfig {
        padding: 1,
        ..Default::default()
    };
    candle_nn::conv2d(1, 8, 3, same, vb.pp("net.conv1"))?;
    candle_nn::conv2d(8, 16, 3, same, vb.pp("net.conv2"))?;
    candle_nn::linear(64, classes, vb.pp("net.dense"))?;
    Ok(())
}

fn model(classes: usize) -> Result<(VarMap, Layers)> {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    network(&vb, classes)?;
    Ok((varmap, layers))
}

/// All values, in the layout of Candle.
fn values(varmap: &VarMap) -> Result<BTreeMap<String, Vec<f32>>> {
    let vars = varmap.data().lock().unwrap();
    let values = vars
        .iter()
        .map(|(path, var)| Ok((path.clone(), var.flatten_all()?.to_vec1()?)));
    values.collect()
}

/// `[h, w, in, out]` as Candle has it.
fn turned(kernel: &[f32], [h, w, inputs, outputs]: [usize; 4]) -> Vec<f32> {
    let mut turned = Vec::new();
    for output in 0..outputs {
        for input in 0..inputs {
            turned.extend((0..h * w).map(|at| kernel[(at * inputs + input) * outputs + output]));
        }
    }
    turned
}

fn faults(error: Error) -> Vec<AssignmentFault> {
    match error {
        Error::Checkpoint(tfckpt::Error::Assignment { faults, .. }) => faults,
        other => panic!("{other}"),
    }
}

#[test]
fn convolutions_of_tensorflow_go_under_another_head() -> Result {
    let checkpoint = Checkpoint::open(trained("saver"))?;
    let (varmap, layers) = model(2)?;
    let before = values(&varmap)?;
    let variables = Variables::new(&varmap).layers(&layers);
    let map = AssignmentMap::from([("conv1/", "net/conv1/"), ("conv2/kernel", "net.conv2.weight")]);
    let report = variables.init_from_checkpoint(&checkpoint, &map.assign("conv2/bias", "net/conv2/bias"))?;
    assert_eq!(report.loaded.len(), 4);
    assert_eq!(report.loaded.iter().filter(|loaded| loaded.transposed).count(), 2);
    assert!(report.unused.contains(&"dense/kernel".to_owned()));

    let after = values(&varmap)?;
    assert_eq!(after["net.dense.weight"], before["net.dense.weight"]);
    assert_eq!(after["net.dense.bias"], before["net.dense.bias"]);
    assert_eq!(after["net.conv1.bias"], checkpoint.read::<f32>("conv1/bias")?);
    assert_eq!(
        after["net.conv1.weight"],
        turned(&checkpoint.read("conv1/kernel")?, [3, 3, 1, 8])
    );
    assert_eq!(
        after["net.conv2.weight"],
        turned(&checkpoint.read("conv2/kernel")?, [3, 3, 8, 16])
    );
    Ok(())
}

#[test]
fn a_warm_start_takes_what_has_the_same_name_but_for_the_head() -> Result {
    let checkpoint = Checkpoint::open(trained("saver"))?;
    let (varmap, layers) = model(10)?;
    let variables = Variables::new(&varmap).layers(&layers);
    let warm_start = ["conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias"]
        .iter()
        .fold(WarmStart::trained(".*").except("net/dense"), |warm_start, tensor| {
            warm_start.prev_name(format!("net/{tensor}"), *tensor)
        });
    assert_eq!(
        variables.init_from_checkpoint(&checkpoint, &warm_start)?.loaded.len(),
        4
    );

    // The same, in a model whose names are those of the checkpoint.
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    candle_nn::conv2d(1, 8, 3, Default::default(), vb.pp("conv1"))?;
    candle_nn::linear(64, 5, vb.pp("head"))?;
    let variables = Variables::new(&varmap).layers(&layers);
    let report = variables.init_from_checkpoint(&checkpoint, &WarmStart::all(["conv"]))?;
    assert_eq!(report.loaded.len(), 2);
    assert_eq!(values(&varmap)?["conv1.bias"], checkpoint.read::<f32>("conv1/bias")?);
    Ok(())
}

#[test]
fn objects_of_keras_are_called_by_their_full_names() -> Result {
    let checkpoint = Checkpoint::open(trained("keras"))?;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    candle_nn::conv2d_no_bias(1, 8, 3, Default::default(), vb.pp("body.conv1"))?;
    candle_nn::batch_norm(8, 1e-3, vb.pp("body.bn1"))?;
    candle_nn::linear(64, 2, vb.pp("head"))?;
    let variables = Variables::new(&varmap).layers(&layers);
    let report = variables.init_from_checkpoint(&checkpoint, &AssignmentMap::from([("digits/", "body/")]))?;
    assert_eq!(report.loaded.len(), 5, "moving averages are variables, too: {report}");
    let mean = checkpoint.read::<f32>("digits/bn1/moving_mean")?;
    assert_eq!(values(&varmap)?["body.bn1.running_mean"], mean);

    // The end of a name finds a variable elsewhere, but is no tensor of the root.
    let found = faults(
        variables
            .init_from_checkpoint(
                &checkpoint,
                &AssignmentMap::from([("conv1/kernel", "body/conv1/kernel")]),
            )
            .unwrap_err(),
    );
    assert!(
        matches!(&found[..], [AssignmentFault::TensorNotFound { candidates, .. }] if candidates[0] == "digits/conv1/kernel"),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn after_an_error_nothing_is_changed() -> Result {
    let checkpoint = Checkpoint::open(trained("saver"))?;
    let (varmap, layers) = model(2)?;
    let before = values(&varmap)?;
    let variables = Variables::new(&varmap).layers(&layers);
    // The head has another size.
    let found = faults(
        variables
            .init_from_checkpoint(&checkpoint, &AssignmentMap::from([("/", "net/")]))
            .unwrap_err(),
    );
    assert!(
        matches!(
            &found[..],
            [AssignmentFault::Mismatched(_), AssignmentFault::Mismatched(_)]
        ),
        "{found:?}"
    );
    let error = variables
        .init_from_checkpoint(&checkpoint, &WarmStart::trained(".*"))
        .unwrap_err();
    assert!(error.to_string().contains("did you mean `conv1/bias`"), "{error}");
    assert_eq!(values(&varmap)?, before);

    // A damaged byte in the last tensor.
    let dir = tempfile::tempdir()?;
    for suffix in ["index", "data-00000-of-00001"] {
        let name = format!("model.ckpt-360.{suffix}");
        std::fs::copy(trained("saver").join(&name), dir.path().join(&name))?;
    }
    let data = dir.path().join("model.ckpt-360.data-00000-of-00001");
    let damaged = Checkpoint::open(dir.path().join("model.ckpt-360"))?;
    let at = damaged.variable("conv2/kernel")?.offset() as usize;
    let mut bytes = std::fs::read(&data)?;
    bytes[at] ^= 1;
    std::fs::write(&data, bytes)?;
    let map = AssignmentMap::from([("conv1/", "net/conv1/"), ("conv2/", "net/conv2/")]);
    let error = variables.init_from_checkpoint(&damaged, &map).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::Checksum { name, .. }) if name == "conv2/kernel"),
        "{error}"
    );
    assert_eq!(values(&varmap)?, before);
    Ok(())
}

#[test]
fn a_partitioned_tensor_fills_a_whole_variable() -> Result {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tf1_partitioned_adam/m");
    let checkpoint = Checkpoint::open(fixture)?;
    let shape = checkpoint.variable("emb")?.shape().dims().to_vec();
    let varmap = VarMap::new();
    varmap.get(shape, "table", candle_nn::Init::Const(0.0), DType::F32, &Device::Cpu)?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    variables.init_from_checkpoint(&checkpoint, &AssignmentMap::from([("emb", "table")]))?;
    assert_eq!(values(&varmap)?["table"], checkpoint.read::<f32>("emb")?);
    Ok(())
}

#[test]
fn a_run_begins_so_only_if_it_has_no_checkpoint_of_its_own() -> Result {
    let dir = tempfile::tempdir()?;
    let map = AssignmentMap::from([("conv1/", "net/conv1/")]);
    let bias = Checkpoint::open(trained("saver"))?.read::<f32>("conv1/bias")?;
    let begin = |path: &Path| -> Result<_> {
        let (varmap, layers) = model(2)?;
        let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
        let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers);
        let report = run.init_from(path, &map)?;
        let step = run.restore_or_initialize()?;
        Ok((varmap, run, report, step))
    };
    let (varmap, mut run, report, step) = begin(&trained("saver"))?;
    assert_eq!((report.unwrap().loaded.len(), step, run.global_step()), (2, 0, 0));
    assert_eq!(values(&varmap)?["net.conv1.bias"], bias);
    run.after_step()?;
    let late = run.init_from(trained("saver"), &map)?;
    assert!(late.is_none(), "it has made a step");
    run.save()?;
    drop(run);

    let (varmap, _, report, step) = begin(Path::new("gone"))?;
    assert!(
        report.is_none(),
        "the run's own checkpoint wins, and the other one is not needed any more"
    );
    assert_eq!((step, &values(&varmap)?["net.conv1.bias"]), (1, &bias));
    Ok(())
}

#[test]
fn state_of_the_optimizer_comes_along_on_request() -> Result {
    let (varmap, layers) = model(10)?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let map = AssignmentMap::from([("/", "net/")]).assign("beta1_power", "beta1_power");
    let new_run = |name: &str| Run::new(Path::new("unused").join(name), &varmap, &optimizer).layers(&layers);
    let error = new_run("a").init_from(trained("saver"), &map).unwrap_err();
    assert!(
        matches!(&faults(error)[..], [AssignmentFault::UnknownVariable { .. }]),
        "a counter is no variable of the model"
    );
    let report = new_run("b").init_from(trained("saver"), &map.optimizer_state(true))?;
    let loaded = report.unwrap().loaded;
    assert_eq!(loaded.len(), 3 * 6 + 1, "variables, two slots each, and a counter");
    assert!(
        loaded
            .iter()
            .any(|loaded| loaded.name == "conv1/kernel/Adam_1" && loaded.transposed)
    );
    Ok(())
}

#[test]
fn a_scalar_is_no_vector_of_one_and_nothing_is_cast() -> Result {
    let dir = tempfile::tempdir()?;
    let saved = [Variable::scalar("a", 1f32), Variable::scalar("b", 1f64)];
    Saver::new(dir.path()).save(saved, 1)?;
    let varmap = VarMap::new();
    varmap.get(1, "a", candle_nn::Init::Const(0.0), DType::F32, &Device::Cpu)?;
    varmap.get((), "b", candle_nn::Init::Const(0.0), DType::F32, &Device::Cpu)?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    let error = variables.init_from_checkpoint(&Checkpoint::open(dir.path())?, &AssignmentMap::from([("/", "/")]));
    assert_eq!(faults(error.unwrap_err()).len(), 2);
    Ok(())
}
