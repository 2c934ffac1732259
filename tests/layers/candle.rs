//! Candle's layers.

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_nn::rnn::{Direction, GRUConfig, LSTMConfig};
use candle_nn::{Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig, RNN, VarBuilder};
use tfckpt::map::{ForgetBias, Layer, LstmCell, NameMap};

use super::shared::Values;

/// Builds a layer and computes with it; called with each case's name, the names in the checkpoint, and this.
pub(crate) type Forward<'f> = dyn Fn(&VarBuilder<'_>, &Tensor) -> Result<Tensor> + 'f;

pub(crate) fn input(x: &Values) -> Result<Tensor> {
    Tensor::from_vec(x.values.clone(), x.dims.as_slice(), &Device::Cpu)
}

pub(crate) fn output(y: &Tensor) -> Result<Values> {
    Ok(Values {
        dims: y.dims().to_vec(),
        values: y.flatten_all()?.to_vec1()?,
    })
}

/// Channels first.
fn first(x: &Tensor) -> Result<Tensor> {
    let rank = x.rank();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    x.permute(axes)?.contiguous()
}

/// Channels last.
fn last(y: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = [0].into_iter().chain(2..y.rank()).chain([1]).collect();
    y.permute(axes)?.contiguous()
}

/// Shows all layers that Candle has.
pub(crate) fn each(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    dense(visit);
    convolutions(visit);
    norms(visit);
    recurrent(visit);
    attention(visit);
}

fn declared(name: &str, layer: Layer) -> NameMap {
    NameMap::keras().with_layer(name, layer)
}

fn ids(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::U32)
}

fn dense(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    for (name, input, out) in [("dense", 13, 19), ("square_dense", 16, 16)] {
        visit(name, NameMap::keras(), &|vb, x| {
            candle_nn::linear(input, out, vb.pp(name))?.forward(x)
        });
    }
    visit("head", declared("head", Layer::OutputWeights), &|vb, x| {
        candle_nn::linear(13, 5, vb.pp("head"))?.forward(x)
    });
    for (name, rows, width) in [("embedding", 23, 9), ("square_embedding", 16, 16)] {
        visit(name, NameMap::keras(), &|vb, x| {
            candle_nn::embedding(rows, width, vb.pp(name))?.forward(&ids(x)?)
        });
    }
    visit("tied", tied_names(), &|vb, x| {
        let table = candle_nn::embedding(16, 9, vb.pp("tied.table"))?;
        candle_nn::linear(9, 16, vb.pp("tied.decoder"))?.forward(&table.forward(&ids(x)?)?)
    });
    visit("prelu", NameMap::keras(), &|vb, x| {
        candle_nn::prelu(Some(13), vb.pp("prelu"))?.forward(x)
    });
    visit(
        "prelu_shared",
        declared("prelu_shared", Layer::SharedPRelu { axes: 2 }),
        &|vb, x| last(&candle_nn::prelu(Some(7), vb.pp("prelu_shared"))?.forward(&first(x)?)?),
    );
}

/// One variable fills both.
pub(crate) fn tied_names() -> NameMap {
    NameMap::keras()
        .rename("tied.table.weight", "tied/word_embeddings")
        .rename("tied.decoder.weight", "tied/word_embeddings")
        .rename("tied.decoder.bias", "tied/output_bias")
        .with_layer("tied.decoder", Layer::OutputWeights)
}

