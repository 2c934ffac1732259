//! The networks of Candle that `fixtures/make/models.py` has built in TensorFlow: what the tests compare, and what the peer of
//! `tests/interop` changes and gives back.
#![allow(
    dead_code,
    unused_imports,
    reason = "the tests use some of it, the peer of tests/interop the rest"
)]

pub(crate) mod albert;
pub(crate) mod bert;
pub(crate) mod efficientnet;
pub(crate) mod electra;
pub(crate) mod gpt2;
mod kept;
pub(crate) mod mobilebert;
pub(crate) mod mobilenet;
mod parts;
pub(crate) mod resnet;
pub(crate) mod t5;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
pub(crate) use kept::Kept;
use tfckpt::map::NameMap;

/// What a network computes, by the names of the outputs in TensorFlow.
pub(crate) type Outputs = Vec<(&'static str, Tensor)>;

/// A network that computes with the inputs that were kept.
pub(crate) trait Network {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs>;
}

/// A network, or one of several that are in a checkpoint together.
pub(crate) struct Case {
    /// The outputs that are its own begin so.
    pub(crate) outputs: &'static str,
    pub(crate) names: NameMap,
    pub(crate) build: Build,
}

type Build = fn(&VarBuilder<'_>) -> Result<Box<dyn Network>>;

/// The one that is called so: as in `fixtures/make/models.py`, or as that and its preset.
pub(crate) fn case(name: &str) -> Option<Case> {
    let (outputs, names, build): (_, _, Build) = match name {
        "bert" => ("tanh/", NameMap::bert(), |vb| {
            Ok(Box::new(bert::Pretrained::new(vb, bert::TANH, 2)?))
        }),
        "bert_classifier" => ("", NameMap::bert(), |vb| Ok(Box::new(bert::FineTuned::new(vb)?))),
        "albert" => ("", NameMap::albert(), |vb| Ok(Box::new(albert::Albert::new(vb)?))),
        "electra_small" => ("", NameMap::electra(), |vb| Ok(Box::new(electra::Projecting::new(vb)?))),
        "electra_small generator" => ("generator/", NameMap::electra_generator(), |vb| {
            Ok(Box::new(electra::Generator::new(vb, 12)?))
        }),
        "electra_base" => ("", NameMap::electra(), |vb| Ok(Box::new(electra::Base::new(vb)?))),
        "electra_base generator" => ("generator/", NameMap::electra_generator(), |vb| {
            Ok(Box::new(electra::Generator::new(vb, 16)?))
        }),
        "electra_untied generator" => ("generator/", NameMap::electra_untied_generator(), |vb| {
            Ok(Box::new(electra::WideGenerator::new(vb, 8, 2)?))
        }),
        "electra_tied generator" => ("generator/", NameMap::electra_tied_generator(), |vb| {
            Ok(Box::new(electra::WideGenerator::new(vb, 16, 4)?))
        }),
        "electra_tasks mnli" => ("mnli/", NameMap::electra_task("mnli"), |vb| {
            Ok(Box::new(electra::Classes::new(vb)?))
        }),
        "electra_tasks squad" => ("squad/", NameMap::electra_task("squad"), |vb| {
            Ok(Box::new(electra::Answers::new(vb)?))
        }),
        "mobilebert" => ("", NameMap::mobilebert(), |vb| {
            Ok(Box::new(mobilebert::MobileBert::new(vb)?))
        }),
        "gpt2" => ("", NameMap::gpt2(), |vb| {
            Ok(Box::new(gpt2::Gpt2::new(vb, gpt2::as_linear)?))
        }),
        "gpt2 conv1d" => ("", NameMap::gpt2_conv1d(), |vb| {
            Ok(Box::new(gpt2::Gpt2::new(vb, gpt2::as_conv1d)?))
        }),
        "t5" => ("", NameMap::t5(), |vb| Ok(Box::new(t5::T5::new(vb, false)?))),
        "mt5" => ("", NameMap::mt5(), |vb| Ok(Box::new(t5::T5::new(vb, true)?))),
        "mobilenet_v1" => ("", NameMap::mobilenet_v1(), |vb| {
            Ok(Box::new(mobilenet::MobileNet::v1(vb)?))
        }),
        "mobilenet_v2" => ("", NameMap::mobilenet_v2(), |vb| {
            Ok(Box::new(mobilenet::MobileNet::v2(vb)?))
        }),
        "resnet_v1" => ("", resnet::names_v1(), |vb| Ok(Box::new(resnet::V1::new(vb)?))),
        "resnet_v2" => ("", resnet::names_v2(), |vb| Ok(Box::new(resnet::V2::new(vb)?))),
        "efficientnet" => ("", efficientnet::names(), |vb| {
            Ok(Box::new(efficientnet::Efficient::new(vb)?))
        }),
        _ => return None,
    };
    Some(Case { outputs, names, build })
}
