//! A restore that fails changes nothing, and says all that is wrong.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::{Init, VarMap};
use tfckpt::map::{LoadReport, NameMap};
use tfckpt::{Checkpoint, Saver, Variable};
use tfckpt_candle::{Error, Variables, recording};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// `a` to `d`, each of four elements, all of this value.
fn model(value: f64) -> Result<(VarMap, Variables)> {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    for name in ["a", "b", "c", "d"] {
        vb.get_with_hints(4, name, Init::Const(value))?;
    }
    let variables = Variables::new(&varmap).layers(&layers);
    Ok((varmap, variables))
}

fn bits(varmap: &VarMap) -> Result<Vec<(String, Vec<u32>)>> {
    let vars = varmap.data().lock().unwrap();
    let bits = vars.iter().map(|(name, var)| {
        let values = var.to_vec1::<f32>()?;
        Ok((name.clone(), values.into_iter().map(f32::to_bits).collect()))
    });
    let mut bits: Vec<_> = bits.collect::<Result<_>>()?;
    bits.sort();
    Ok(bits)
}

/// Restores into a model of ones, which must stay one.
fn refused(directory: &Path) -> Result<Error> {
    let (varmap, variables) = model(1.0)?;
    let before = bits(&varmap)?;
    let error = variables.restore(&Checkpoint::open(directory)?).unwrap_err();
    assert_eq!(bits(&varmap)?, before, "changed in spite of `{error}`");
    Ok(error)
}

fn report(error: Error) -> LoadReport {
    match error {
        Error::Checkpoint(tfckpt::Error::Mismatch { report, .. }) => *report,
        other => panic!("{other}"),
    }
}

#[test]
fn all_that_does_not_fit_is_reported_together() -> Result {
    let dir = tempfile::tempdir()?;
    let (good, long, ints) = ([5f32; 4], [5f32; 5], [5i32; 4]);
    let variables = [
        Variable::new("a", [4], &good),
        Variable::new("b", [5], &long),
        Variable::new("c", [4], &ints),
    ];
    Saver::new(dir.path()).save(variables, 1)?;
    let report = report(refused(dir.path())?);
    assert_eq!(report.loaded.len(), 1);
    assert_eq!(report.missing[0].path, "d");
    let wrong: Vec<_> = report
        .mismatched
        .iter()
        .map(|wrong| (&*wrong.expected, &*wrong.found))
        .collect();
    assert_eq!(wrong, [("float32 [4]", "float32 [5]"), ("float32 [4]", "int32 [4]")]);
    Ok(())
}

#[test]
fn one_flipped_byte_in_the_last_variable_keeps_the_first_from_being_restored() -> Result {
    let dir = tempfile::tempdir()?;
    let saved = Saver::new(dir.path()).save(model(2.0)?.1.to_save()?, 1)?;
    let data = saved.prefix.with_file_name("model.ckpt-1.data-00000-of-00001");
    let mut bytes = std::fs::read(&data)?;
    bytes[3 * 16 + 2] ^= 1; // within `d`
    std::fs::write(&data, bytes)?;
    let error = refused(dir.path())?;
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::Checksum { name, .. }) if name == "d"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_restore_in_one_pass_compares_checksums_too() -> Result {
    let dir = tempfile::tempdir()?;
    let (expected, saved) = model(2.0)?;
    Saver::new(dir.path()).save(saved.to_save()?, 1)?;
    let (varmap, variables) = model(1.0)?;
    let variables = variables.verify_first(false);
    variables.restore(&Checkpoint::open(dir.path())?)?;
    assert_eq!(bits(&varmap)?, bits(&expected)?);

    let data = dir.path().join("model.ckpt-1.data-00000-of-00001");
    let mut bytes = std::fs::read(&data)?;
    bytes[0] ^= 1;
    std::fs::write(&data, bytes)?;
    let error = variables.restore(&Checkpoint::open(dir.path())?).unwrap_err();
    let is_checksum = matches!(error, Error::Checkpoint(tfckpt::Error::Checksum { .. }));
    assert!(is_checksum, "{error}");
    Ok(())
}

#[test]
fn a_truncated_data_file_restores_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    let saved = Saver::new(dir.path()).save(model(2.0)?.1.to_save()?, 1)?;
    let data = saved.prefix.with_file_name("model.ckpt-1.data-00000-of-00001");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&data)?
        .set_len(3 * 16 + 2)?;
    let error = refused(dir.path())?;
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::ShardTruncated { .. })),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_restore_reaches_a_model_that_is_in_use() -> Result {
    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(model(2.0)?.1.to_save()?, 1)?;
    let (varmap, variables) = model(1.0)?;
    let held = varmap.get(4, "c", Init::Const(0.0), DType::F32, &Device::Cpu)?;
    let id = held.id();
    variables.restore(&Checkpoint::open(dir.path())?)?;
    assert_eq!(held.to_vec1::<f32>()?, [2.0; 4]);
    assert_eq!(
        varmap.data().lock().unwrap()["c"].id(),
        id,
        "optimizers and gradients still find it"
    );
    Ok(())
}

#[test]
fn a_dtype_that_a_variable_cannot_be_stored_in_is_refused_before_anything_is_written() -> Result {
    let varmap = VarMap::new();
    varmap.get(4, "x", Init::Const(0.5), DType::F32, &Device::Cpu)?;
    let names = NameMap::identity().stored_as("x", tfckpt::DType::Int8);
    let error = Variables::new(&varmap).names(names).to_save().unwrap_err().to_string();
    assert!(error.contains("`x` is float32 and cannot be stored as int8"), "{error}");
    Ok(())
}
