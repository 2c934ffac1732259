//! Names, layouts and casts of presets and rules.

use super::*;
use crate::layout::Layout;
use crate::map::layer::DenseOrder;

#[test]
fn each_layer_has_the_names_of_keras() {
    let names = NameMap::keras();
    let cases = [
        ("a.b.weight", Layer::Dense, "a/b/kernel"),
        ("c.weight", Layer::Conv2d, "c/kernel"),
        ("c.bias", Layer::Conv2d, "c/bias"),
        ("n.weight", Layer::BatchNorm, "n/gamma"),
        ("n.gamma", Layer::BatchNorm, "n/gamma"),
        ("n.running_var", Layer::BatchNorm, "n/moving_variance"),
        ("n.bias", Layer::LayerNorm, "n/beta"),
        ("n.weight", Layer::RmsNorm, "n/scale"),
        ("e.weight", Layer::Embedding, "e/embeddings"),
        ("p.weight", Layer::PRelu, "p/alpha"),
        ("x.weight", Layer::Other, "x/weight"),
        ("scale", Layer::Other, "scale"),
        ("weight", Layer::Dense, "kernel"),
    ];
    for (path, layer, name) in cases {
        assert_eq!(names.names(path, layer), [name]);
    }
    let depthwise = Layer::DepthwiseConv2d { multiplier: 1 };
    assert_eq!(names.names("d.weight", depthwise), ["d/kernel", "d/depthwise_kernel"]);
    assert_eq!(
        NameMap::keras2().names("d.weight", depthwise),
        ["d/depthwise_kernel", "d/kernel"]
    );
}

#[test]
fn identity_changes_neither_name_nor_layout() {
    let names = NameMap::identity();
    assert_eq!(names.names("a.fc.weight", Layer::Dense), ["a.fc.weight"]);
    assert_eq!(
        names.layout("a.fc.weight", Layer::Dense, DenseOrder::OutIn),
        Layout::Same
    );
    assert_eq!(
        NameMap::keras().layout("a.fc.weight", Layer::Dense, DenseOrder::InOut),
        Layout::Same
    );
    let transposed = Layout::Permuted(&[1, 0]);
    assert_eq!(
        NameMap::keras().layout("a.fc.weight", Layer::Dense, DenseOrder::OutIn),
        transposed
    );
}

#[test]
fn a_scope_goes_in_front_but_not_of_given_names() {
    let names = NameMap::keras().scope("model").rename("fc.bias", "b");
    assert_eq!(names.names("fc.weight", Layer::Dense), ["model/fc/kernel"]);
    assert_eq!(names.names("fc.bias", Layer::Dense), ["b"]);
    let rule = Rule::name("fc.weight", "w").unwrap();
    assert_eq!(names.rules([rule]).names("fc.weight", Layer::Dense), ["model/w"]);
}

#[test]
fn slim_keeps_the_batch_normalization_in_its_convolution() {
    let names = NameMap::slim().scope("MobilenetV1");
    let cases = [
        ("fc.weight", Layer::Dense, "MobilenetV1/fc/weights"),
        ("fc.bias", Layer::Conv2d, "MobilenetV1/fc/biases"),
        ("c.bn.weight", Layer::BatchNorm, "MobilenetV1/c/BatchNorm/gamma"),
        (
            "c.bn.running_mean",
            Layer::BatchNorm,
            "MobilenetV1/c/BatchNorm/moving_mean",
        ),
        ("bn.bias", Layer::BatchNorm, "MobilenetV1/BatchNorm/beta"),
        ("c.bn1.bias", Layer::BatchNorm, "MobilenetV1/c/bn1/beta"),
        ("c.norm.bias", Layer::LayerNorm, "MobilenetV1/c/norm/beta"),
        (
            "d.weight",
            Layer::DepthwiseConv2d { multiplier: 1 },
            "MobilenetV1/d/depthwise_weights",
        ),
    ];
    for (path, layer, name) in cases {
        assert_eq!(names.names(path, layer), [name]);
    }
}

#[test]
fn layers_without_names_are_numbered_as_their_library_does() {
    use Layer::*;
    let modules = [
        ("a", Conv2d),
        ("n", BatchNorm),
        ("b", Conv2d),
        ("m", BatchNorm),
        ("f.c", Dense),
    ];
    let names_of = |names: NameMap, path, layer| names.numbered(modules).names(path, layer);
    assert_eq!(names_of(NameMap::tf_layers(), "b.weight", Conv2d), ["conv2d_1/kernel"]);
    assert_eq!(
        names_of(NameMap::keras2(), "m.bias", BatchNorm),
        ["batch_normalization_1/beta"]
    );
    assert_eq!(names_of(NameMap::slim(), "b.weight", Conv2d), ["Conv_1/weights"]);
    assert_eq!(
        names_of(NameMap::slim(), "f.c.weight", Dense),
        ["fully_connected/weights"]
    );
    let objects = names_of(NameMap::object_paths("model"), "f.c.weight", Dense);
    assert_eq!(
        objects,
        [
            "model/layer_with_weights-4/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "model/layer_with_weights-4/kernel",
            "model/layer_with_weights-4/_kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "model/layer_with_weights-4/_kernel",
        ]
    );
}

