//! The names that each library gives: networks that TensorFlow made and computed, `tests/fixtures/names`.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use networks::{Depthwise, Net, PLAIN, fixture, known, names_of_objects, style};
use tfckpt::map::{Averages, LoadReport, Mapping, NameMap};
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Import, Layers, Variables};

#[path = "../../../tests/names/candle.rs"]
mod networks;

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How far two tensors are apart, in proportion to the largest number; NaN counts as far.
fn distance(ours: &Tensor, theirs: &Tensor) -> Test<f32> {
    let largest = theirs.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let difference = (ours - theirs)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    Ok(difference / largest)
}

fn assert_close(ours: &Tensor, theirs: &Tensor) -> Test {
    let distance = distance(ours, theirs)?;
    assert!(distance < 1e-5, "{distance}");
    Ok(())
}

fn names_of(checkpoint: &Checkpoint) -> Vec<String> {
    let names = checkpoint.variables().map(|info| info.name().into_owned());
    names.filter(|name| name != "global_step").collect()
}

/// Restores the network of a style, compares what it computes, and saves it again: all variables have their old names and
/// bytes.
fn there_and_back(name: &str) -> Test<LoadReport> {
    let style = style(name).ok_or("it is no style")?;
    with_names(name, style.names)
}

/// The same by other names.
fn with_names(name: &str, names: impl Fn(&Layers) -> NameMap) -> Test<LoadReport> {
    let style = style(name).ok_or("it is no style")?;
    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    let net = Net::new(&vb, &style.paths)?;
    let names = names(&layers);
    let variables = Variables::new(&varmap).layers(&layers).names(names.clone());
    let checkpoint = Checkpoint::open(fixture(style.checkpoint))?;
    let y = known(&format!("{}/y", style.checkpoint));
    let x = known("x");
    let before = distance(&net.forward(&x)?, &y)?;
    assert!(before.is_nan() || before >= 1e-2, "it is another network before");
    let report = variables.restore(&checkpoint)?;
    assert_close(&net.forward(&x)?, &y)?;

    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    let again = Checkpoint::open(dir.path())?;
    for name in names_of(&again) {
        assert_eq!(again.read_bytes(&name)?, checkpoint.read_bytes(&name)?, "{name}");
    }
    let mut stored: Vec<String> = report.loaded.iter().map(|loaded| loaded.name.clone()).collect();
    stored.sort();
    assert_eq!(names_of(&again), stored);

    let import = Import::new(checkpoint, names);
    let built = Net::new(&import.var_builder(DType::F32, &Device::Cpu), &style.paths)?;
    assert_close(&built.forward(&x)?, &y)?;
    Ok(report)
}

#[test]
fn layers_that_nobody_named_are_numbered() -> Test {
    let report = there_and_back("numbered")?;
    assert_eq!((report.loaded.len(), report.unused.len()), (10, 0));
    Ok(())
}

#[test]
fn the_second_scope_of_a_name_has_a_number() -> Test {
    let report = there_and_back("scopes")?;
    assert_eq!((report.loaded.len(), report.unused.len()), (10, 0));
    Ok(())
}

#[test]
fn slim_has_weights_and_biases_and_the_normalization_in_the_convolution() -> Test {
    let report = there_and_back("slim")?;
    assert_eq!((report.loaded.len(), report.unused.len()), (9, 0));
    // The normalization may as well be beside the convolution.
    there_and_back("slim beside")?;
    Ok(())
}

#[test]
fn averages_are_written_as_averages() -> Test {
    let report = there_and_back("averages")?;
    let averages = report.loaded.iter();
    let averages = averages.filter(|loaded| loaded.name.ends_with("/ExponentialMovingAverage"));
    assert_eq!((averages.count(), report.loaded.len()), (8, 10));
    Ok(())
}

#[test]
fn averages_are_taken_where_they_are_asked_for() -> Test {
    let numbered = |layers: &Layers| NameMap::tf_layers().scope("net").numbered(layers.in_order());

    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    let net = Net::new(&vb, &PLAIN)?;
    let restore = |path: &str, averages| {
        let names = numbered(&layers).averages(averages);
        let checkpoint = Checkpoint::open(fixture(path))?;
        Variables::new(&varmap)
            .layers(&layers)
            .names(names)
            .restore(&checkpoint)
    };
    let x = known("x");
    let report = restore("ema", Averages::WhereThere)?;
    assert_close(&net.forward(&x)?, &known("ema/y"))?;
    let without: Vec<&str> = report
        .loaded
        .iter()
        .filter(|loaded| loaded.instead_of.is_some())
        .map(|loaded| loaded.path.as_str())
        .collect();
    assert_eq!(without, ["bn.running_mean", "bn.running_var"]);
    restore("ema", Averages::Never)?;
    assert_close(&net.forward(&x)?, &known("ema/plain"))?;
    // Averages that are asked for and not there are an error that names them.
    let error = restore("numbered", Averages::Trained).unwrap_err().to_string();
    assert!(error.contains("net/conv2d/kernel/ExponentialMovingAverage"), "{error}");
    Ok(())
}

#[test]
fn keras_2_by_the_names_of_its_layers_and_by_its_objects() -> Test {
    for names in ["keras2", "keras3", "object_paths"] {
        let names = names_of_objects(names).ok_or("these are names")?;
        let import = Import::new(Checkpoint::open(fixture("keras2"))?, names);
        let net = Depthwise::new(&import.var_builder(DType::F32, &Device::Cpu))?;
        assert_close(&net.forward(&known("x"))?, &known("keras2/y"))?;
    }
    Ok(())
}

#[test]
fn a_mapping_from_a_file_does_what_a_preset_does() -> Test {
    let text = r#"{
        "names": "slim",
        "scope": "net",
        "rules": [
            { "path": "bn", "scope": "conv/BatchNorm" },
            { "path": "fc2.weight", "variable": "fc2/weights", "transpose": [1, 0] }
        ]
    }"#;
    let mapping = Mapping::from_json(text)?;
    with_names("slim beside", |_| NameMap::from(&mapping))?;
    // A rule that is of no use keeps everything from being loaded.
    let text = text.replace("fc2.weight", "fc3.weight");
    let mapping = Mapping::from_json(&text)?;
    let error = with_names("slim beside", |_| NameMap::from(&mapping))
        .unwrap_err()
        .to_string();
    assert!(error.contains("fc3.weight") && error.contains("no use"), "{error}");
    Ok(())
}
