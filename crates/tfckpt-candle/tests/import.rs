//! Models built from checkpoints.

use candle_core::{DType, Device, Error};
use candle_nn::{Init, VarMap};
use tfckpt::map::{Layer, NameMap};
use tfckpt::{Checkpoint, Saver, Variable};
use tfckpt_candle::{Import, Variables, var_builder};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn checkpoint(directory: &tempfile::TempDir, variables: &[(&str, &[usize])]) -> Result<Checkpoint> {
    let counted = |dims: &[usize]| {
        (0..dims.iter().product::<usize>())
            .map(|i| i as f32)
            .collect::<Vec<_>>()
    };
    let values: Vec<_> = variables.iter().map(|(_, dims)| counted(dims)).collect();
    let variables = variables
        .iter()
        .zip(&values)
        .map(|((name, dims), values)| Variable::new(*name, *dims, values));
    Saver::new(directory.path()).save(variables, 1)?;
    Ok(Checkpoint::open(directory.path())?)
}

/// The error below the backtrace that `RUST_BACKTRACE` adds.
fn plain(error: Error) -> Error {
    match error {
        Error::WithBacktrace { inner, .. } => plain(*inner),
        error => error,
    }
}

#[test]
fn contains_tensor_is_exact() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 4] = [
        ("bert/ln/gamma", &[4]),
        ("bert/ln/beta", &[4]),
        ("bert/fc/kernel", &[4, 2]),
        ("step", &[]),
    ];
    let vb = var_builder(
        checkpoint(&dir, &variables)?,
        NameMap::keras(),
        DType::F32,
        &Device::Cpu,
    )?;
    for (path, there) in [
        ("bert.ln.weight", true),
        ("bert.ln.gamma", true),
        ("bert.ln.bias", true),
        ("bert.ln.beta", true),
        ("bert.fc.weight", true),
        ("bert.fc.gamma", false),
        ("bert.fc.bias", false),
        ("bert.fc.beta", false),
        ("bert.ln.running_mean", false),
        ("bert", false),
        ("bert.ln", false),
        ("step", true),
    ] {
        assert_eq!(vb.contains_tensor(path), there, "{path}");
    }
    // Probes for `weight` and `gamma`, `bias` and `beta`.
    candle_nn::layer_norm(4, 1e-5, vb.pp("bert.ln"))?;
    assert!(candle_nn::linear_no_bias(4, 2, vb.pp("bert").pp("fc"))?.weight().dims() == [2, 4]);
    Ok(())
}

#[test]
fn a_missing_variable_and_a_wrong_shape_are_candles_own_errors() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 1] = [("fc/kernel", &[4, 2])];
    let vb = var_builder(
        checkpoint(&dir, &variables)?,
        NameMap::keras(),
        DType::F32,
        &Device::Cpu,
    )?;
    let missing = plain(candle_nn::linear(4, 2, vb.pp("fc2")).unwrap_err());
    let Error::CannotFindTensor { path } = missing else {
        panic!("{missing}")
    };
    assert_eq!(path, "fc2.weight (looked for as `fc2/kernel`; nearest: `fc/kernel`)");
    let wrong = plain(candle_nn::linear_no_bias(5, 2, vb.pp("fc")).unwrap_err());
    let Error::UnexpectedShape { expected, got, .. } = wrong else {
        panic!("{wrong}")
    };
    assert_eq!((expected.dims(), got.dims()), (&[5, 2][..], &[4, 2][..]));
    Ok(())
}

#[test]
fn a_depthwise_convolution_is_never_guessed() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 1] = [("dw/kernel", &[3, 3, 4, 1])];
    let import = Import::new(checkpoint(&dir, &variables)?, NameMap::keras());
    let config = candle_nn::Conv2dConfig {
        groups: 4,
        ..Default::default()
    };
    let vb = import.var_builder(DType::F32, &Device::Cpu);
    let error = plain(candle_nn::conv2d_no_bias(4, 4, 3, config, vb.pp("dw")).unwrap_err());
    assert!(matches!(error, Error::UnexpectedShape { .. }), "{error}");

    let names = NameMap::keras().with_layer("dw", Layer::DepthwiseConv2d { multiplier: 1 });
    let vb = var_builder(Checkpoint::open(dir.path())?, names, DType::F32, &Device::Cpu)?;
    let conv = candle_nn::conv2d_no_bias(4, 4, 3, config, vb.pp("dw"))?;
    // [h, w, in, multiplier]: the second pixel of the first channel is four elements on.
    assert_eq!(conv.weight().flatten_all()?.to_vec1::<f32>()?[..3], [0.0, 4.0, 8.0]);
    Ok(())
}

