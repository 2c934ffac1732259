//! Parts of variables, by rules in code.

use super::*;

#[test]
fn parts_by_rules_are_laid_out_as_their_layer_says() {
    // GPT-2 keeps queries, keys and values in one convolution with a window of 1.
    let dir = tempfile::tempdir().unwrap();
    let kernel: Vec<f32> = (0..2 * 12).map(|i| i as f32).collect();
    let bias: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let variables = [
        Variable::new("model/h1/c_attn/w", [1, 2, 12], &kernel),
        Variable::new("model/h1/c_attn/b", [12], &bias),
    ];
    Saver::new(dir.path()).save(variables, 1).unwrap();
    let original = Checkpoint::open(dir.path()).unwrap();
    let rules = |part: &str, number: usize| {
        let name = |field: &str, leaf: &str| {
            Rule::name(&format!("h.{{i}}.{part}.{field}"), &format!("h{{i}}/c_attn/{leaf}")).unwrap()
        };
        [
            name("weight", "w")
                .layer(Layer::PointwiseConv1d)
                .part(2, number, 3)
                .unwrap(),
            name("bias", "b").part(0, number, 3).unwrap(),
        ]
    };
    let all = [("q", 0), ("k", 1), ("v", 2)]
        .into_iter()
        .flat_map(|(part, number)| rules(part, number));
    let names = NameMap::keras().scope("model").rules(all).model_scope("gpt");
    let parameters: Shapes = ["q", "k", "v"]
        .iter()
        .flat_map(|part| {
            shapes(&[
                (&format!("gpt.h.1.{part}.weight"), &[4, 2]),
                (&format!("gpt.h.1.{part}.bias"), &[4]),
            ])
        })
        .collect();
    let (values, report) = loaded(&names, &original, &parameters, DType::Float32).unwrap();
    let floats = |path: &str| -> Vec<f32> {
        let (_, bytes) = &values[path];
        bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect()
    };
    // [out, in], of `[1, in, 3 * out]`.
    assert_eq!(floats("gpt.h.1.k.weight"), [4., 16., 5., 17., 6., 18., 7., 19.]);
    assert_eq!(floats("gpt.h.1.v.bias"), [8., 9., 10., 11.]);
    assert!(
        report.contains("`gpt.h.1.k.weight` from `model/h1/c_attn/w`, part 1 of 3 along axis 2, transposed"),
        "{report}"
    );
    let back = tempfile::tempdir().unwrap();
    let again = saved(&names, back.path(), &parameters, &values).unwrap();
    assert_eq!(contents(&again), contents(&original));
    // Without one of them it cannot be saved, and of another size it is not loaded.
    let error = saved(&names, back.path(), &parameters[..4].to_vec(), &values)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("model/h1/c_attn/b") || error.contains("model/h1/c_attn/w"),
        "{error}"
    );
    let small = shapes(&[("gpt.h.1.k.weight", &[3, 2])]);
    let error = loaded(&names, &original, &small, DType::Float32)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("float32 [1, 2, 9]") && error.contains("float32 [1, 2, 12]"),
        "{error}"
    );
    // Rules that cannot be.
    assert!(Rule::name("a", "b").unwrap().part(0, 3, 3).is_err());
    assert!(Rule::scope("a", "b").unwrap().part(0, 0, 3).is_err());
    assert!(Rule::name("a", "b").unwrap().part(0, 0, 1 << 40).is_err());
}
