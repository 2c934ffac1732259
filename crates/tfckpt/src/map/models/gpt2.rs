//! GPT-2, as openai/gpt-2 stores it.

use super::{Layer, NameMap, Rule, head, name};
use crate::layout::Layout;

/// # GPT-2
impl NameMap {
    /// The names of OpenAI's GPT-2, for networks with the paths of Hugging Face whose dense layers are dense layers of the
    /// framework: `candle_nn::linear`, Burn's `Linear`. Paths may begin with `transformer.` or not.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `wte.weight`, `wpe.weight` | `model/wte`, `model/wpe` |
    /// | `h.0.ln_1.weight`, `….bias` | `model/h0/ln_1/g`, `…/b` |
    /// | `h.0.attn.c_attn.weight`, `….bias` | `model/h0/attn/c_attn/w [1, in, 3 * in]`, `…/b` |
    /// | `h.0.attn.c_proj`, `h.0.mlp.c_fc`, `h.0.mlp.c_proj` | `model/h0/attn/c_proj`, `model/h0/mlp/c_fc`, `model/h0/mlp/c_proj` |
    /// | `ln_f` | `model/ln_f` |
    /// | `lm_head.weight` | `model/wte` |
    ///
    /// `c_attn` gives queries, keys and values side by side, in this order. Epsilon is 1e-5, and the GELU is that with tanh.
    pub fn gpt2() -> Self {
        Self::gpt2_with(|rule| rule.layer(Layer::PointwiseConv1d))
    }

    /// As [`gpt2`](Self::gpt2), for networks whose weights are `[in, out]`, as those of the `Conv1D` of Hugging Face are and
    /// with them its files for GPT-2.
    pub fn gpt2_conv1d() -> Self {
        let (ones, permutation) = (1, &[0, 1]);
        Self::gpt2_with(|rule| rule.layout(Layout::Windowed { ones, permutation }))
    }

    fn gpt2_with(kernel: impl Fn(Rule) -> Rule) -> Self {
        let mut rules = vec![
            name("{table:wte|wpe}.weight", "model/{table}").layer(Layer::Embedding),
            name("lm_head.weight", "model/wte").layer(Layer::OutputWeights),
            kernel(name(
                "h.{i}.{part:attn|mlp}.{layer:*}.weight",
                "model/h{i}/{part}/{layer}/w",
            )),
            name("h.{i}.{part:attn|mlp}.{layer:*}.bias", "model/h{i}/{part}/{layer}/b"),
        ];
        let norms = ["model/h{i}/{norm}/g", "model/h{i}/{norm}/b"];
        rules.extend(head("h.{i}.{norm:ln_1|ln_2}", Layer::LayerNorm, norms));
        rules.extend(head("ln_f", Layer::LayerNorm, ["model/ln_f/g", "model/ln_f/b"]));
        NameMap::keras().model_scope("transformer").rules(rules)
    }
}
