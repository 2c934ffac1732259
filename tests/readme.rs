//! The code of the README, compiled: each of its Rust blocks stands here, line by line.
#![cfg(all(feature = "burn", feature = "candle"))]
#![allow(dead_code, reason = "compiled, not run: the examples are run")]

use std::path::Path;

mod codec {
    use tfckpt::{Checkpoint, Saver, Variable};

    fn read_and_write(kernel: &[f32]) -> tfckpt::Result<()> {
        let checkpoint = Checkpoint::open("run")?; // a prefix, one of its files, a directory or a SavedModel
        for variable in checkpoint.variables() {
            println!("{} {} {}", variable.name(), variable.dtype(), variable.shape());
        }
        let bias: Vec<f32> = checkpoint.read("dense/bias")?;

        let mut saver = Saver::new("run").max_to_keep(5);
        saver.save([Variable::new("dense/kernel", [64, 10], kernel)], 100)?;
        drop(bias);
        Ok(())
    }
}

mod directory {
    use tfckpt::map::AssignmentMap;
    use tfckpt::{Goal, Retention, Saver, Variable};

    fn rules(variables: Vec<Variable<'_>>, step: i64, loss: f64) -> tfckpt::Result<()> {
        let rules = Retention::default().latest(5).best("val_loss", Goal::Min, 3);
        let rules = rules.every_hours(24.0).max_bytes(200 << 30);
        let mut saver = Saver::new("run").retention(rules);
        saver.save_measured(variables, step, [("val_loss", loss)])?;
        for verdict in saver.verdicts()? {
            println!("{} {verdict}", verdict.name); // model.ckpt-300 kept: latest (2 of 5); best val_loss (1 of 3: 0.31)
        }
        Ok(())
    }

    fn valid() -> tfckpt::Result<()> {
        if let Some(found) = tfckpt::latest_valid("run")? {
            found.skipped.iter().for_each(|skipped| eprintln!("{skipped}"));
            println!("{}", found.checkpoint.prefix().display());
        }
        Ok(())
    }

    fn epochs(run: tfckpt_candle::Run, rows: usize) -> tfckpt_candle::Result<tfckpt_candle::Run> {
        use tfckpt::training::Epochs;
        let epochs = Epochs::new(rows, 32).shuffle(7);
        let run = run.epochs(epochs).every_seconds(600.0).stop_on_signals()?;
        Ok(run)
    }

    fn body(run: &mut tfckpt_candle::Run) -> tfckpt_candle::Result<()> {
        run.init_from("bert/bert_model.ckpt", &AssignmentMap::from([("bert/", "encoder/")]))?;
        Ok(())
    }
}

mod burn_learner {
    use std::sync::Arc;

    use burn::data::dataloader::{DataLoader, Dataset, batcher::Batcher};
    use burn::optim::ModuleOptimizer;
    use burn::train::{InferenceStep, Learner, LearnerModel, LearningResult, SupervisedTraining, TrainStep};
    use tfckpt_burn::training::Epochs;
    use tfckpt_burn::{Hooked, TfCheckpoints};

    fn before<M: LearnerModel>(
        training: SupervisedTraining<M>,
        model: M,
        optimizer: ModuleOptimizer,
    ) -> LearningResult<M> {
        training.launch(Learner::new(model, optimizer, 1e-3))
    }

    fn after<M: LearnerModel>(
        training: SupervisedTraining<Hooked<M>>,
        model: M,
        optimizer: ModuleOptimizer,
    ) -> tfckpt_burn::Result<LearningResult<M>> {
        let tf = TfCheckpoints::new("run").max_to_keep(5).every_steps(100);
        tf.launch(training, model, optimizer, 1e-3)
    }

