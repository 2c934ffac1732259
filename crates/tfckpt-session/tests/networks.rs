//! Whole networks of real TensorFlow: predictions, gradients and the next steps of their trainings, from graphs and
//! checkpoints alone.

mod support;

use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;
use support::{difference, repository};
use tfckpt::Checkpoint;
use tfckpt_session::{Session, import_meta_graph};

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
            let found = self.assert_close(&format!("predict/output/{name}"), result, 1e-4);
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

    fn serves(&self) {
        for case in &self.cases {
            let (name, signature) = (case["name"].as_str().unwrap(), case["signature"].as_str().unwrap());
            let feeds = self.feeds(&format!("{name}/feed"), &texts(&case["inputs"]));
            for (output, result) in self.session.run_signature(signature, &borrowed(&feeds)).unwrap() {
                let found = self.assert_close(&format!("{name}/output/{output}"), &result, 1e-4);
                println!("{output}: {found:e}");
            }
        }
    }
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
    Some(1e-4)
);
trained!(
    a_dense_sigmoid_of_resource_variables_predicts_and_trains_on,
    "dense_resource",
    Some(1e-4)
);
trained!(a_resnet_with_batch_norm_predicts_and_trains_on, "resnet", Some(1e-4));
trained!(
    a_mobilenet_with_depthwise_convolutions_predicts_and_trains_on,
    "mobilenet",
    Some(1e-4)
);
trained!(a_bert_like_encoder_predicts_and_has_tensorflows_gradients, "bert", None);
trained!(an_lstm_by_a_while_loop_predicts_and_trains_on, "lstm", None);
trained!(
    feature_columns_of_an_estimator_predict_and_have_tensorflows_gradients,
    "estimator",
    None
);

#[test]
fn dropout_and_partitioned_variables_predict() {
    let network = Network::open("dropout_partitioned");
    network.predicts();
    network.has_tensorflows_gradients();
}

#[test]
fn a_frozen_graph_predicts() {
    Network::open("frozen").predicts();
}

#[test]
fn saved_models_of_keras_serve() {
    for name in ["keras3_export", "keras2_save", "keras2_lstm_export"] {
        println!("{name}");
        Network::open(name).serves();
    }
}
