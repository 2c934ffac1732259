//! The digits network that TensorFlow began: predicted, trained on, saved, from its `.meta` and checkpoint alone.

mod support;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use support::{difference, digits, repository};
use tfckpt_session::{Session, Setting, import_meta_graph};

const BATCH: usize = 50;

fn expected() -> Value {
    let bytes = std::fs::read(repository("data/tf-digits/expected.json")).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["saver"].clone()
}

fn session(step: usize) -> Session {
    let prefix = repository(&format!("data/tf-digits/saver/model.ckpt-{step}"));
    let graph = import_meta_graph(format!("{}.meta", prefix.display())).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    assert_eq!(session.restore(&prefix).unwrap().loaded.len(), 21);
    session
}

fn assert_predicts_like_tensorflow(session: &Session) {
    let (images, labels) = digits();
    let test = images.narrow(0, 1500, 297).unwrap();
    let logits = session
        .run(&["dense/logits:0"], &[("image:0", &test)])
        .unwrap()
        .remove(0);
    let chosen = logits.argmax(1).unwrap().to_dtype(DType::I64).unwrap();
    let right = chosen.eq(&labels.narrow(0, 1500, 297).unwrap()).unwrap();
    let accuracy = right
        .to_dtype(DType::F64)
        .unwrap()
        .mean_all()
        .unwrap()
        .to_scalar::<f64>()
        .unwrap();
    let expected = expected();
    assert!((accuracy - expected["accuracy"].as_f64().unwrap()).abs() < 1e-9);
    let ours = logits.narrow(0, 0, 16).unwrap().to_dtype(DType::F64).unwrap();
    let ours = ours.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let rows = expected["logits"].as_array().unwrap().iter();
    let theirs: Vec<f64> = rows
        .flat_map(|row| row.as_array().unwrap())
        .map(|x| x.as_f64().unwrap())
        .collect();
    let largest = difference(&ours, &theirs);
    println!("largest difference of a logit: {largest:e}");
    assert!(largest < 1e-4, "{largest}");
}

#[test]
fn a_graph_without_its_code_predicts_what_tensorflow_predicts() {
    assert_predicts_like_tensorflow(&session(360));
}

#[test]
fn training_goes_on_from_graph_and_checkpoint_with_tensorflows_losses() {
    let session = session(240);
    let training = session.training("loss:0").unwrap();
    let optimizer = training.optimizer();
    assert_eq!(optimizer.kind, "Adam");
    assert_eq!(optimizer.slots.len(), 6);
    let Setting::Constant(rate) = optimizer.settings["learning_rate"] else {
        panic!("{optimizer:?}")
    };
    assert!((rate - 1e-3).abs() < 1e-9);
    let kernel = optimizer.slots.iter().find(|(name, _)| name == "conv1/kernel").unwrap();
    assert_eq!(kernel.1, ["conv1/kernel/Adam", "conv1/kernel/Adam_1"]);

    let (images, labels) = digits();
    let losses = expected()["losses"].clone();
    let mut largest = 0f64;
    for step in 240..360 {
        let at = step * BATCH % 1500;
        let (images, labels) = (
            images.narrow(0, at, BATCH).unwrap(),
            labels.narrow(0, at, BATCH).unwrap(),
        );
        let feeds: [(&str, &Tensor); 2] = [("image:0", &images), ("label:0", &labels)];
        let loss = training.step(&session, &feeds).unwrap().to_scalar::<f32>().unwrap();
        let theirs = losses[step].as_f64().unwrap();
        let difference = (f64::from(loss) / theirs - 1.0).abs();
        assert!(difference < 1e-5, "step {}: {loss}, not {theirs}", step + 1);
        largest = largest.max(difference);
    }
    println!("largest relative difference of a loss: {largest:e}");
    assert_eq!(
        session.variable("global_step").unwrap().to_scalar::<i64>().unwrap(),
        360
    );
    assert_predicts_like_tensorflow(&session);
    assert_saves_what_tensorflow_saves(&session);
}

