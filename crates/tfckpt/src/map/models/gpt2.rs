//! GPT-2, as openai/gpt-2 stores it.

use super::{Layer, NameMap, Rule, name, part};
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
    /// `c_attn` gives queries, keys and values side by side, in this order. Networks that have them apart, as those with a
    /// `MultiHeadAttention` of Burn, get the parts, and give them back together:
    ///
    /// | attention of one's own | Burn's `TransformerEncoder` with `norm_first` | TensorFlow |
    /// |---|---|---|
    /// | `h.0.attn.query`, `.key`, `.value` | `layers.0.mha.query`, `.key`, `.value` | `model/h0/attn/c_attn`, a third each |
    /// | `h.0.attn.output` | `layers.0.mha.output` | `model/h0/attn/c_proj` |
    /// | | `layers.0.norm_2`, `layers.0.norm_1` | `model/h0/ln_1`, `model/h0/ln_2` |
    /// | | `layers.0.pwff.linear_inner`, `.linear_outer` | `model/h0/mlp/c_fc`, `model/h0/mlp/c_proj` |
    ///
    /// Burn normalizes before the attention with `norm_2`, and before the dense layers with `norm_1`. Epsilon is 1e-5, and the
    /// GELU is that with tanh.
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
        ];
        let dense = |path: &str, place: &str| {
            let weight = name(&format!("{path}.weight"), &format!("model/h{{i}}/{place}/w"));
            let bias = name(&format!("{path}.bias"), &format!("model/h{{i}}/{place}/b"));
            [kernel(weight), bias]
        };
        for module in ["h.{i}.attn", "layers.{i}.mha"] {
            for (number, field) in ["query", "key", "value"].into_iter().enumerate() {
                let [weight, bias] = dense(&format!("{module}.{field}"), "attn/c_attn");
                rules.extend([part(weight, 2, number, 3), part(bias, 0, number, 3)]);
            }
            rules.extend(dense(&format!("{module}.output"), "attn/c_proj"));
        }
        rules.extend(dense("layers.{i}.pwff.linear_inner", "mlp/c_fc"));
        rules.extend(dense("layers.{i}.pwff.linear_outer", "mlp/c_proj"));
        rules.extend(dense("h.{i}.{part:attn|mlp}.{layer:*}", "{part}/{layer}"));
        rules.extend(norm("h.{i}.{norm:ln_1|ln_2}", "model/h{i}/{norm}"));
        rules.extend(norm("layers.{i}.norm_2", "model/h{i}/ln_1"));
        rules.extend(norm("layers.{i}.norm_1", "model/h{i}/ln_2"));
        rules.extend(norm("ln_f", "model/ln_f"));
        NameMap::keras().model_scope("transformer").rules(rules)
    }
}

/// A layer normalization, by the names of either framework.
fn norm(module: &str, place: &str) -> [Rule; 2] {
    let of = |fields, leaf| {
        let rule = name(&format!("{module}.{{field:{fields}}}"), &format!("{place}/{leaf}"));
        rule.layer(Layer::LayerNorm)
    };
    [of("weight|gamma", "g"), of("bias|beta", "b")]
}