    #[expect(clippy::let_and_return, reason = "the README's own line")]
    fn within_epochs<M, I>(
        tf: TfCheckpoints,
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, <M as TrainStep>::Input> + 'static,
        valid: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    ) -> SupervisedTraining<Hooked<M>>
    where
        M: LearnerModel,
        I: Send + Sync + Clone + 'static,
        <M as TrainStep>::Input: Send,
    {
        let tf = tf.epochs(Epochs::new(dataset.len(), 32).shuffle(7)).seed_each_step(7);
        let training = SupervisedTraining::new("artifacts", tf.loader(dataset, batcher), valid);
        training
    }
}

mod burn_loop {
    use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    use burn::module::Module;
    use burn::optim::{GradientsParams, ModuleOptimizer};
    use burn::tensor::Tensor;
    use tfckpt_burn::TfCheckpoints;

    fn before<M: Module>(
        mut model: M,
        mut optimizer: ModuleOptimizer,
        mut rate: ModuleLrScheduler,
        loss: impl Fn(&M, usize) -> Tensor<1>,
        steps: usize,
    ) {
        for step in 0..steps {
            let gradients = GradientsParams::from_grads(loss(&model, step).backward(), &model);
            model = optimizer.step(rate.step(), model, gradients);
        }
    }

    fn after<M: Module>(
        mut model: M,
        mut optimizer: ModuleOptimizer,
        mut rate: ModuleLrScheduler,
        loss: impl Fn(&M, usize) -> Tensor<1>,
        steps: usize,
    ) -> tfckpt_burn::Result<()> {
        let tf = TfCheckpoints::new("run").every_steps(100);
        let start = tf.restore_or_initialize(&mut model, &mut optimizer, &mut rate)?;
        for step in start as usize..steps {
            let gradients = GradientsParams::from_grads(loss(&model, step).backward(), &model);
            model = optimizer.step(rate.step(), model, gradients);
            tf.after_step(&model, &optimizer, &rate)?;
        }
        tf.save(&model, &optimizer, &rate)?;
        Ok(())
    }
}

mod candle_loop {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
    use tfckpt_candle::Run;

    struct Model;

    impl Model {
        fn new(_: &VarBuilder) -> candle_core::Result<Self> {
            Ok(Model)
        }
        fn loss(&self, _: usize) -> candle_core::Result<Tensor> {
            unimplemented!("compiled only")
        }
    }

    fn before(steps: usize, device: Device) -> Result<(), Box<dyn std::error::Error>> {
        let varmap = VarMap::new();
        let vb = VarBuilder::from_varmap(&varmap, DType::F32, &device);
        let model = Model::new(&vb)?;
        let mut optimizer = AdamW::new(varmap.all_vars(), ParamsAdamW::default())?;
        for step in 0..steps {
            optimizer.backward_step(&model.loss(step)?)?;
        }
        varmap.save("model.safetensors")?;
        Ok(())
    }

    fn exact(varmap: VarMap) -> candle_core::Result<()> {
        use tfckpt_candle::optimizers::Convention;
        use tfckpt_candle::{Clip, ParamsRmsProp, RmsProp};
        let params = ParamsRmsProp {
            momentum: 0.9,
            ..ParamsRmsProp::of(Convention::Keras3)
        };
        let mut optimizer = RmsProp::new(&varmap, params)?.clip(Clip::Norm(1.0)); // or Sgd, Adam, Nadam, Lion, …
        optimizer.set_learning_rate(1e-3);
        Ok(())
    }

    fn after(steps: usize, device: Device) -> Result<(), Box<dyn std::error::Error>> {
        let varmap = VarMap::new();
        let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &device);
        let model = Model::new(&vb)?;
        let mut optimizer = tfckpt_candle::AdamW::new(&varmap, ParamsAdamW::default())?;
        let mut run = Run::new("run", &varmap, &optimizer).layers(&layers).every_steps(100);
        for step in run.restore_or_initialize()? as usize..steps {
            optimizer.backward_step(&model.loss(step)?)?;
            run.after_step()?;
        }
        run.save()?;
        Ok(())
    }
}

