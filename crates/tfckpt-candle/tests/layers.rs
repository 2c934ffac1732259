//! Each of Candle's layers is stored as TensorFlow stores it, and comes back.

use candle_core::{D, DType, Device, Module, ModuleT, Tensor};
use candle_nn::{VarBuilder, VarMap};
use tfckpt::map::{Layer, NameMap};
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Layers, Variables, recording, var_builder};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// One of everything, and what it computes.
fn everything(vb: &VarBuilder) -> candle_core::Result<Vec<Tensor>> {
    let grid =
        |dims: &[usize]| Tensor::arange(0f32, dims.iter().product::<usize>() as f32, &Device::Cpu)?.reshape(dims);
    let wave = |dims: &[usize]| (grid(dims)? * 0.37)?.sin();
    let grouped = candle_nn::Conv2dConfig {
        groups: 4,
        ..Default::default()
    };
    let ids = Tensor::new(&[1u32, 3, 0], &Device::Cpu)?;
    Ok(vec![
        candle_nn::linear(3, 5, vb.pp("dense"))?.forward(&wave(&[2, 3])?)?,
        candle_nn::linear_no_bias(4, 4, vb.pp("block.square"))?.forward(&wave(&[2, 4])?)?,
        candle_nn::conv1d(2, 3, 4, Default::default(), vb.pp("conv1d"))?.forward(&wave(&[1, 2, 9])?)?,
        candle_nn::conv2d(2, 3, 5, Default::default(), vb.pp("conv2d"))?.forward(&wave(&[1, 2, 9, 9])?)?,
        candle_nn::conv2d(4, 8, 3, grouped, vb.pp("depthwise"))?.forward(&wave(&[1, 4, 6, 6])?)?,
        candle_nn::conv_transpose1d(2, 3, 4, Default::default(), vb.pp("up1d"))?.forward(&wave(&[1, 2, 5])?)?,
        candle_nn::conv_transpose2d(2, 3, 4, Default::default(), vb.pp("up2d"))?.forward(&wave(&[1, 2, 5, 5])?)?,
        candle_nn::batch_norm(3, 1e-3, vb.pp("bn"))?.forward_t(&wave(&[2, 3, 4])?, false)?,
        candle_nn::layer_norm(6, 1e-5, vb.pp("ln"))?.forward(&wave(&[2, 6])?)?,
        candle_nn::group_norm(2, 4, 1e-5, vb.pp("gn"))?.forward(&wave(&[2, 4, 3])?)?,
        candle_nn::rms_norm(6, 1e-5, vb.pp("rms"))?.forward(&wave(&[2, 6])?)?,
        candle_nn::embedding(4, 4, vb.pp("embedding"))?.forward(&ids)?,
        candle_nn::prelu(Some(3), vb.pp("prelu"))?.forward(&wave(&[2, 3])?)?,
        candle_nn::rnn::lstm(3, 2, Default::default(), vb.pp("lstm"))
            .and_then(|lstm| {
                Ok(candle_nn::RNN::seq(&lstm, &wave(&[1, 4, 3])?)?
                    .pop()
                    .map(|state| state.h().clone()))
            })?
            .unwrap_or(ids.to_dtype(DType::F32)?),
        vb.get_with_hints((2, 3), "scale", candle_nn::Init::Const(0.5))?
            .sum(D::Minus1)?,
    ])
}

/// Names and shapes on disk, as Keras has them.
const STORED: [(&str, &[usize]); 31] = [
    ("block/square/kernel", &[4, 4]),
    ("bn/beta", &[3]),
    ("bn/gamma", &[3]),
    ("bn/moving_mean", &[3]),
    ("bn/moving_variance", &[3]),
    ("conv1d/bias", &[3]),
    ("conv1d/kernel", &[4, 2, 3]),
    ("conv2d/bias", &[3]),
    ("conv2d/kernel", &[5, 5, 2, 3]),
    ("dense/bias", &[5]),
    ("dense/kernel", &[3, 5]),
    ("depthwise/bias", &[8]),
    ("depthwise/kernel", &[3, 3, 4, 2]),
    ("embedding/embeddings", &[4, 4]),
    ("global_step", &[]),
    ("gn/beta", &[4]),
    ("gn/gamma", &[4]),
    ("ln/beta", &[6]),
    ("ln/gamma", &[6]),
    ("lstm/lstm_cell/bias", &[8]),
    // Two biases, as they are; their sum is the one above.
    ("lstm/lstm_cell/bias/input", &[8]),
    ("lstm/lstm_cell/bias/recurrent", &[8]),
    ("lstm/lstm_cell/kernel", &[3, 8]),
    ("lstm/lstm_cell/recurrent_kernel", &[2, 8]),
    ("prelu/alpha", &[3]),
    ("rms/scale", &[6]),
    ("scale", &[2, 3]),
    ("up1d/bias", &[3]),
    ("up1d/kernel", &[4, 3, 2]),
    ("up2d/bias", &[3]),
    ("up2d/kernel", &[4, 4, 3, 2]),
];

fn names() -> NameMap {
    NameMap::keras().with_layer("depthwise", Layer::DepthwiseConv2d { multiplier: 2 })
}

/// A model whose variables all differ from what any initialisation gives.
fn model() -> Result<(VarMap, Layers, Vec<Tensor>)> {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    everything(&vb)?;
    for var in varmap.all_vars() {
        let noise = Tensor::rand(0.1f32, 0.9, var.shape(), &Device::Cpu)?;
        var.set(&noise)?;
    }
    let outputs = everything(&vb)?;
    Ok((varmap, layers, outputs))
}

