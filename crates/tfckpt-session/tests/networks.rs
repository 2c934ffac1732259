//! Whole networks of real TensorFlow: predictions, gradients and the next steps of their trainings, from graphs and
//! checkpoints alone.

mod support;

use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;
use support::{difference, repository};
use tfckpt::Checkpoint;
use tfckpt_session::{Session, Strings, Value, import_meta_graph};

/// A variable whose gradient is zero in exact arithmetic: what is added to all keys alike changes no softmax.
const NOTHING_BUT_ROUNDING: &str = "attention/self/key/bias";

struct Network {
    session: Session,
    values: Checkpoint,
    cases: Vec<Json>,
    checkpoint: Option<std::path::PathBuf>,
}

fn texts(list: &Json) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|text| text.as_str().unwrap())
        .collect()
}

impl Network {
    fn open(name: &str) -> Self {
        let folder = repository("tests/fixtures/networks").join(name);
        let description: Json = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let path = ["graph", "frozen", "saved_model"]
            .iter()
            .find_map(|key| description[key].as_str())
            .unwrap();
        let graph = import_meta_graph(folder.join(path)).unwrap();
        let session = Session::new(&graph, &Device::Cpu).unwrap();
        let checkpoint = match description["checkpoint"].as_str() {
            Some(prefix) => Some(folder.join(prefix)),
            None => graph.checkpoint().map(std::path::Path::to_owned),
        };
        if let Some(prefix) = &checkpoint {
            session.restore(prefix).unwrap();
        }
        Network {
            session,
            values: Checkpoint::open(folder.join("cases")).unwrap(),
            cases: description["cases"].as_array().unwrap().clone(),
            checkpoint,
        }
    }

    fn case(&self, name: &str) -> &Json {
        let found = self.cases.iter().find(|case| case["name"] == name);
        found.unwrap_or_else(|| panic!("there is no case `{name}`"))
    }

    fn tensor(&self, key: &str) -> Tensor {
        let info = self.values.variable(key).unwrap();
        let dims = info.shape().dims();
        let device = &Device::Cpu;
        match info.dtype() {
            tfckpt::DType::Float32 => Tensor::from_vec(self.values.read::<f32>(key).unwrap(), dims, device),
            tfckpt::DType::Int32 => {
                let values = self.values.read::<i32>(key).unwrap();
                Tensor::from_vec(values.into_iter().map(i64::from).collect::<Vec<i64>>(), dims, device)
            }
            tfckpt::DType::Int64 => Tensor::from_vec(self.values.read::<i64>(key).unwrap(), dims, device),
            tfckpt::DType::Bool => Tensor::from_vec(self.values.read_bytes(key).unwrap(), dims, device),
            other => panic!("{key}: {other}"),
        }
        .unwrap()
    }