fn convolutions(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    let grouped = |groups| Conv1dConfig {
        groups,
        ..Default::default()
    };
    let grouped2 = |groups| Conv2dConfig {
        groups,
        ..Default::default()
    };
    visit("conv1d", NameMap::keras(), &|vb, x| {
        last(&candle_nn::conv1d(5, 7, 4, grouped(1), vb.pp("conv1d"))?.forward(&first(x)?)?)
    });
    // Candle's constructor has square kernels alone.
    visit("conv2d", NameMap::keras(), &|vb, x| {
        let vb = vb.pp("conv2d");
        let weight = vb.get_with_hints((7, 5, 3, 2), "weight", candle_nn::init::DEFAULT_KAIMING_NORMAL)?;
        let bias = vb.get_with_hints(7, "bias", candle_nn::Init::Uniform { lo: -0.1, up: 0.1 })?;
        last(&Conv2d::new(weight, Some(bias), grouped2(1)).forward(&first(x)?)?)
    });
    for (name, input, out, groups) in [("conv2d_k3", 5, 7, 1), ("square_conv2d", 3, 3, 1), ("grouped", 8, 6, 2)] {
        visit(name, NameMap::keras(), &|vb, x| {
            last(&candle_nn::conv2d(input, out, 3, grouped2(groups), vb.pp(name))?.forward(&first(x)?)?)
        });
    }
    visit("grouped1d", NameMap::keras(), &|vb, x| {
        last(&candle_nn::conv1d(6, 9, 4, grouped(3), vb.pp("grouped1d"))?.forward(&first(x)?)?)
    });
    visit(
        "depthwise1d",
        declared("depthwise1d", Layer::DepthwiseConv1d { multiplier: 2 }),
        &|vb, x| last(&candle_nn::conv1d(5, 10, 4, grouped(5), vb.pp("depthwise1d"))?.forward(&first(x)?)?),
    );
    for (name, channels, multiplier) in [
        ("depthwise_k3", 4, 3),
        ("square_depthwise", 3, 1),
        ("old_depthwise", 5, 2),
    ] {
        let names = if name.starts_with("old") {
            NameMap::keras2()
        } else {
            NameMap::keras3()
        };
        let names = names.with_layer(name, Layer::DepthwiseConv2d { multiplier });
        visit(name, names, &|vb, x| {
            let layer = candle_nn::conv2d(channels, channels * multiplier, 3, grouped2(channels), vb.pp(name))?;
            last(&layer.forward(&first(x)?)?)
        });
    }
    visit(
        "separable1d",
        declared("separable1d", Layer::SeparableConv1d { multiplier: 2 }),
        &|vb, x| {
            let vb = vb.pp("separable1d");
            let depthwise = candle_nn::conv1d_no_bias(5, 10, 4, grouped(5), vb.pp("depthwise"))?;
            let pointwise = candle_nn::conv1d(10, 7, 1, grouped(1), vb.pp("pointwise"))?;
            last(&pointwise.forward(&depthwise.forward(&first(x)?)?)?)
        },
    );
    for name in ["separable", "old_separable"] {
        visit(
            name,
            declared(name, Layer::SeparableConv2d { multiplier: 2 }),
            &|vb, x| {
                let vb = vb.pp(name);
                let depthwise = candle_nn::conv2d_no_bias(5, 10, 3, grouped2(5), vb.pp("depthwise"))?;
                let pointwise = candle_nn::conv2d(10, 7, 1, grouped2(1), vb.pp("pointwise"))?;
                last(&pointwise.forward(&depthwise.forward(&first(x)?)?)?)
            },
        );
    }
    visit("up1d", NameMap::keras(), &|vb, x| {
        let config = ConvTranspose1dConfig {
            stride: 2,
            ..Default::default()
        };
        let layer = candle_nn::conv_transpose1d(5, 7, 4, config, vb.pp("up1d"))?;
        // One at a time: Candle 0.11.1 mixes up what it convolves together.
        let x = first(x)?;
        let each: Vec<Tensor> = (0..x.dim(0)?)
            .map(|i| layer.forward(&x.narrow(0, i, 1)?))
            .collect::<Result<_>>()?;
        last(&Tensor::cat(&each, 0)?)
    });
    for (name, input, out, stride) in [("up2d", 4, 7, 2), ("square_up2d", 3, 3, 1)] {
        visit(name, NameMap::keras(), &|vb, x| {
            let config = ConvTranspose2dConfig {
                stride,
                ..Default::default()
            };
            last(&candle_nn::conv_transpose2d(input, out, 3, config, vb.pp(name))?.forward(&first(x)?)?)
        });
    }
}

fn norms(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    let partial = |name: &str, scale, center| declared(name, Layer::PartialNorm { scale, center });
    for (name, names) in [
        ("batch_norm", NameMap::keras()),
        ("batch_norm_unscaled", partial("batch_norm_unscaled", false, true)),
        ("batch_norm_plain", partial("batch_norm_plain", false, false)),
    ] {
        visit(name, names, &|vb, x| {
            last(&candle_nn::batch_norm(11, 1e-3, vb.pp(name))?.forward_t(&first(x)?, false)?)
        });
    }
    for (name, names) in [
        ("layer_norm", NameMap::keras()),
        ("layer_norm_unscaled", partial("layer_norm_unscaled", false, true)),
        ("layer_norm_uncentered", partial("layer_norm_uncentered", true, false)),
    ] {
        visit(name, names, &|vb, x| {
            candle_nn::layer_norm(24, 1e-3, vb.pp(name))?.forward(x)
        });
    }
    visit("group_norm", NameMap::keras(), &|vb, x| {
        last(&candle_nn::group_norm(3, 12, 1e-3, vb.pp("group_norm"))?.forward(&first(x)?)?)
    });
    // A group for each channel.
    visit("instance_norm", NameMap::keras(), &|vb, x| {
        last(&candle_nn::group_norm(12, 12, 1e-3, vb.pp("instance_norm"))?.forward(&first(x)?)?)
    });
    visit("rms_norm", NameMap::keras(), &|vb, x| {
        candle_nn::rms_norm(24, 1e-6, vb.pp("rms_norm"))?.forward(x)
    });
}