#[test]
fn layers_without_hints_are_told_by_the_names_that_are_there() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 4] = [
        ("fc/kernel", &[2, 2]),
        ("fc/bias", &[2]),
        ("table/embeddings", &[2, 2]),
        ("norm/scale", &[2]),
    ];
    let vb = var_builder(
        checkpoint(&dir, &variables)?,
        NameMap::keras(),
        DType::F32,
        &Device::Cpu,
    )?;
    assert_eq!(vb.get((2, 2), "fc.weight")?.to_vec2::<f32>()?, [[0.0, 2.0], [1.0, 3.0]]);
    assert_eq!(vb.get(2, "fc.bias")?.to_vec1::<f32>()?, [0.0, 1.0]);
    assert_eq!(
        vb.get((2, 2), "table.weight")?.to_vec2::<f32>()?,
        [[0.0, 1.0], [2.0, 3.0]]
    );
    assert_eq!(vb.get(2, "norm.weight")?.to_vec1::<f32>()?, [0.0, 1.0]);
    assert_eq!(
        vb.get_unchecked("fc.weight")?.to_vec2::<f32>()?,
        [[0.0, 2.0], [1.0, 3.0]]
    );
    Ok(())
}

#[test]
fn what_stays_ambiguous_is_an_error() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 3] = [("m/kernel", &[2, 2]), ("m/embeddings", &[2, 2]), ("w", &[2, 2])];
    let names = NameMap::keras().rename("x.weight", "w");
    let vb = var_builder(checkpoint(&dir, &variables)?, names.clone(), DType::F32, &Device::Cpu)?;
    let two_variables = vb.get((2, 2), "m.weight").unwrap_err().to_string();
    assert!(two_variables.contains("`m/kernel`, `m/embeddings`"), "{two_variables}");
    let two_layouts = vb.get((2, 2), "x.weight").unwrap_err().to_string();
    assert!(two_layouts.contains("with_layer"), "{two_layouts}");
    let vb = var_builder(
        Checkpoint::open(dir.path())?,
        names.with_layer("x", Layer::Other),
        DType::F32,
        &Device::Cpu,
    )?;
    assert_eq!(vb.get((2, 2), "x.weight")?.to_vec2::<f32>()?, [[0.0, 1.0], [2.0, 3.0]]);
    Ok(())
}

#[test]
fn tensors_are_cast_to_the_dtype_of_the_builder_and_only_then() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 1] = [("fc/kernel", &[2, 2])];
    let vb = var_builder(
        checkpoint(&dir, &variables)?,
        NameMap::keras(),
        DType::BF16,
        &Device::Cpu,
    )?;
    let fc = candle_nn::linear_no_bias(2, 2, vb.pp("fc"))?;
    assert_eq!(fc.weight().dtype(), DType::BF16);
    assert_eq!(
        fc.weight().to_dtype(DType::F32)?.to_vec2::<f32>()?,
        [[0.0, 2.0], [1.0, 3.0]]
    );
    Ok(())
}

#[test]
fn the_report_tells_what_was_used_missing_and_left() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 3] = [("fc/kernel", &[4, 2]), ("fc/bias", &[2]), ("pooler/kernel", &[2, 2])];
    let import = Import::new(checkpoint(&dir, &variables)?, NameMap::keras());
    let varmap = VarMap::new();
    let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
    candle_nn::linear(4, 2, vb.pp("fc"))?;
    candle_nn::linear(2, 3, vb.pp("head"))?;
    let report = import.report();
    let loaded: Vec<_> = report
        .loaded
        .iter()
        .map(|one| (&*one.path, &*one.name, one.transposed))
        .collect();
    assert_eq!(
        loaded,
        [("fc.bias", "fc/bias", false), ("fc.weight", "fc/kernel", true)]
    );
    assert_eq!(
        report.missing.iter().map(|one| &*one.path).collect::<Vec<_>>(),
        ["head.bias", "head.weight"]
    );
    assert_eq!(report.unused, ["global_step", "pooler/kernel"]);

    // All four are variables of the map, and can be saved without another word.
    assert_eq!(varmap.all_vars().len(), 4);
    assert_eq!(
        varmap
            .get((2, 4), "fc.weight", Init::Const(9.0), DType::F32, &Device::Cpu)?
            .to_vec2::<f32>()?[0],
        [0., 2., 4., 6.]
    );
    let saved = Variables::new(&varmap).layers(&layers).to_save()?;
    assert_eq!(
        saved.iter().map(|one| one.name().into_owned()).collect::<Vec<_>>(),
        ["fc/bias", "fc/kernel", "head/bias", "head/kernel"]
    );
    Ok(())
}