    fn feeds<'c>(&self, prefix: &str, names: &[&'c str]) -> Vec<(&'c str, Tensor)> {
        names
            .iter()
            .map(|name| (*name, self.tensor(&format!("{prefix}/{name}"))))
            .collect()
    }

    /// Fails if what was computed is not what TensorFlow computed.
    fn assert_close(&self, key: &str, ours: &Tensor, tolerance: f64) -> f64 {
        let theirs = self.tensor(key);
        assert_eq!(ours.dims(), theirs.dims(), "{key}");
        let found = difference(&numbers(ours), &numbers(&theirs));
        assert!(found < tolerance, "{key}: {found:e}");
        found
    }

    fn predicts(&self) {
        let case = self.case("predict");
        let feeds = self.feeds("predict/feed", &texts(&case["feeds"]));
        let outputs = texts(&case["outputs"]);
        let results = self.session.run(&outputs, &borrowed(&feeds)).unwrap();
        for (name, result) in outputs.iter().zip(&results) {
            let found = self.assert_close(&format!("predict/output/{name}"), result, 1e-5);
            println!("{name}: {found:e}");
        }
    }

    fn has_tensorflows_gradients(&self) {
        let case = self.case("gradients");
        let feeds = self.feeds("gradients/feed", &texts(&case["feeds"]));
        let loss = case["loss"].as_str().unwrap();
        let result = self.session.run_tracked(&[loss], &borrowed(&feeds)).unwrap().remove(0);
        self.assert_close(&format!("gradients/output/{loss}"), &result, 1e-5);
        let gradients = result.backward().unwrap();
        let mut largest = 0f64;
        for name in texts(&case["variables"]) {
            let gradient = gradients.get(&self.session.variable(name).unwrap());
            let gradient = gradient.unwrap_or_else(|| panic!("no gradient of {name}"));
            if name.ends_with(NOTHING_BUT_ROUNDING) {
                let theirs = self.tensor(&format!("gradients/gradient/{name}"));
                let all = [numbers(gradient), numbers(&theirs)].concat();
                assert!(all.into_iter().all(|value| value.abs() < 1e-7), "{name}");
                continue;
            }
            largest = largest.max(self.assert_close(&format!("gradients/gradient/{name}"), gradient, 1e-5));
        }
        println!("largest difference of a gradient: {largest:e}");
    }

    fn trains_on(&self, tolerance: f64) {
        let case = self.case("train");
        let losses = self.tensor("train/losses").to_vec1::<f32>().unwrap();
        let training = self
            .session
            .training_by(case["loss"].as_str().unwrap(), case["train_op"].as_str().unwrap())
            .unwrap();
        // Every variable with a gradient has its slots, whatever the form of its step.
        let slots = &training.optimizer().slots;
        for name in texts(&self.case("gradients")["variables"]) {
            let own = slots.iter().find(|(variable, _)| variable == name);
            assert!(own.is_some_and(|(_, slots)| !slots.is_empty()), "{name} has no slots");
        }
        let mut largest = 0f64;
        for (step, theirs) in losses.iter().enumerate() {
            let feeds = self.feeds(&format!("train/feed/{step}"), &texts(&case["feeds"]));
            let loss = training
                .step(&self.session, &borrowed(&feeds))
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            let difference = f64::from((loss / theirs - 1.0).abs());
            assert!(difference < 1e-5, "step {step}: {loss}, not {theirs}");
            largest = largest.max(difference);
        }
        for name in texts(&case["variables"]) {
            let var = self.session.variable(name).unwrap();
            let found = self.assert_close(&format!("train/variable/{name}"), var.as_tensor(), tolerance);
            largest = largest.max(found);
        }
        println!("{:?}, largest difference {largest:e}", training.optimizer().kind);
        self.session.restore(self.checkpoint.as_ref().unwrap()).unwrap();
    }

    /// Trains on as `session.run(train_op)` does, by the gradients that are nodes of the graph.
    fn executes(&self, tolerance: f64) {
        let case = self.case("train");
        let (loss, train_op) = (case["loss"].as_str().unwrap(), case["train_op"].as_str().unwrap());
        for (step, theirs) in self.tensor("train/losses").to_vec1::<f32>().unwrap().iter().enumerate() {
            let feeds = self.feeds(&format!("train/feed/{step}"), &texts(&case["feeds"]));
            let found = self.session.run(&[loss], &borrowed(&feeds)).unwrap().remove(0);
            let found = found.to_scalar::<f32>().unwrap();
            assert!(
                (found / theirs - 1.0).abs() < 1e-5,
                "step {step}: {found}, not {theirs}"
            );
            self.session.execute(&[train_op], &borrowed(&feeds)).unwrap();
        }
        let mut largest = 0f64;
        for name in texts(&case["variables"]) {
            let var = self.session.variable(name).unwrap();
            let found = self.assert_close(&format!("train/variable/{name}"), var.as_tensor(), tolerance);
            largest = largest.max(found);
        }
        println!("executed, largest difference {largest:e}");
    }

    fn serves(&self) {
        for case in &self.cases {
            let (name, signature) = (case["name"].as_str().unwrap(), case["signature"].as_str().unwrap());
            let feeds = self.feeds(&format!("{name}/feed"), &texts(&case["inputs"]));
            for (output, result) in self.session.run_signature(signature, &borrowed(&feeds)).unwrap() {
                let found = self.assert_close(&format!("{name}/output/{output}"), &result, 1e-5);
                println!("{output}: {found:e}");
            }
        }
    }
}

/// The values of a vector of strings that TensorFlow stored.
fn stored_strings(values: &Checkpoint, key: &str) -> Strings {
    let strings = values.read_strings(key).unwrap();
    let dims = values.variable(key).unwrap().shape().dims().to_vec();
    Strings::new(strings.iter().map(<[u8]>::to_vec).collect(), &dims).unwrap()
}

