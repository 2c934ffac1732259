//! Drafts of layers that are made of several variables.

use super::*;

#[test]
fn a_draft_of_recurrent_layers_is_for_layers() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let original = renamed(dir.path(), &case.variables);
        let _ = &original;
        for parameters in &case.parameters {
            // Under the names that TensorFlow gives, with slots of an optimizer and other layers beside them.
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/layers/model");
            let model = Checkpoint::open(root).unwrap();
            let scope = case.variables[0].0.split('/').next().unwrap();
            let named: Shapes = parameters
                .iter()
                .map(|(path, dims)| (path.replacen("l.", &format!("{scope}."), 1), dims.clone()))
                .collect();
            let mut variables: Shapes = model
                .variables()
                .map(|info| (info.name().into_owned(), info.shape().dims().to_vec()))
                .collect();
            let slots: Shapes = case
                .variables
                .iter()
                .map(|(name, _)| {
                    (
                        format!("{name}/Adam"),
                        model.variable(name).unwrap().shape().dims().to_vec(),
                    )
                })
                .collect();
            variables.extend(slots);
            let draft = Mapping::draft(&named, &variables);
            assert!(draft.missing.is_empty(), "{scope}: {:?}", draft.missing);
            assert_eq!(draft.uncertain.len(), 1, "{scope}: no layer of gates is certain");
            assert!(draft.uncertain[0].reason.contains("order of its gates"));
            let kinds: Vec<(&str, Layer)> = named.iter().map(|(path, _)| (path.as_str(), Layer::Other)).collect();
            draft.mapping.check(&kinds).unwrap();
            let names = NameMap::from(&draft.mapping);
            let (_, report) = loaded(&names, &model, &named, DType::Float32).unwrap();
            for (name, _) in &case.variables {
                assert!(
                    report.contains(&format!("`{name}`")),
                    "{scope}: {name} is not in {report}"
                );
            }
            assert_eq!(Mapping::from_json(&draft.mapping.to_json()).unwrap(), draft.mapping);
        }
    }
    // No variables of its shapes: nothing is proposed, not even for one of its parameters.
    let parameters = pytorch("l", 4, 5, 6);
    let variables = shapes(&[("l/weight_ih_l0", &[24, 5]), ("l/kernel", &[5, 24])]);
    let draft = Mapping::draft(&parameters, &variables);
    assert_eq!((draft.missing.len(), draft.unused.len()), (4, 2));
    assert_eq!(draft.mapping, Mapping::default());
}
