//! Dtypes that differ from those of the model: held exactly, cast on request, or refused with the reason.

use std::path::Path;

use tfckpt::map::{Casts, DenseOrder, Layer, NameMap, Plan, Target};
use tfckpt::{Checkpoint, DType, Error, Saver, Variable};

fn saved(dir: &Path) -> Checkpoint {
    let halves = [1.5f32, -0.1].map(|value| half::f16::from_f32(value).to_bits());
    let variables = [
        Variable::new("small", [3], &[-128i8, 0, 127]),
        Variable::new("large", [2], &[1u64, u64::MAX]),
        Variable::new("fits", [2], &[1u64, i64::MAX as u64]),
        Variable::from_bytes("half", DType::Float16, [2], bytemuck_bytes(&halves)),
        Variable::new("single", [2], &[1.0f32, 0.1]),
        Variable::from_bytes("complex", DType::Complex64, [1], vec![0; 8]),
        Variable::from_bytes("quantized", DType::Qint8, [2], vec![1, 2]),
        Variable::new("fc/kernel", [2, 3], &[0i8, 1, 2, 3, 4, 5]),
        Variable::new("wide/kernel", [2, 3], &[0f32; 6]),
        Variable::new("dw/kernel", [3, 3, 4, 2], &[0f32; 72]),
    ];
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

fn bytemuck_bytes(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn target(name: &str, own: DType, shape: &[usize], casts: Casts) -> Target {
    Target {
        path: name.replace('/', "."),
        names: vec![name.to_owned()],
        dtypes: casts.accepts(own, &[DType::Int8, DType::Uint64]),
        shape: shape.to_vec(),
        ..Target::default()
    }
}

/// The bytes that fill the target.
fn filled(checkpoint: &Checkpoint, target: Target) -> tfckpt::Result<Vec<u8>> {
    let plan = Plan::new(checkpoint, &[target])?;
    plan.verify(checkpoint)?;
    let read = plan.carry_out(checkpoint, |filling| {
        let mut bytes = vec![0; filling.size()?];
        filling.read_into(&mut bytes)?;
        assert_eq!(filling.read::<u8>()?, bytes);
        Ok::<_, Error>(bytes)
    })?;
    Ok(read.into_iter().next().unwrap())
}

fn reason(checkpoint: &Checkpoint, target: Target) -> String {
    filled(checkpoint, target).unwrap_err().to_string()
}

#[test]
fn what_the_framework_lacks_is_held_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let bytes = filled(&checkpoint, target("small", DType::Int16, &[3], Casts::Never)).unwrap();
    let expected: Vec<u8> = [-128i16, 0, 127].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(bytes, expected);
    let bytes = filled(&checkpoint, target("fits", DType::Int64, &[2], Casts::Never)).unwrap();
    assert_eq!(bytes[8..], i64::MAX.to_le_bytes());
}

#[test]
fn a_value_that_does_not_fit_is_refused_before_anything_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let targets = [
        target("small", DType::Int16, &[3], Casts::Never),
        target("large", DType::Int64, &[2], Casts::Never),
    ];
    let plan = Plan::new(&checkpoint, &targets).unwrap();
    for result in [plan.verify(&checkpoint), plan.check_values(&checkpoint)] {
        let Err(Error::ValueMisfit { name, index, value, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(
            (name.as_str(), index, value.as_str()),
            ("large", 1, "18446744073709551615")
        );
    }
}

#[test]
fn casts_are_made_when_they_are_asked_for_and_lossy_ones_are_flagged() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let half = |casts| target("half", DType::Float32, &[2], casts);
    let text = reason(&checkpoint, half(Casts::Never));
    assert!(text.contains("needs float32 [2], but `half` is float16 [2]"), "{text}");
    assert!(text.contains("Casts::Exact"), "{text}");
    let bytes = filled(&checkpoint, half(Casts::Exact)).unwrap();
    assert_eq!(bytes[..4], 1.5f32.to_le_bytes());
    assert_eq!(bytes[4..], half::f16::from_f32(-0.1).to_f32().to_le_bytes());

    let narrowed = |casts| target("single", DType::Bfloat16, &[2], casts);
    let text = reason(&checkpoint, narrowed(Casts::Exact));
    assert!(text.contains("Casts::Lossy"), "{text}");
    let plan = Plan::new(&checkpoint, &[narrowed(Casts::Lossy)]).unwrap();
    assert_eq!(plan.report().rounded().count(), 1);
    assert!(plan.report().to_string().contains("1 perhaps rounded"));
    let bytes = filled(&checkpoint, narrowed(Casts::Lossy)).unwrap();
    assert_eq!(bytes[2..], half::bf16::from_f32(0.1).to_le_bytes());
}

#[test]
fn what_is_no_number_of_a_model_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let text = reason(&checkpoint, target("complex", DType::Float32, &[1], Casts::Lossy));
    assert!(text.contains("complex numbers"), "{text}");
    let text = reason(&checkpoint, target("quantized", DType::Int16, &[2], Casts::Lossy));
    assert!(text.contains("without its scale"), "{text}");
    let text = reason(&checkpoint, target("single", DType::Int32, &[2], Casts::Lossy));
    assert!(text.contains("no cast from float32 to int32"), "{text}");
}

