//! Dtypes that Candle lacks: held exactly, stored again as they were, refused where that cannot be.

use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, VarBuilder, VarMap};
use tfckpt::map::{Casts, NameMap};
use tfckpt::{Checkpoint, DType as Stored, Saver, Variable};
use tfckpt_candle::{Import, Variables};

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A variable of each dtype that TensorFlow has and a checkpoint can hold, with the values that are hard.
fn all_dtypes() -> Test<Checkpoint> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/all_dtypes/a");
    Ok(Checkpoint::open(fixture)?)
}

/// A map of zeros, which are to be filled.
fn varmap(vars: &[(&str, DType, &[usize])]) -> Test<VarMap> {
    let varmap = VarMap::new();
    for (name, dtype, dims) in vars {
        let var = Var::zeros(*dims, *dtype, &Device::Cpu)?;
        varmap.data().lock().unwrap().insert((*name).to_owned(), var);
    }
    Ok(varmap)
}

fn tensor(varmap: &VarMap, name: &str) -> Tensor {
    varmap.data().lock().unwrap()[name].as_tensor().clone()
}

const HELD: [(&str, DType, &[usize]); 14] = [
    ("bool", DType::U8, &[3]),
    ("i/int8", DType::I16, &[5]),
    ("i/uint16", DType::U32, &[5]),
    ("n/int4", DType::I32, &[4]),
    ("n/uint4", DType::U8, &[3]),
    ("n/int2", DType::I64, &[4]),
    ("n/uint2", DType::U8, &[4]),
    ("f8/float8_e5m2", DType::F16, &[5]),
    ("f8/float8_e4m3fn", DType::F32, &[5]),
    ("f8/float8_e4m3fnuz", DType::F16, &[5]),
    ("f8/float8_e4m3b11fnuz", DType::BF16, &[5]),
    ("f8/float8_e5m2fnuz", DType::F64, &[5]),
    ("f8/float4_e2m1fn", DType::F16, &[5]),
    ("f/bfloat16", DType::BF16, &[8]),
];

#[test]
fn what_candle_lacks_is_held_exactly_and_stored_again_as_it_was() -> Test {
    let checkpoint = all_dtypes()?;
    let varmap = varmap(&HELD)?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    let report = variables.restore(&checkpoint)?;
    assert_eq!(report.loaded.len(), HELD.len());
    assert_eq!(report.cast().count(), HELD.len() - 1, "{report}");
    assert_eq!(report.rounded().count(), 0);
    assert_eq!(tensor(&varmap, "i/int8").to_vec1::<i16>()?, [-128, 0, 1, 7, 127]);
    assert_eq!(tensor(&varmap, "i/uint16").to_vec1::<u32>()?, [0, 0, 1, 7, 65535]);
    assert_eq!(tensor(&varmap, "n/int4").to_vec1::<i32>()?, [-8, -1, 0, 7]);
    assert_eq!(
        tensor(&varmap, "f8/float8_e4m3fn").to_vec1::<f32>()?,
        [0., 1., -2., 0.5, 3.]
    );

    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    let again = Checkpoint::open(dir.path())?;
    for (name, ..) in HELD {
        assert_eq!(
            again.variable(name)?.dtype(),
            checkpoint.variable(name)?.dtype(),
            "{name}"
        );
        assert_eq!(again.read_bytes(name)?, checkpoint.read_bytes(name)?, "{name}");
    }
    Ok(())
}

#[test]
fn a_value_that_has_no_place_in_the_dtype_it_came_from_keeps_the_save_from_being_made() -> Test {
    let varmap = varmap(&HELD)?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    variables.restore(&all_dtypes()?)?;
    varmap.data().lock().unwrap()["i/int8"].set(&Tensor::new(&[0i16, 0, 300, 0, 0], &Device::Cpu)?)?;
    let dir = tempfile::tempdir()?;
    let error = Saver::new(dir.path()).save(variables.to_save()?, 1).unwrap_err();
    let cause = std::error::Error::source(&error).ok_or("a cause")?.to_string();
    assert!(error.to_string().contains("`i/int8`"), "{error}");
    assert!(cause.contains("element 2") && cause.contains("300"), "{cause}");
    assert!(Checkpoint::open(dir.path()).is_err(), "nothing was committed");
    // It can be said that it is stored otherwise from now on.
    let variables = variables.names(NameMap::identity().stored_as("i/int8", Stored::Int16));
    Saver::new(dir.path()).save(variables.to_save()?, 2)?;
    assert_eq!(Checkpoint::open(dir.path())?.read::<i16>("i/int8")?, [0, 0, 300, 0, 0]);
    Ok(())
}

#[test]
fn an_integer_that_is_too_large_leaves_the_model_as_it_is() -> Test {
    let checkpoint = all_dtypes()?;
    for verify_first in [true, false] {
        let varmap = varmap(&[("i/int8", DType::I16, &[5]), ("i/uint64", DType::I64, &[5])])?;
        let variables = Variables::new(&varmap).names(NameMap::identity());
        let error = variables.verify_first(verify_first).restore(&checkpoint).unwrap_err();
        assert!(error.to_string().contains("18446744073709551615"), "{error}");
        assert_eq!(tensor(&varmap, "i/int8").to_vec1::<i16>()?, [0; 5]);
    }
    Ok(())
}