#[test]
fn what_an_estimator_exports_takes_examples_and_gives_classes_by_name() {
    let network = Network::open("estimator_export");
    let key = |part: &str| format!("serving_default/{part}");
    let examples = stored_strings(&network.values, &key("feed/examples"));
    let feeds = [("examples", Value::Strings(examples.clone()))];
    let outputs = network.session.run_signature_values("serving_default", &feeds).unwrap();
    let [(best_name, Value::Strings(best)), (scores_name, Value::Tensor(scores))] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((best_name.as_str(), scores_name.as_str()), ("best", "scores"));
    assert_eq!(*best, stored_strings(&network.values, &key("output/best")));
    let found = network.assert_close(&key("output/scores"), scores.tensor(), 1e-5);
    println!("scores: {found:e}");

    // Its vocabulary is a file, which is looked for beside the graph alone.
    let folder = repository("tests/fixtures/networks/estimator_export");
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("saved_model.pb"), alone.path().join("saved_model.pb")).unwrap();
    let graph = import_meta_graph(alone.path().join("saved_model.pb")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    session.restore(folder.join("variables/variables")).unwrap();
    let error = session.run_signature_values("serving_default", &feeds).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("`kinds.txt` is not beside the graph"), "{source}");
    let session = session.with_assets(folder.join("assets"));
    let again = session.run_signature_values("serving_default", &feeds).unwrap();
    assert!(matches!(&again[0].1, Value::Strings(found) if found == best));
}

fn borrowed<'c>(feeds: &'c [(&'c str, Tensor)]) -> Vec<(&'c str, &'c Tensor)> {
    feeds.iter().map(|(name, tensor)| (*name, tensor)).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .flatten_all()
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .to_vec1()
        .unwrap()
}

macro_rules! trained {
    ($test:ident, $name:literal, $trains:expr) => {
        #[test]
        fn $test() {
            let network = Network::open($name);
            network.predicts();
            network.has_tensorflows_gradients();
            let tolerance: Option<f64> = $trains;
            if let Some(tolerance) = tolerance {
                network.trains_on(tolerance);
            }
        }
    };
}

trained!(
    a_dense_sigmoid_of_reference_variables_predicts_and_trains_on,
    "dense_ref",
    Some(1e-5)
);
trained!(
    a_dense_sigmoid_of_resource_variables_predicts_and_trains_on,
    "dense_resource",
    Some(1e-5)
);
trained!(a_resnet_with_batch_norm_predicts_and_trains_on, "resnet", Some(1e-5));
trained!(
    a_mobilenet_with_depthwise_convolutions_predicts_and_trains_on,
    "mobilenet",
    Some(1e-5)
);
trained!(a_bert_like_encoder_predicts_and_has_tensorflows_gradients, "bert", None);
trained!(an_lstm_by_a_while_loop_predicts_and_trains_on, "lstm", Some(1e-5));
trained!(
    feature_columns_of_an_estimator_predict_and_have_tensorflows_gradients,
    "estimator",
    None
);

trained!(
    rows_of_partitioned_tables_train_on_by_adagrad,
    "sparse_adagrad",
    Some(1e-5)
);
trained!(
    rows_of_tables_that_are_clipped_train_on_by_ftrl,
    "sparse_ftrl",
    Some(1e-5)
);
trained!(
    rows_of_tables_of_resources_train_on_by_nesterovs_momentum_where_their_gradient_is_zero_too,
    "sparse_momentum",
    Some(1e-5)
);
trained!(
    rows_of_tables_train_on_by_adam_that_takes_its_step_apart,
    "sparse_adam",
    Some(1e-5)
);
trained!(
    rows_of_tables_of_resources_that_are_clipped_train_on_by_adam,
    "sparse_adam_resource",
    Some(1e-5)
);

#[test]
fn the_graphs_own_training_operation_does_the_same_loops_and_rows_included() {
    for name in [
        "lstm",
        "resnet",
        "sparse_adagrad",
        "sparse_ftrl",
        "sparse_momentum",
        "sparse_adam",
        "sparse_adam_resource",
    ] {
        println!("{name}");
        Network::open(name).executes(1e-5);
    }
}

#[test]
fn dropout_and_partitioned_variables_predict() {
    let network = Network::open("dropout_partitioned");
    network.predicts();
    network.has_tensorflows_gradients();
}

#[test]
fn a_frozen_graph_predicts() {
    Network::open("frozen").predicts();
    Network::open("frozen_function").predicts();
}

#[test]
fn saved_models_of_keras_serve() {
    for name in ["keras3_export", "keras2_save", "keras2_lstm_export"] {
        println!("{name}");
        Network::open(name).serves();
    }
}
