//! Burn's layers.

use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
    ConvTranspose3dConfig,
};
use burn::nn::{
    BatchNormConfig, BiGruConfig, BiLstmConfig, BiRnnConfig, Embedding, EmbeddingConfig, GroupNormConfig, GruConfig,
    InstanceNormConfig, LayerNormConfig, Linear, LinearConfig, LstmConfig, PReluConfig, RmsNormConfig, RnnConfig,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use tfckpt::map::{ForgetBias, GruCell, Layer, LstmCell, NameMap, RnnCell};

use super::shared::Values;

/// Looks at each layer in turn.
pub(crate) trait Visit {
    /// `names` are those of a module at the root, in the scope `name`.
    fn layer<M: Module>(&mut self, name: &str, names: NameMap, module: M, forward: impl Fn(&M, &Values) -> Values);
}

/// Two convolutions that TensorFlow takes for one.
#[derive(Module, Debug)]
struct Separable2d {
    depthwise: Conv2d,
    pointwise: Conv2d,
}

#[derive(Module, Debug)]
struct Separable1d {
    depthwise: Conv1d,
    pointwise: Conv1d,
}

/// A table, and a dense layer with the same weights.
#[derive(Module, Debug)]
pub(crate) struct Tied {
    pub(crate) table: Embedding,
    pub(crate) decoder: Linear,
}

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn input<const D: usize>(x: &Values) -> Tensor<D> {
    Tensor::from_data(TensorData::new(x.values.clone(), x.dims.clone()), &device())
}

fn ids(x: &Values) -> Tensor<2, Int> {
    let ids: Vec<i32> = x.values.iter().map(|id| *id as i32).collect();
    Tensor::from_data(TensorData::new(ids, x.dims.clone()), &device())
}

pub(crate) fn output<const D: usize>(y: Tensor<D>) -> Values {
    Values {
        dims: y.dims().to_vec(),
        values: y.into_data().try_to_vec().expect("it is float32"),
    }
}

/// Channels first.
fn first<const D: usize>(x: &Values) -> Tensor<D> {
    let axes: [isize; D] = std::array::from_fn(|axis| match axis {
        0 => 0,
        1 => D as isize - 1,
        axis => axis as isize - 1,
    });
    input::<D>(x).permute(axes)
}

/// Channels last.
fn last<const D: usize>(y: Tensor<D>) -> Values {
    let axes: [isize; D] = std::array::from_fn(|axis| match axis {
        0 => 0,
        axis if axis == D - 1 => 1,
        axis => axis as isize + 1,
    });
    output(y.permute(axes))
}

/// Shows all layers that Burn has.
pub(crate) fn each(visit: &mut impl Visit) {
    dense(visit);
    convolutions(visit);
    norms(visit);
    recurrent(visit);
    attention(visit);
}

/// Keras' names, in a scope, of a layer of this kind.
pub(crate) fn declared(name: &str, layer: Layer) -> NameMap {
    NameMap::keras().scope(name).with_layer("", layer)
}

fn dense(visit: &mut impl Visit) {
    let device = &device();
    for (name, sizes) in [("dense", [13, 19]), ("square_dense", [16, 16])] {
        let layer = LinearConfig::new(sizes[0], sizes[1]).init(device);
        visit.layer(name, NameMap::keras().scope(name), layer, |layer, x| {
            output(layer.forward(input::<2>(x)))
        });
    }
    let head = LinearConfig::new(13, 5).init(device);
    let names = declared("head", Layer::OutputWeights);
    visit.layer("head", names, head, |layer, x| output(layer.forward(input::<2>(x))));
    for (name, sizes) in [("embedding", [23, 9]), ("square_embedding", [16, 16])] {
        let layer = EmbeddingConfig::new(sizes[0], sizes[1]).init(device);
        visit.layer(name, NameMap::keras().scope(name), layer, |layer, x| {
            output(layer.forward(ids(x)))
        });
    }
    let tied = Tied {
        table: EmbeddingConfig::new(16, 9).init(device),
        decoder: LinearConfig::new(9, 16).init(device),
    };
    visit.layer("tied", tied_names(), tied, |tied, x| {
        output(tied.decoder.forward(tied.table.forward(ids(x))))
    });
    let prelu = PReluConfig::new().with_num_parameters(13).init(device);
    visit.layer("prelu", NameMap::keras().scope("prelu"), prelu, |layer, x| {
        output(layer.forward(input::<2>(x)))
    });
    let prelu = PReluConfig::new().with_num_parameters(7).init(device);
    let names = declared("prelu_shared", Layer::SharedPRelu { axes: 2 });
    visit.layer("prelu_shared", names, prelu, |layer, x| {
        last(layer.forward(first::<4>(x)))
    });
}

/// One variable fills both.
pub(crate) fn tied_names() -> NameMap {
    NameMap::keras()
        .rename("table.weight", "tied/word_embeddings")
        .rename("decoder.weight", "tied/word_embeddings")
        .rename("decoder.bias", "tied/output_bias")
        .with_layer("decoder", Layer::OutputWeights)
}

fn convolutions(visit: &mut impl Visit) {
    let device = &device();
    let plain = |name: &str| NameMap::keras().scope(name);
    let layer = Conv1dConfig::new(5, 7, 4).init(device);
    visit.layer("conv1d", plain("conv1d"), layer, |layer, x| {
        last(layer.forward(first::<3>(x)))
    });
    for (name, channels, kernel, groups) in [
        ("conv2d", [5, 7], [3, 2], 1),
        ("conv2d_k3", [5, 7], [3, 3], 1),
        ("square_conv2d", [3, 3], [3, 3], 1),
        ("grouped", [8, 6], [3, 3], 2),
    ] {
        let layer = Conv2dConfig::new(channels, kernel).with_groups(groups).init(device);
        visit.layer(name, plain(name), layer, |layer, x| last(layer.forward(first::<4>(x))));
    }
    let layer = Conv3dConfig::new([3, 4], [2, 3, 4]).init(device);
    visit.layer("conv3d", plain("conv3d"), layer, |layer, x| {
        last(layer.forward(first::<5>(x)))
    });
    let layer = Conv1dConfig::new(6, 9, 4).with_groups(3).init(device);
    visit.layer("grouped1d", plain("grouped1d"), layer, |layer, x| {
        last(layer.forward(first::<3>(x)))
    });

    let layer = Conv1dConfig::new(5, 10, 4).with_groups(5).init(device);
    let names = declared("depthwise1d", Layer::DepthwiseConv1d { multiplier: 2 });
    visit.layer("depthwise1d", names, layer, |layer, x| {
        last(layer.forward(first::<3>(x)))
    });
    for (name, channels, multiplier, kernel) in [
        ("depthwise", 5, 2, [3, 2]),
        ("depthwise_k3", 4, 3, [3, 3]),
        ("square_depthwise", 3, 1, [3, 3]),
        ("old_depthwise", 5, 2, [3, 3]),
    ] {
        let config = Conv2dConfig::new([channels, channels * multiplier], kernel).with_groups(channels);
        let names = if name.starts_with("old") {
            NameMap::keras2()
        } else {
            NameMap::keras3()
        };
        let names = names.scope(name).with_layer("", Layer::DepthwiseConv2d { multiplier });
        visit.layer(name, names, config.init(device), |layer, x| {
            last(layer.forward(first::<4>(x)))
        });
    }
    let layer = Separable1d {
        depthwise: Conv1dConfig::new(5, 10, 4).with_groups(5).with_bias(false).init(device),
        pointwise: Conv1dConfig::new(10, 7, 1).init(device),
    };
    let names = declared("separable1d", Layer::SeparableConv1d { multiplier: 2 });
    visit.layer("separable1d", names, layer, |layer, x| {
        last(layer.pointwise.forward(layer.depthwise.forward(first::<3>(x))))
    });
    for name in ["separable", "old_separable"] {
        let layer = Separable2d {
            depthwise: Conv2dConfig::new([5, 10], [3, 3])
                .with_groups(5)
                .with_bias(false)
                .init(device),
            pointwise: Conv2dConfig::new([10, 7], [1, 1]).init(device),
        };
        let names = declared(name, Layer::SeparableConv2d { multiplier: 2 });
        visit.layer(name, names, layer, |layer, x| {
            last(layer.pointwise.forward(layer.depthwise.forward(first::<4>(x))))
        });
    }

    let layer = ConvTranspose1dConfig::new([5, 7], 4).with_stride(2).init(device);
    visit.layer("up1d", plain("up1d"), layer, |layer, x| {
        last(layer.forward(first::<3>(x)))
    });
    for (name, channels, stride) in [("up2d", [4, 7], [2, 2]), ("square_up2d", [3, 3], [1, 1])] {
        let layer = ConvTranspose2dConfig::new(channels, [3, 3])
            .with_stride(stride)
            .init(device);
        visit.layer(name, plain(name), layer, |layer, x| last(layer.forward(first::<4>(x))));
    }
    let layer = ConvTranspose3dConfig::new([3, 4], [2, 3, 2])
        .with_stride([2, 2, 2])
        .init(device);
    visit.layer("up3d", plain("up3d"), layer, |layer, x| {
        last(layer.forward(first::<5>(x)))
    });
}

fn norms(visit: &mut impl Visit) {
    let device = &device();
    let plain = |name: &str| NameMap::keras().scope(name);
    let partial = |name: &str, scale, center| declared(name, Layer::PartialNorm { scale, center });
    for (name, names) in [
        ("batch_norm", plain("batch_norm")),
        ("batch_norm_unscaled", partial("batch_norm_unscaled", false, true)),
        ("batch_norm_plain", partial("batch_norm_plain", false, false)),
    ] {
        let layer = BatchNormConfig::new(11).with_epsilon(1e-3).init(device);
        visit.layer(name, names, layer, |layer, x| last(layer.forward(first::<4>(x))));
    }
    for (name, names) in [
        ("layer_norm", plain("layer_norm")),
        ("layer_norm_unscaled", partial("layer_norm_unscaled", false, true)),
        ("layer_norm_uncentered", partial("layer_norm_uncentered", true, false)),
    ] {
        let layer = LayerNormConfig::new(24).with_epsilon(1e-3).init(device);
        visit.layer(name, names, layer, |layer, x| output(layer.forward(input::<3>(x))));
    }
    let layer = GroupNormConfig::new(3, 12).with_epsilon(1e-3).init(device);
    visit.layer("group_norm", plain("group_norm"), layer, |layer, x| {
        last(layer.forward(first::<4>(x)))
    });
    let layer = InstanceNormConfig::new(12).with_epsilon(1e-3).init(device);
    visit.layer("instance_norm", plain("instance_norm"), layer, |layer, x| {
        last(layer.forward(first::<4>(x)))
    });
    let layer = RmsNormConfig::new(24).with_epsilon(1e-6).init(device);
    visit.layer("rms_norm", plain("rms_norm"), layer, |layer, x| {
        output(layer.forward(input::<3>(x)))
    });
}

fn recurrent(visit: &mut impl Visit) {
    let device = &device();
    let half = ForgetBias::new(0.5);
    let lstm = |name: &str, cell| declared(name, Layer::Lstm { cell });
    for (name, sizes, bias, names) in [
        ("lstm", [7, 11], true, NameMap::keras().scope("lstm")),
        ("square_lstm", [8, 8], true, NameMap::keras().scope("square_lstm")),
        ("lstm_no_bias", [7, 11], false, NameMap::keras().scope("lstm_no_bias")),
        ("old_lstm", [7, 11], true, NameMap::keras2().scope("old_lstm")),
        (
            "basic_lstm",
            [7, 11],
            true,
            lstm("basic_lstm", LstmCell::Basic(ForgetBias::default())),
        ),
        (
            "square_basic_lstm",
            [8, 8],
            true,
            lstm("square_basic_lstm", LstmCell::Basic(ForgetBias::default())),
        ),
        ("half_lstm", [7, 11], true, lstm("half_lstm", LstmCell::Tf1(half))),
        (
            "block_lstm",
            [7, 11],
            true,
            lstm("block_lstm", LstmCell::Tf1(ForgetBias::default())),
        ),
        (
            "square_block_lstm",
            [8, 8],
            true,
            lstm("square_block_lstm", LstmCell::Tf1(ForgetBias::default())),
        ),
    ] {
        let layer = LstmConfig::new(sizes[0], sizes[1], bias).init(device);
        visit.layer(name, names, layer, |layer, x| {
            output(layer.forward(input::<3>(x), None).0)
        });
    }
    let gru = |name: &str, cell| declared(name, Layer::Gru { cell });
    for (name, sizes, after, names) in [
        ("gru", [7, 11], true, NameMap::keras().scope("gru")),
        ("square_gru", [8, 8], true, NameMap::keras().scope("square_gru")),
        ("old_gru", [7, 11], true, NameMap::keras2().scope("old_gru")),
        ("gru_before", [7, 11], false, gru("gru_before", GruCell::KerasBefore)),
        ("old_gru_cell", [7, 11], false, gru("old_gru_cell", GruCell::Tf1)),
    ] {
        let layer = GruConfig::new(sizes[0], sizes[1], true)
            .with_reset_after(after)
            .init(device);
        visit.layer(name, names, layer, |layer, x| {
            output(layer.forward(input::<3>(x), None))
        });
    }
    for (name, names) in [
        ("rnn", NameMap::keras().scope("rnn")),
        ("basic_rnn", declared("basic_rnn", Layer::Rnn { cell: RnnCell::Tf1 })),
    ] {
        let layer = RnnConfig::new(7, 11, true).init(device);
        visit.layer(name, names, layer, |layer, x| {
            output(layer.forward(input::<3>(x), None).0)
        });
    }
    for name in ["bi_lstm", "old_bi_lstm"] {
        let layer = BiLstmConfig::new(7, 11, true).init(device);
        visit.layer(name, NameMap::keras().scope(name), layer, |layer, x| {
            output(layer.forward(input::<3>(x), None).0)
        });
    }
    let layer = BiGruConfig::new(7, 11, true).init(device);
    visit.layer("bi_gru", NameMap::keras().scope("bi_gru"), layer, |layer, x| {
        output(layer.forward(input::<3>(x), None).0)
    });
    let layer = BiRnnConfig::new(7, 11, true).init(device);
    visit.layer("bi_rnn", NameMap::keras().scope("bi_rnn"), layer, |layer, x| {
        output(layer.forward(input::<3>(x), None).0)
    });
}

fn attention(visit: &mut impl Visit) {
    for name in ["attention", "old_attention"] {
        let layer: MultiHeadAttention = MultiHeadAttentionConfig::new(12, 3).with_dropout(0.0).init(&device());
        let names = declared(name, Layer::MultiHeadAttention { heads: 3 });
        visit.layer(name, names, layer, |layer, x| {
            output(layer.forward(MhaInput::self_attn(input::<3>(x))).context)
        });
    }
}