mod background {
    use tfckpt::WhenBusy;
    use tfckpt_candle::Run;

    fn after(run: Run) {
        let run = run.in_background(WhenBusy::Wait); // the same for TfCheckpoints of Burn
        drop(run);
    }
}

mod import {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::VarBuilder;
    use tfckpt::Checkpoint;
    use tfckpt::map::NameMap;

    fn burn<M: burn::store::ModuleSnapshot>(mut model: M) -> tfckpt_burn::Result<()> {
        use tfckpt_burn::TfCheckpointStore;

        model.load_from(&mut TfCheckpointStore::from_file("saver/model.ckpt-360"))?;
        Ok(())
    }

    fn graph(device: Device) -> tfckpt_candle::Result<()> {
        let imported = tfckpt_candle::import_meta_graph("saver/model.ckpt-360.meta", &device)?;
        for variable in &imported.variables {
            println!("{variable}"); // conv1/kernel float32 [3, 3, 1, 8]: restored
        }
        Ok(())
    }

    fn session(device: Device, images: Tensor, labels: Tensor) -> tfckpt_session::Result<()> {
        use tfckpt_session::Session;

        let graph = tfckpt_session::import_meta_graph("saver/model.ckpt-240.meta")?;
        let session = Session::new(&graph, &device)?;
        session.restore("saver/model.ckpt-240")?;
        let p = session.run(&["probabilities:0"], &[("image:0", &images)])?; // by TensorFlow's names

        let training = session.training("loss:0")?; // optimizer, learning rate and slots are in the graph
        training.step(&session, &[("image:0", &images), ("label:0", &labels)])?;
        session.save("saver/model.ckpt-241")?; // TensorFlow imports and restores it
        drop(p);
        Ok(())
    }

    fn objects() -> tfckpt_burn::TfCheckpoints {
        use tfckpt::objects::ObjectLayout;
        use tfckpt_burn::TfCheckpoints;

        let layout = ObjectLayout::keras3_sequential(["input", "conv1", "pool", "flat", "dense"]).learning_rate(1e-3);
        let tf = TfCheckpoints::new("run").objects(layout); // Candle: Run::new(…).objects(layout)
        tf
    }

    fn candle(device: Device) -> Result<VarBuilder<'static>, Box<dyn std::error::Error>> {
        let checkpoint = Checkpoint::open("saver/model.ckpt-360")?;
        let vb = tfckpt_candle::var_builder(checkpoint, NameMap::keras(), DType::F32, &device)?;
        Ok(vb)
    }
}

mod networks {
    use candle_core::{DType, Device};
    use candle_transformers::models::bert::{BertModel, Config};
    use tfckpt::Checkpoint;
    use tfckpt::map::NameMap;
    use tfckpt_candle::Import;

    fn bert(device: Device, config: Config) -> Result<BertModel, Box<dyn std::error::Error>> {
        let checkpoint = Checkpoint::open("uncased_L-12_H-768_A-12/bert_model.ckpt")?;
        let import = Import::new(checkpoint, NameMap::bert());
        let bert = BertModel::load(import.var_builder(DType::F32, &device).pp("bert"), &config)?;
        println!("{}", import.report().leftovers()); // slots, counters, and heads that BertModel does not have
        Ok(bert)
    }
}

/// The Rust blocks of the README, trimmed line by line.
fn blocks(readme: &str) -> Vec<Vec<&str>> {
    let parts = readme.split("```");
    let code = parts
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix("rust\n"));
    code.map(lines).collect()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_code_of_the_readme_compiles() {
    let read = |name| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (readme, here) = (read("README.md"), read("tests/readme.rs"));
    let (blocks, here) = (blocks(&readme), lines(&here));
    assert!(blocks.len() >= 6, "the README shows code");
    for block in blocks {
        let found = here.windows(block.len()).any(|lines| lines == block);
        assert!(found, "not compiled:\n{}", block.join("\n"));
    }
}