/// Names, dtypes and shapes are those of TensorFlow's checkpoint of that step, and so are the values, almost.
fn assert_saves_what_tensorflow_saves(session: &Session) {
    let dir = tempfile::tempdir().unwrap();
    let saved = session.save(dir.path().join("model.ckpt-360")).unwrap();
    let ours = tfckpt::Checkpoint::open(&saved).unwrap();
    let theirs = tfckpt::Checkpoint::open(repository("data/tf-digits/saver/model.ckpt-360")).unwrap();
    let index = |checkpoint: &tfckpt::Checkpoint| -> Vec<_> {
        checkpoint
            .variables()
            .map(|v| (v.name().into_owned(), v.dtype(), v.shape().clone()))
            .collect()
    };
    assert_eq!(index(&ours), index(&theirs));
    for (name, dtype, _) in index(&theirs) {
        if dtype == tfckpt::DType::Float32 {
            let values = |checkpoint: &tfckpt::Checkpoint| -> Vec<f64> {
                checkpoint
                    .read::<f32>(&name)
                    .unwrap()
                    .into_iter()
                    .map(f64::from)
                    .collect()
            };
            let difference = difference(&values(&ours), &values(&theirs));
            assert!(difference < 1e-4, "{name}: {difference}");
        }
    }
    let meta = std::fs::read(format!("{}.meta", saved.display())).unwrap();
    assert_eq!(
        meta,
        std::fs::read(repository("data/tf-digits/saver/model.ckpt-240.meta")).unwrap()
    );
}

#[test]
fn the_graphs_own_gradients_are_those_that_candle_follows_back() {
    let (ours, theirs) = (session(240), session(240));
    let (images, labels) = digits();
    let training = ours.training("loss:0").unwrap();
    for step in 240..250 {
        let at = step * BATCH % 1500;
        let (images, labels) = (
            images.narrow(0, at, BATCH).unwrap(),
            labels.narrow(0, at, BATCH).unwrap(),
        );
        let feeds: [(&str, &Tensor); 2] = [("image:0", &images), ("label:0", &labels)];
        training.step(&ours, &feeds).unwrap();
        theirs.execute(&[training.train_op()], &feeds).unwrap();
    }
    for ((name, a), (_, b)) in ours.variables().into_iter().zip(theirs.variables()) {
        if a.dtype() == DType::F32 {
            let values = |var: &candle_core::Var| -> Vec<f64> {
                let wide = var.to_dtype(DType::F64).unwrap();
                wide.flatten_all().unwrap().to_vec1().unwrap()
            };
            let difference = difference(&values(&a), &values(&b));
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

#[test]
fn a_graph_is_initialised_by_its_own_initialisers() {
    let graph = import_meta_graph(repository("data/tf-digits/saver/model.ckpt-240.meta")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    let images = Tensor::zeros((2, 8, 8, 1), DType::F32, &Device::Cpu).unwrap();
    let error = session.run(&["probabilities:0"], &[("image:0", &images)]).unwrap_err();
    assert!(matches!(error, tfckpt_session::Error::Uninitialized { .. }), "{error}");
    session.initialize().unwrap();
    assert_eq!(
        session.variable("beta1_power").unwrap().to_scalar::<f32>().unwrap(),
        0.9
    );
    let kernel = session
        .variable("conv1/kernel")
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    // Glorot's limit of a 3 x 3 kernel from 1 to 8 channels.
    let limit = (6f32 / (9.0 + 72.0)).sqrt();
    assert!(kernel.iter().all(|x| x.abs() <= limit) && kernel.iter().any(|x| x.abs() > 0.8 * limit));
    let probabilities = session
        .run(&["probabilities"], &[("image", &images)])
        .unwrap()
        .remove(0);
    let sums = probabilities.sum(1).unwrap().to_vec1::<f32>().unwrap();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
}