#[test]
fn scopes_of_either_side_come_and_go() {
    let names = NameMap::keras().model_scope("bert");
    assert_eq!(names.names("bert.fc.weight", Layer::Dense), ["fc/kernel"]);
    assert_eq!(names.names("head.weight", Layer::Dense), ["head/kernel"]);
    let rules = [Rule::scope("encoder.layer.{i}", "layer_{i}").unwrap()];
    let names = NameMap::keras().rules(rules).within("encoder");
    assert_eq!(names.names("layer.3.fc.weight", Layer::Dense), ["layer_3/fc/kernel"]);
    assert_eq!(names.names("x.weight", Layer::Dense), ["encoder/x/kernel"]);
}

#[test]
fn averages_are_what_is_asked_for() {
    let names = |averages, path| NameMap::keras().averages(averages).names(path, Layer::BatchNorm);
    let (gamma, mean) = ("n.weight", "n.running_mean");
    assert_eq!(names(Averages::Never, gamma), ["n/gamma"]);
    assert_eq!(names(Averages::Trained, gamma), ["n/gamma/ExponentialMovingAverage"]);
    assert_eq!(names(Averages::Trained, mean), ["n/moving_mean"]);
    assert_eq!(names(Averages::All, mean), ["n/moving_mean/ExponentialMovingAverage"]);
    assert_eq!(
        names(Averages::WhereThere, mean),
        ["n/moving_mean/ExponentialMovingAverage", "n/moving_mean"]
    );
}

#[test]
fn rules_declare_layers_and_layouts() {
    let depthwise = Layer::DepthwiseConv2d { multiplier: 1 };
    let names = NameMap::keras().rules([
        Rule::kind("blocks.{i}.dw", depthwise).unwrap(),
        Rule::scope("stem", "first").unwrap().layer(Layer::Embedding),
        Rule::name("head.weight", "out").unwrap().layout(Layout::Same),
        Rule::name("table.weight", "words").unwrap().layer(Layer::Embedding),
    ]);
    assert_eq!(names.layer("blocks.3.dw", Layer::Conv2d), depthwise);
    assert_eq!(names.names("stem.weight", Layer::Dense), ["first/embeddings"]);
    assert_eq!(names.names("stem.fc.weight", Layer::Dense), ["first/fc/kernel"]);
    let layout = |path| names.layout(path, Layer::Dense, DenseOrder::OutIn);
    assert_eq!(layout("head.weight"), Layout::Same);
    assert_eq!(layout("table.weight"), Layout::Same);
    assert_eq!(names.parameter_layer("table.weight", Layer::Dense), Layer::Embedding);
    assert_eq!(layout("fc.weight"), Layout::Permuted(&[1, 0]));
}

#[test]
fn a_parameter_takes_what_its_framework_lacks_and_what_is_cast() {
    use DType::*;
    let lacks = [Int8, Uint16, Uint64, Bool, Float8E5m2];
    let accepts = |casts, own| NameMap::keras().cast(casts).accepts(own, &lacks);
    assert_eq!(accepts(Casts::Never, Float32), [Float32, Float8E5m2]);
    assert_eq!(accepts(Casts::Never, Int16), [Int16, Int8]);
    assert_eq!(accepts(Casts::Never, Int64), [Int64, Int8, Uint16, Uint64]);
    assert_eq!(accepts(Casts::Never, Uint32), [Uint32, Uint16]);
    assert_eq!(accepts(Casts::Never, Uint8), [Uint8, Bool]);
    let exact = accepts(Casts::Exact, Float32);
    assert!(
        exact.contains(&Float16) && exact.contains(&Int8) && !exact.contains(&Float64),
        "{exact:?}"
    );
    let lossy = accepts(Casts::Lossy, Float32);
    assert!(
        lossy.contains(&Float64) && lossy.contains(&Int64) && !lossy.contains(&Complex64),
        "{lossy:?}"
    );
    assert!(!accepts(Casts::Lossy, Int32).contains(&Float32));
}

#[test]
fn layers_of_the_users_own_are_declared_by_path_or_type() {
    let names = NameMap::keras()
        .with_type("MyLinear", Layer::Dense)
        .with_layer("mine", Layer::Dense);
    assert_eq!(names.layer_of_type("MyLinear"), Some(Layer::Dense));
    assert_eq!(names.layer_of_type("Linear"), None);
    assert_eq!(names.names("mine.w", Layer::Other), ["mine/kernel"]);
    assert_eq!(names.names("other.w", Layer::Other), ["other/w"]);
}
