//! Dtypes that Burn lacks, casts on request, and layers of the user's own.

use std::path::Path;

use burn::module::{Module, Param};
use burn::store::{ModuleSnapshot, ModuleStore};
use burn::tensor::{Device, FloatDType, Int, Tensor};
use tfckpt::map::{Casts, Layer, NameMap};
use tfckpt::{Checkpoint, DType, Saver, Variable};
use tfckpt_burn::TfCheckpointStore;

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/all_dtypes/a")
}

#[derive(Module, Debug)]
struct Held {
    e5m2: Param<Tensor<1>>,
    e4m3: Param<Tensor<1>>,
    four: Param<Tensor<1, Int>>,
}

impl Held {
    fn new() -> Self {
        let device = Device::flex();
        let int = || Tensor::<1, Int>::zeros([4], &device).cast(burn::tensor::IntDType::I32);
        Held {
            e5m2: Param::from_tensor(Tensor::<1>::zeros([5], &device).cast(FloatDType::F16)),
            e4m3: Param::from_tensor(Tensor::zeros([5], &device)),
            four: Param::initialized(burn::module::ParamId::new(), int()),
        }
    }

    fn names() -> NameMap {
        NameMap::keras()
            .rename("e5m2", "f8/float8_e5m2")
            .rename("e4m3", "f8/float8_e4m3fn")
            .rename("four", "n/int4")
    }
}

#[test]
fn what_burn_lacks_is_held_exactly_and_stored_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Held::new();
    let mut store = TfCheckpointStore::from_file(fixture()).names(Held::names());
    model.load_from(&mut store).unwrap();
    let report = store.report().unwrap();
    assert_eq!((report.cast().count(), report.rounded().count()), (3, 0), "{report}");
    let values = model.e4m3.val().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(values, [0., 1., -2., 0.5, 3.]);
    let values = model.four.val().into_data().try_to_vec::<i32>().unwrap();
    assert_eq!(values, [-8, -1, 0, 7]);

    // Another store is told, by what the report of the first says.
    let names = Held::names()
        .stored_as("e5m2", DType::Float8E5m2)
        .stored_as("e4m3", DType::Float8E4m3fn)
        .stored_as("four", DType::Int4);
    let mut copy = TfCheckpointStore::from_file(dir.path().join("copy")).names(names);
    model.save_into(&mut copy).unwrap();
    let (old, new) = (
        Checkpoint::open(fixture()).unwrap(),
        Checkpoint::open(dir.path().join("copy")).unwrap(),
    );
    for name in ["f8/float8_e5m2", "f8/float8_e4m3fn", "n/int4"] {
        assert_eq!(
            new.variable(name).unwrap().dtype(),
            old.variable(name).unwrap().dtype(),
            "{name}"
        );
        assert_eq!(new.read_bytes(name).unwrap(), old.read_bytes(name).unwrap(), "{name}");
    }
}

#[test]
fn a_value_without_a_place_in_its_dtype_is_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Held::new();
    model.e4m3 = Param::from_tensor(Tensor::from_floats([0.1, 0., 0., 0., 0.], &Device::flex()));
    let names = Held::names().stored_as("e4m3", DType::Float8E4m3fn);
    let mut store = TfCheckpointStore::from_file(dir.path().join("m")).names(names);
    let error = model.save_into(&mut store).unwrap_err();
    let text = format!(
        "{error} {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    assert!(text.contains("float8_e4m3fn") && text.contains("0.1"), "{text}");
    assert!(Checkpoint::open(dir.path().join("m")).is_err());
}

#[test]
fn tensors_of_a_store_are_there_whatever_their_dtype() {
    let mut store = TfCheckpointStore::from_file(fixture());
    let tensor = store.get_tensor("f8/float8_e5m2").unwrap().unwrap();
    assert_eq!(tensor.dtype, burn::tensor::DType::F16);
    assert_eq!(tensor.to_bytes().unwrap().len(), 10);
    assert!(
        store.get_tensor("c64").unwrap().is_none(),
        "Burn has no complex numbers"
    );
}

#[test]
fn widths_are_cast_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let (single, int) = ([1.5f32, 0.1, -3., 7., 9.], [1i32, -2, 3, 4]);
    let variables = [
        Variable::new("e5m2", [5], &single),
        Variable::new("e4m3", [5], &single),
        Variable::new("four", [4], &int),
    ];
    Saver::new(dir.path()).save(variables, 1).unwrap();
    let store = |casts| TfCheckpointStore::from_file(dir.path()).names(NameMap::keras().cast(casts));
    let mut model = Held::new();
    let error = model.load_from(&mut store(Casts::Never)).unwrap_err().to_string();
    assert!(
        error.contains("`e5m2` needs float16 [5]") && error.contains("Casts::Lossy"),
        "{error}"
    );
    let mut lossy = store(Casts::Lossy);
    model.load_from(&mut lossy).unwrap();
    assert_eq!(lossy.report().unwrap().rounded().count(), 1);
    let values = model
        .e5m2
        .val()
        .cast(FloatDType::F32)
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert!((values[1] - 0.1).abs() < 1e-4 && values[1] != 0.1, "{values:?}");
}

/// A dense layer of the user's own, with Burn's layout and a name of its own for the kernel.
#[derive(Module, Debug)]
struct MyLinear {
    w: Param<Tensor<2>>,
    b: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Net {
    first: MyLinear,
    last: MyLinear,
}

#[test]
fn one_line_declares_all_layers_of_a_type() {
    let device = Device::flex();
    let linear = |inputs, outputs| MyLinear {
        w: Param::from_tensor(Tensor::ones([inputs, outputs], &device)),
        b: Param::from_tensor(Tensor::ones([outputs], &device)),
    };
    let net = Net {
        first: linear(2, 3),
        last: linear(3, 1),
    };
    let dir = tempfile::tempdir().unwrap();
    let names = NameMap::keras().with_type("MyLinear", Layer::Dense);
    let mut store = TfCheckpointStore::from_file(dir.path().join("m")).names(names);
    net.save_into(&mut store).unwrap();
    let names: Vec<String> = store.keys().unwrap();
    assert_eq!(names, ["first/bias", "first/kernel", "last/bias", "last/kernel"]);
    // Without it they keep their names.
    let mut store = TfCheckpointStore::from_file(dir.path().join("n"));
    net.save_into(&mut store).unwrap();
    assert_eq!(store.keys().unwrap(), ["first/b", "first/w", "last/b", "last/w"]);
}