#[test]
fn widths_are_cast_only_on_request() -> Test {
    let dir = tempfile::tempdir()?;
    let halves = [half::f16::from_f32(1.5), half::f16::from_f32(0.1)];
    Saver::new(dir.path()).save(
        [
            Variable::new("a", [2], &halves),
            Variable::new("b", [2], &[1.5f32, 0.1]),
        ],
        1,
    )?;
    let checkpoint = Checkpoint::open(dir.path())?;
    let varmap = varmap(&[("a", DType::F32, &[2]), ("b", DType::F16, &[2])])?;
    let variables = |casts| Variables::new(&varmap).names(NameMap::identity().cast(casts));
    for casts in [Casts::Never, Casts::Exact] {
        let error = variables(casts).restore(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains("`b` needs float16 [2], but `b` is float32 [2]"),
            "{error}"
        );
        assert_eq!(tensor(&varmap, "a").to_vec1::<f32>()?, [0., 0.]);
    }
    let report = variables(Casts::Lossy).restore(&checkpoint)?;
    let rounded: Vec<&str> = report.rounded().map(|loaded| loaded.path.as_str()).collect();
    assert_eq!(rounded, ["b"]);
    assert_eq!(tensor(&varmap, "a").to_vec1::<f32>()?, halves.map(half::f16::to_f32));
    assert_eq!(tensor(&varmap, "b").to_vec1::<half::f16>()?, halves);
    // What was cast on request is the model's own from now on.
    Saver::new(dir.path()).save(variables(Casts::Never).to_save()?, 2)?;
    let again = Checkpoint::open(dir.path())?;
    assert_eq!(again.variable("a")?.dtype(), Stored::Float32);
    assert_eq!(again.variable("b")?.dtype(), Stored::Float16);
    Ok(())
}

#[test]
fn models_are_built_from_what_candle_lacks() -> Test {
    let checkpoint = all_dtypes()?;
    let import = Import::new(checkpoint, NameMap::identity());
    let get = |vb: VarBuilder<'_>, dims: usize, name: &str| vb.get_with_hints(dims, name, Init::Const(0.0));
    let floats = import.var_builder(DType::F32, &Device::Cpu);
    assert_eq!(
        get(floats.clone(), 5, "i/int8")?.to_vec1::<f32>()?,
        [-128., 0., 1., 7., 127.]
    );
    assert_eq!(
        get(floats.clone(), 5, "f8/float8_e4m3fn")?.to_vec1::<f32>()?,
        [0., 1., -2., 0.5, 3.]
    );
    assert_eq!(
        get(floats.clone(), 5, "f8/float8_e5m2")?.to_vec1::<f32>()?,
        [0., 1., -2., 0.5, 3.]
    );
    assert_eq!(get(floats.clone(), 3, "bool")?.to_vec1::<f32>()?, [1., 0., 1.]);
    let error = get(floats.clone(), 5, "i/uint64").unwrap_err().to_string();
    assert!(error.contains("18446744073709551615"), "{error}");
    let error = get(floats, 2, "c64").unwrap_err().to_string();
    assert!(error.contains("complex64"), "{error}");
    let report = import.report();
    assert!(report.cast().count() >= 3, "{report}");
    Ok(())
}

/// Candle's 8-bit float is the one that TensorFlow calls `float8_e4m3fn`.
#[test]
fn each_eight_bit_float_is_candles_own() -> Test {
    let dir = tempfile::tempdir()?;
    let bytes: Vec<u8> = (0..=255).collect();
    let variable = Variable::from_bytes("v", Stored::Float8E4m3fn, [256], bytes.clone());
    Saver::new(dir.path()).save([variable], 1)?;
    let checkpoint = Checkpoint::open(dir.path())?;
    let varmap = varmap(&[("v", DType::F8E4M3, &[256])])?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    variables.restore(&checkpoint)?;
    let theirs = tensor(&varmap, "v").to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let ours = Import::new(Checkpoint::open(dir.path())?, NameMap::identity()).var_builder(DType::F32, &Device::Cpu);
    let ours = ours.get_with_hints(256, "v", Init::Const(0.0))?.to_vec1::<f32>()?;
    let map = self::varmap(&[("v", DType::F32, &[256])])?;
    Variables::new(&map).names(NameMap::identity()).restore(&checkpoint)?;
    let held = tensor(&map, "v").to_vec1::<f32>()?;
    for (bits, ((theirs, ours), held)) in theirs.iter().zip(ours).zip(held).enumerate() {
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(
            same(*theirs, held) && same(ours, held),
            "{bits:#x}: {theirs} {ours} {held}"
        );
    }
    Saver::new(dir.path()).save(variables.to_save()?, 2)?;
    let again = Checkpoint::open(dir.path())?;
    assert_eq!(again.variable("v")?.dtype(), Stored::Float8E4m3fn);
    assert_eq!(again.read_bytes("v")?, bytes);
    Ok(())
}
