//! A network that TensorFlow trained to tell ten digits apart learns other labels, under a head of another size.
#![cfg(all(feature = "burn", feature = "candle"))]

#[path = "../examples/support/mod.rs"]
mod support;

use std::path::Path;

use support::Digits;
use tfckpt::map::{AssignmentMap, WarmStart};

const BATCH: usize = 50;
const STEPS: usize = 120;
/// Where the run is stopped and taken up again.
const STOP: usize = 50;

/// Outputs of the new head; TensorFlow's has ten.
const CLASSES: usize = 12;

/// The new label of a digit.
fn label(digit: u8) -> u8 {
    (digit * 3 + 4) % 10
}

fn batch(digits: &Digits, step: usize) -> (&[f32], Vec<u8>) {
    let first = step * BATCH % digits.len();
    let (pixels, digits) = digits.slice(first..first + BATCH);
    (pixels, digits.iter().map(|&digit| label(digit)).collect())
}

/// How many of the test images are told apart, of 1.
fn accuracy(found: &[usize], test: &Digits) -> f64 {
    let right = found.iter().zip(&test.labels);
    right
        .filter(|(found, digit)| **found == usize::from(label(**digit)))
        .count() as f64
        / test.len() as f64
}

/// The convolutions from TensorFlow stay as they are; the head is trained, and resumed.
mod with_candle {
    use super::*;
    use candle_core::{D, DType, Device, Module, Tensor};
    use candle_nn::{Conv2d, Conv2dConfig, Linear, Optimizer, VarMap};
    use tfckpt_candle::{Adam, ParamsAdam, Run};

    struct Network {
        conv1: Conv2d,
        conv2: Conv2d,
        head: Linear,
    }

    impl Network {
        fn features(&self, pixels: &[f32]) -> candle_core::Result<Tensor> {
            let images = Tensor::from_slice(pixels, (pixels.len() / 64, 1, 8, 8), &Device::Cpu)?;
            let x = self.conv1.forward(&images)?.relu()?.max_pool2d(2)?;
            let x = self.conv2.forward(&x)?.relu()?.max_pool2d(2)?;
            x.permute((0, 2, 3, 1))?.flatten_from(1)?.detach().contiguous()
        }
    }

    /// Trains until a step, and gives that at which it began, the accuracy, and the kernel of the head.
    fn train(directory: &Path, until: usize) -> anyhow::Result<(usize, f64, Vec<f32>)> {
        let (train, test) = Digits::load()?;
        let varmap = VarMap::new();
        let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
        let same = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        let network = Network {
            conv1: candle_nn::conv2d(1, 8, 3, same, vb.pp("body.conv1"))?,
            conv2: candle_nn::conv2d(8, 16, 3, same, vb.pp("body.conv2"))?,
            head: candle_nn::linear(64, CLASSES, vb.pp("head"))?,
        };
        let head =
            ["head.weight", "head.bias"].map(|path| (path.to_owned(), varmap.data().lock().unwrap()[path].clone()));
        for (_, var) in &head {
            var.set(&var.zeros_like()?)?;
        }
        let mut optimizer = Adam::for_vars(head, ParamsAdam::default())?;
        let mut run = Run::new(directory, &varmap, &optimizer).layers(&layers);
        let map = AssignmentMap::from([("conv1/", "body/conv1/"), ("conv2/", "body/conv2/")]);
        run.init_from(support::data("tf-digits/saver"), &map)?;
        let start = run.restore_or_initialize()? as usize;
        for step in start..until {
            let (pixels, labels) = batch(&train, step);
            let labels: Vec<u32> = labels.into_iter().map(u32::from).collect();
            let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?;
            let logits = network.head.forward(&network.features(pixels)?)?;
            optimizer.backward_step(&candle_nn::loss::cross_entropy(&logits, &labels)?)?;
            run.after_step()?;
        }
        run.save()?;
        let logits = network.head.forward(&network.features(&test.pixels)?)?;
        let found: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        let found: Vec<usize> = found.into_iter().map(|label| label as usize).collect();
        Ok((
            start,
            accuracy(&found, &test),
            network.head.weight().flatten_all()?.to_vec1()?,
        ))
    }

    #[test]
    fn a_head_learns_on_convolutions_of_tensorflow_and_the_run_goes_on_from_its_own_checkpoint() {
        let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (start, right, kernel) = train(whole.path(), STEPS).unwrap();
        assert_eq!(start, 0);
        assert!(right > 0.75, "{right}");
        train(parts.path(), STOP).unwrap();
        assert_eq!(train(parts.path(), STEPS).unwrap(), (STOP, right, kernel));
    }
}

/// The same, compared with convolutions that nobody trained.
mod with_burn {
    use super::*;
    use burn::lr_scheduler::constant::ConstantLr;
    use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    use burn::module::Module;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::loss::CrossEntropyLossConfig;
    use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
    use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::tensor::activation::relu;
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use tfckpt_burn::TfCheckpoints;

    #[derive(Module, Debug)]
    struct Network {
        conv1: Conv2d,
        conv2: Conv2d,
        pool: MaxPool2d,
        head: Linear,
    }

    impl Network {
        fn new(device: &Device) -> Self {
            let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
            Network {
                conv1: conv([1, 8]).init(device),
                conv2: conv([8, 16]).init(device),
                pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
                head: LinearConfig::new(64, CLASSES)
                    .with_initializer(Initializer::Zeros)
                    .init(device),
            }
        }

        fn logits(&self, pixels: &[f32], device: &Device) -> Tensor<2> {
            let images = TensorData::new(pixels.to_vec(), [pixels.len() / 64, 1, 8, 8]);
            let x = self
                .pool
                .forward(relu(self.conv1.forward(Tensor::from_data(images, device))));
            let x = self.pool.forward(relu(self.conv2.forward(x)));
            self.head.forward(x.permute([0, 2, 3, 1]).flatten(1, 3).detach())
        }
    }

    /// The accuracy after a few steps, with or without a warm start.
    fn train(warm_start: Option<&WarmStart>) -> f64 {
        let (train, test) = Digits::load().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let device = Device::flex().autodiff();
        let mut network = Network::new(&device);
        let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        let mut rate: ModuleLrScheduler = ConstantLr::from(1e-3).into();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let checkpoints = TfCheckpoints::new(dir.path());
        if let Some(warm_start) = warm_start {
            let pretrained = support::data("tf-digits/saver");
            let report = checkpoints.init_from(&mut network, pretrained, warm_start).unwrap();
            assert_eq!(report.unwrap().loaded.len(), 4);
        }
        let start = checkpoints.restore_or_initialize(&mut network, &mut optimizer, &mut rate);
        assert_eq!(start.unwrap(), 0);
        for step in 0..STEPS / 4 {
            let (pixels, labels) = batch(&train, step);
            let labels: Tensor<1, Int> = Tensor::from_data(TensorData::new(labels, [BATCH]), &device);
            let gradients = loss.forward(network.logits(pixels, &device), labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &network);
            network = optimizer.step(rate.step(), network, gradients);
            checkpoints.after_step(&network, &optimizer, &rate).unwrap();
        }
        let logits = network
            .logits(&test.pixels, &device)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let largest = |logits: &[f32]| (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        let found: Vec<usize> = logits.chunks_exact(CLASSES).map(largest).collect();
        accuracy(&found, &test)
    }

    #[test]
    fn a_head_learns_faster_on_convolutions_that_were_trained_before() {
        let cold = train(None);
        let warm = train(Some(&WarmStart::trained(".*").except("head/")));
        assert!(warm > 0.65 && warm > cold, "{warm}, without {cold}");
    }
}