fn assert_same(a: &[Tensor], b: &[Tensor]) -> Result {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(
            a.flatten_all()?.to_vec1::<f32>()?,
            b.flatten_all()?.to_vec1::<f32>()?,
            "output {i}"
        );
    }
    Ok(())
}

#[test]
fn every_layer_has_the_names_and_shapes_of_tensorflow_and_computes_the_same_when_loaded() -> Result {
    let dir = tempfile::tempdir()?;
    let (varmap, layers, outputs) = model()?;
    let variables = Variables::new(&varmap).layers(&layers).names(names());
    Saver::new(dir.path()).save(variables.to_save()?, 7)?;

    let checkpoint = Checkpoint::open(dir.path())?;
    let stored: Vec<_> = checkpoint
        .variables()
        .map(|v| (v.name().into_owned(), v.shape().dims().to_vec()))
        .collect();
    let expected: Vec<_> = STORED
        .iter()
        .map(|&(name, dims)| (name.to_owned(), dims.to_vec()))
        .collect();
    assert_eq!(stored, expected);

    // Into a model that is built from the checkpoint, and into a live one.
    let vb = var_builder(checkpoint, names(), DType::F32, &Device::Cpu)?;
    assert_same(&everything(&vb)?, &outputs)?;
    let (other, layers, before) = model()?;
    assert!(assert_differ(&before, &outputs)?);
    let report = Variables::new(&other)
        .layers(&layers)
        .names(names())
        .restore(&Checkpoint::open(dir.path())?)?;
    assert_eq!((report.loaded.len(), report.unused.len()), (29, 0));
    assert_same(
        &everything(&VarBuilder::from_varmap(&other, DType::F32, &Device::Cpu))?,
        &outputs,
    )
}

fn assert_differ(a: &[Tensor], b: &[Tensor]) -> Result<bool> {
    let first = |tensors: &[Tensor]| tensors[0].flatten_all()?.to_vec1::<f32>();
    Ok(first(a)? != first(b)?)
}

#[test]
fn a_square_dense_kernel_is_transposed_and_a_square_embedding_is_not() -> Result {
    let dir = tempfile::tempdir()?;
    let (varmap, layers, _) = model()?;
    let variables = Variables::new(&varmap).layers(&layers).names(names());
    Saver::new(dir.path()).save(variables.to_save()?, 7)?;
    let checkpoint = Checkpoint::open(dir.path())?;
    let of = |path: &str| varmap.data().lock().unwrap()[path].as_tensor().clone();
    let dense = of("block.square.weight").t()?.flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(checkpoint.read::<f32>("block/square/kernel")?, dense);
    let table = of("embedding.weight").flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(checkpoint.read::<f32>("embedding/embeddings")?, table);
    Ok(())
}

#[test]
fn every_dtype_that_both_have_comes_back_bit_for_bit() -> Result {
    let dir = tempfile::tempdir()?;
    let varmap = VarMap::new();
    let values = Tensor::new(&[[0f32, 1.5, 2.25], [3.0, 100.0, 7.0]], &Device::Cpu)?;
    let dtypes = [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::U8,
        DType::U32,
        DType::I16,
        DType::I32,
        DType::I64,
    ];
    for dtype in dtypes {
        let var = candle_core::Var::from_tensor(&values.to_dtype(dtype)?)?;
        varmap
            .data()
            .lock()
            .unwrap()
            .insert(format!("v_{}", dtype.as_str()), var);
    }
    let variables = Variables::new(&varmap);
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    for var in varmap.all_vars() {
        var.set(&var.zeros_like()?)?;
    }
    variables.restore(&Checkpoint::open(dir.path())?)?;
    for (name, var) in varmap.data().lock().unwrap().iter() {
        let expected = values.to_dtype(var.dtype())?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        assert_eq!(var.to_dtype(DType::F64)?.to_vec2::<f64>()?, expected, "{name}");
    }
    Ok(())
}

#[test]
fn a_u8_variable_takes_a_bool_one() -> Result {
    let dir = tempfile::tempdir()?;
    let mask = tfckpt::Variable::from_bytes("mask", tfckpt::DType::Bool, [3], vec![1u8, 0, 1]);
    Saver::new(dir.path()).save([mask], 1)?;
    let varmap = VarMap::new();
    varmap.get(3, "mask", candle_nn::init::ZERO, DType::U8, &Device::Cpu)?;
    Variables::new(&varmap).restore(&Checkpoint::open(dir.path())?)?;
    assert_eq!(varmap.all_vars()[0].to_vec1::<u8>()?, [1, 0, 1]);
    Ok(())
}

#[test]
fn layers_of_unknown_kind_are_an_error_that_names_them_all() -> Result {
    let varmap = VarMap::new();
    everything(&VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu))?;
    let error = Variables::new(&varmap).to_save().unwrap_err();
    let tfckpt_candle::Error::UnknownLayers { modules } = error else {
        panic!("{error}")
    };
    let weights = [
        "block.square",
        "conv1d",
        "conv2d",
        "dense",
        "depthwise",
        "embedding",
        "gn",
        "ln",
        "prelu",
        "rms",
        "up1d",
        "up2d",
    ];
    assert_eq!(modules, weights);
    // Under the names of the model itself nothing has to be known.
    assert_eq!(Variables::new(&varmap).names(NameMap::identity()).to_save()?.len(), 29);
    Ok(())
}
