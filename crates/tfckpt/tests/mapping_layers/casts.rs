//! Casts of what is made of several variables.

use super::*;

/// The variables in another dtype, exactly or rounded.
fn cast(dir: &Path, names: &[(&str, &str)], dtype: DType) -> Checkpoint {
    let first = tempfile::tempdir().unwrap();
    let original = renamed(first.path(), names);
    let conversion = tfckpt::map::Conversion::new(DType::Float32, dtype).unwrap();
    let variables = names.iter().map(|(_, name)| {
        let info = original.variable(name).unwrap();
        let bytes = original.read_bytes(name).unwrap();
        let bytes: Vec<u8> = conversion.converted(name, false, &bytes).unwrap();
        Variable::from_bytes(*name, dtype, info.shape().clone(), bytes)
    });
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn what_is_made_is_cast_on_request_and_stored_as_it_was() {
    let variables = [
        ("square_basic_lstm/basic_lstm_cell/kernel", "W"),
        ("square_basic_lstm/basic_lstm_cell/bias", "b"),
    ];
    let rule = |more: &str| {
        format!(
            r#"{{ {more} "rules": [{{ "path": "l", "layer": "lstm", "cell": "basic_lstm_cell", "dtype": "DTYPE",
                "variables": {{ "kernel": "W", "bias": "b" }} }}] }}"#
        )
    };
    let names = |more: &str, dtype: DType| {
        let text = rule(more).replace("DTYPE", dtype.name());
        NameMap::from(Mapping::from_json(&text).unwrap())
    };
    let parameters = pytorch("l", 4, 8, 8);
    for dtype in [DType::Float16, DType::Bfloat16, DType::Float64] {
        let dir = tempfile::tempdir().unwrap();
        let original = cast(dir.path(), &variables, dtype);
        let error = loaded(&names("", dtype), &original, &parameters, DType::Float32)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`l.weight_ih_l0` needs float32") && error.contains("Casts::"),
            "{dtype}: {error}"
        );
        let how = if dtype == DType::Float64 { "lossy" } else { "exact" };
        let names = names(&format!(r#""cast": "{how}","#), dtype);
        let (values, report) = loaded(&names, &original, &parameters, DType::Float32).unwrap();
        assert!(report.contains(&format!("cast from {dtype} to float32")), "{report}");
        assert_eq!(report.contains("perhaps rounded"), dtype == DType::Float64, "{report}");
        assert!(values.values().all(|(dtype, _)| *dtype == DType::Float32));
        let back = tempfile::tempdir().unwrap();
        let again = saved(&names, back.path(), &parameters, &values).unwrap();
        assert_eq!(contents(&again), contents(&original), "{dtype}");
        // A value that has no place in that dtype is not saved.
        if dtype == DType::Float16 {
            let mut changed = values.clone();
            changed.get_mut("l.weight_hh_l0").unwrap().1[..4].copy_from_slice(&0.1f32.to_le_bytes());
            let back = tempfile::tempdir().unwrap();
            let error = saved(&names, back.path(), &parameters, &changed).unwrap_err();
            let source = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(source.contains("0.1") && source.contains("float16"), "{error} {source}");
            assert!(Checkpoint::open(back.path()).is_err());
        }
    }
    // Exact casts do not round.
    let dir = tempfile::tempdir().unwrap();
    let original = cast(dir.path(), &variables, DType::Float64);
    let exact = names(r#""cast": "exact","#, DType::Float64);
    let error = loaded(&exact, &original, &parameters, DType::Float32)
        .unwrap_err()
        .to_string();
    assert!(error.contains("Casts::Lossy"), "{error}");
    // What a framework lacks needs no request.
    let dir = tempfile::tempdir().unwrap();
    let original = cast(dir.path(), &variables, DType::Float8E5m2);
    let f8 = names("", DType::Float8E5m2);
    let (values, _) = loaded(&f8, &original, &parameters, DType::Float16).unwrap();
    let back = tempfile::tempdir().unwrap();
    let again = saved(&f8, back.path(), &parameters, &values);
    assert_eq!(contents(&again.unwrap()), contents(&original));
    // All parameters of a variable are stored alike.
    let plain = Mapping::from_json(&rule("").replace(r#""dtype": "DTYPE","#, "")).unwrap();
    let odd = NameMap::from(plain)
        .cast(Casts::Exact)
        .stored_as("l.bias_hh_l0", DType::Float64);
    let back = tempfile::tempdir().unwrap();
    let error = saved(&odd, back.path(), &parameters, &values).unwrap_err().to_string();
    assert!(error.contains("`b`") && error.contains("float64"), "{error}");
}