/// All states of a layer, one behind the other.
fn states<R: RNN>(layer: &R, x: &Tensor, h: impl Fn(&R::State) -> Tensor) -> Result<Tensor> {
    let states: Vec<Tensor> = layer.seq(x)?.iter().map(h).collect();
    Tensor::stack(&states, 1)
}

fn backwards(x: &Tensor) -> Result<Tensor> {
    let len = x.dim(1)? as u32;
    let steps: Vec<u32> = (0..len).rev().collect();
    x.index_select(&Tensor::from_vec(steps, len as usize, &Device::Cpu)?, 1)
}

fn recurrent(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    let half = ForgetBias::new(0.5);
    let lstm = |name: &str, cell| declared(name, Layer::Lstm { cell });
    for (name, input, hidden, names) in [
        ("lstm", 7, 11, NameMap::keras()),
        ("square_lstm", 8, 8, NameMap::keras()),
        ("lstm_no_bias", 7, 11, NameMap::keras()),
        ("old_lstm", 7, 11, NameMap::keras2()),
        (
            "basic_lstm",
            7,
            11,
            lstm("basic_lstm", LstmCell::Basic(ForgetBias::default())),
        ),
        (
            "square_basic_lstm",
            8,
            8,
            lstm("square_basic_lstm", LstmCell::Basic(ForgetBias::default())),
        ),
        ("half_lstm", 7, 11, lstm("half_lstm", LstmCell::Tf1(half))),
        (
            "block_lstm",
            7,
            11,
            lstm("block_lstm", LstmCell::Tf1(ForgetBias::default())),
        ),
        (
            "square_block_lstm",
            8,
            8,
            lstm("square_block_lstm", LstmCell::Tf1(ForgetBias::default())),
        ),
    ] {
        visit(name, names, &|vb, x| {
            let config = match name {
                "lstm_no_bias" => LSTMConfig::default_no_bias(),
                _ => LSTMConfig::default(),
            };
            states(&candle_nn::lstm(input, hidden, config, vb.pp(name))?, x, |state| {
                state.h().clone()
            })
        });
    }
    for (name, input, hidden) in [("gru", 7, 11), ("square_gru", 8, 8), ("old_gru", 7, 11)] {
        visit(name, NameMap::keras(), &|vb, x| {
            states(
                &candle_nn::gru(input, hidden, GRUConfig::default(), vb.pp(name))?,
                x,
                |state| state.h().clone(),
            )
        });
    }
    for name in ["bi_lstm", "old_bi_lstm"] {
        visit(name, NameMap::keras(), &|vb, x| {
            let reverse = LSTMConfig {
                direction: Direction::Backward,
                ..Default::default()
            };
            let forward = candle_nn::lstm(7, 11, Default::default(), vb.pp(name))?;
            let backward = candle_nn::lstm(7, 11, reverse, vb.pp(name))?;
            let forward = states(&forward, x, |state| state.h().clone())?;
            let backward = states(&backward, &backwards(x)?, |state| state.h().clone())?;
            Tensor::cat(&[forward, backwards(&backward)?], 2)
        });
    }
}

/// Attention of its own, for which Candle has no layer.
fn attend(vb: &VarBuilder<'_>, x: &Tensor, heads: usize, size: usize) -> Result<Tensor> {
    let (batch, steps, width) = x.dims3()?;
    let project = |name: &str| -> Result<Tensor> {
        let y = candle_nn::linear(width, heads * size, vb.pp(name))?.forward(x)?;
        y.reshape((batch, steps, heads, size))?.transpose(1, 2)?.contiguous()
    };
    let (query, key, value) = (project("query")?, project("key")?, project("value")?);
    let scores = (query.matmul(&key.t()?)? * (size as f64).powf(-0.5))?;
    let context = candle_nn::ops::softmax(&scores, 3)?.matmul(&value)?;
    let context = context.transpose(1, 2)?.reshape((batch, steps, heads * size))?;
    candle_nn::linear(heads * size, width, vb.pp("output"))?.forward(&context)
}

fn attention(visit: &mut dyn FnMut(&str, NameMap, &Forward<'_>)) {
    for (name, heads, size) in [("attention", 3, 4), ("wide_attention", 2, 5), ("old_attention", 3, 4)] {
        visit(name, declared(name, Layer::MultiHeadAttention { heads }), &|vb, x| {
            attend(&vb.pp(name), x, heads, size)
        });
    }
}