#[test]
fn a_cast_is_transposed_like_any_other_variable() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let names = NameMap::keras().cast(Casts::Exact);
    let target = Target {
        path: "fc.weight".to_owned(),
        names: names.names("fc.weight", Layer::Dense),
        dtypes: names.accepts(DType::Float32, &[]),
        shape: vec![3, 2],
        layout: names.layout("fc.weight", Layer::Dense, DenseOrder::OutIn),
        ..Target::default()
    };
    let bytes = filled(&checkpoint, target).unwrap();
    let expected: Vec<u8> = [0f32, 3., 1., 4., 2., 5.]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(bytes, expected);
}

#[test]
fn a_shape_that_another_layer_has_is_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(dir.path());
    let text = reason(
        &checkpoint,
        target("wide/kernel", DType::Float32, &[3, 2], Casts::Never),
    );
    assert!(
        text.contains("if transposed") && text.contains("`Layer::Dense`"),
        "{text}"
    );
    let text = reason(
        &checkpoint,
        target("dw/kernel", DType::Float32, &[8, 1, 3, 3], Casts::Never),
    );
    assert!(text.contains("`Layer::DepthwiseConv2d { multiplier: 2 }`"), "{text}");
    let names = NameMap::keras();
    let dense = Target {
        layout: names.layout("wide.weight", Layer::Dense, DenseOrder::OutIn),
        ..target("wide/kernel", DType::Float32, &[2, 3], Casts::Never)
    };
    let text = reason(&checkpoint, dense);
    assert!(text.contains("if it is not transposed"), "{text}");
}

#[test]
fn what_is_stored_in_another_dtype_is_written_exactly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let to_bytes = tfckpt::map::Conversion::new(DType::Int16, DType::Int8).unwrap();
    let variable = |values: &'static [i16]| Variable::new("v", [values.len()], values).converted(to_bytes);
    Saver::new(dir.path()).save([variable(&[-128, 127])], 1).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.read::<i8>("v").unwrap(), [-128, 127]);

    let Err(Error::Source { name, source }) = Saver::new(dir.path()).save([variable(&[0, 1, 200])], 2) else {
        panic!("200 is no int8")
    };
    assert_eq!(name, "v");
    assert!(
        source.to_string().contains("element 2") && source.to_string().contains("200"),
        "{source}"
    );
    assert_eq!(
        Checkpoint::open(dir.path()).unwrap().prefix(),
        checkpoint.prefix(),
        "the last one is still there"
    );
}

#[test]
fn bytes_that_are_lent_and_laid_out_are_converted_too() {
    let dir = tempfile::tempdir().unwrap();
    let layout = NameMap::keras().layout("fc.weight", Layer::Dense, DenseOrder::OutIn);
    let transform = layout.to_stored(&[3, 2]).unwrap();
    let to_half = tfckpt::map::Conversion::new(DType::Float32, DType::Float16).unwrap();
    let values: Vec<u8> = [0f32, 1., 2., 3., 4., 5.]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let variable = Variable::lent("fc/kernel", DType::Float32, [2, 3], move |sink| sink(&values))
        .laid_out(transform)
        .converted(to_half);
    Saver::new(dir.path()).save([variable], 1).unwrap();
    let stored = Checkpoint::open(dir.path())
        .unwrap()
        .read::<half::f16>("fc/kernel")
        .unwrap();
    assert_eq!(stored, [0f32, 2., 4., 1., 3., 5.].map(half::f16::from_f32));
}