#[test]
fn what_the_names_of_a_checkpoint_told_is_known_when_saving() -> Result {
    let dir = tempfile::tempdir()?;
    let variables: [(&str, &[usize]); 4] = [
        ("fc/kernel", &[4, 2]),
        ("fc/bias", &[2]),
        ("norm/gamma", &[2]),
        ("dw/depthwise_kernel", &[3, 3, 4, 1]),
    ];
    let names = NameMap::keras().with_layer("dw", Layer::DepthwiseConv2d { multiplier: 1 });
    let varmap = VarMap::new();
    let import = Import::new(checkpoint(&dir, &variables)?, names);
    let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
    // Without hints, as many hand-made layers ask.
    vb.get((2, 4), "fc.weight")?;
    vb.get(2, "fc.bias")?;
    vb.get(2, "norm.weight")?;
    vb.get((4, 1, 3, 3), "dw.weight")?;
    let saved = Variables::new(&varmap).layers(&layers).to_save()?;
    let saved: Vec<_> = saved
        .iter()
        .map(|one| (one.name().into_owned(), one.shape().dims().to_vec()))
        .collect();
    let expected: [(&str, &[usize]); 4] = [
        ("dw/kernel", &[3, 3, 4, 1]),
        ("fc/bias", &[2]),
        ("fc/kernel", &[4, 2]),
        ("norm/gamma", &[2]),
    ];
    assert_eq!(saved, expected.map(|(name, dims)| (name.to_owned(), dims.to_vec())));
    Ok(())
}

/// Large enough to be read ahead.
const MODEL: [(&str, &[usize]); 6] = [
    ("net/fc_1/kernel", &[300, 200]),
    ("net/fc_2/kernel", &[200, 300]),
    ("net/fc_3/kernel", &[256, 256]),
    ("net/fc_4/kernel", &[180, 400]),
    ("net/fc_10/kernel", &[256, 512]),
    ("net/table/embeddings", &[300, 200]),
];

#[test]
fn what_is_read_ahead_is_what_is_read_when_it_is_asked_for() -> Result {
    let dir = tempfile::tempdir()?;
    let at_once = checkpoint(&dir, &MODEL)?;
    let ahead = Checkpoint::open_with(dir.path(), &tfckpt::Limits::default().with_threads(3))?;
    let vb = var_builder(ahead, NameMap::keras(), DType::F32, &Device::Cpu)?;
    for (i, out, inputs) in [
        (3, 256, 256),
        (1, 200, 300),
        (2, 300, 200),
        (10, 512, 256),
        (4, 400, 180),
    ] {
        let fc = candle_nn::linear_no_bias(inputs, out, vb.pp(format!("net.fc_{i}")))?;
        let stored: Vec<f32> = at_once.read(format!("net/fc_{i}/kernel"))?;
        let stored = candle_core::Tensor::from_vec(stored, (inputs, out), &Device::Cpu)?;
        assert_eq!(fc.weight().to_vec2::<f32>()?, stored.t()?.to_vec2::<f32>()?, "fc_{i}");
    }
    candle_nn::embedding(300, 200, vb.pp("net.table"))?;
    Ok(())
}

#[test]
fn damage_is_told_by_the_variable_that_has_it() -> Result {
    let dir = tempfile::tempdir()?;
    let written = checkpoint(&dir, &MODEL)?;
    let damaged = written.variable("net/fc_2/kernel")?;
    let path = written.shard_path(0);
    let mut bytes = std::fs::read(&path)?;
    bytes[damaged.offset() as usize + 1000] ^= 1;
    std::fs::write(&path, bytes)?;
    let ahead = Checkpoint::open_with(dir.path(), &tfckpt::Limits::default().with_threads(2))?;
    let vb = var_builder(ahead, NameMap::keras(), DType::F32, &Device::Cpu)?;
    let linear = |i: usize, inputs, out| candle_nn::linear_no_bias(inputs, out, vb.pp(format!("net.fc_{i}")));
    linear(1, 300, 200)?;
    linear(3, 256, 256)?;
    linear(4, 180, 400)?;
    linear(10, 256, 512)?;
    let error = linear(2, 200, 300).unwrap_err();
    assert!(error.to_string().contains("net/fc_2/kernel"), "{error}");
    Ok(())
}
