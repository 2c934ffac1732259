//! Random tensors that come again after a restore.

use candle_core::{DType, Device, ModuleT, Tensor, Var};
use tfckpt_candle::training::{CheckpointRng, Checkpointable};
use tfckpt_candle::{Dropout, dropout, normal, uniform};

type Result<T = (), E = tfckpt::BoxError> = std::result::Result<T, E>;

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

#[test]
fn dropout_keeps_the_mean_and_sets_about_so_many_to_zero() -> Result {
    let rng = CheckpointRng::seed_from_u64(1);
    let x = Tensor::ones((200, 500), DType::F32, &Device::Cpu)?;
    let dropped = values(&dropout(&x, 0.25, &rng)?)?;
    let zeros = dropped.iter().filter(|&&value| value == 0.0).count();
    // 25,000 expected; 6 standard deviations are 822.
    assert!(zeros.abs_diff(25_000) < 822, "{zeros}");
    assert!(dropped.iter().all(|&value| value == 0.0 || value == 4.0 / 3.0));
    assert_eq!(values(&dropout(&x, 0.0, &rng)?)?, values(&x)?);
    for p in [1.0, -0.1, f64::NAN] {
        assert!(dropout(&x, p, &rng).is_err(), "{p}");
    }
    Ok(())
}

#[test]
fn gradients_pass_where_values_pass() -> Result {
    let rng = CheckpointRng::seed_from_u64(1);
    let x = Var::ones(1000, DType::F32, &Device::Cpu)?;
    let y = dropout(&x, 0.5, &rng)?;
    let gradients = y.sum_all()?.backward()?;
    assert_eq!(values(gradients.get(&x).ok_or("no gradient")?)?, values(&y)?);
    Ok(())
}

#[test]
fn in_evaluation_a_dropout_layer_does_nothing_and_draws_nothing() -> Result {
    let rng = CheckpointRng::seed_from_u64(1);
    let layer = Dropout::new(0.5, &rng);
    let x = Tensor::ones(10, DType::F32, &Device::Cpu)?;
    let before = rng.to_bytes();
    assert_eq!(values(&layer.forward_t(&x, false)?)?, values(&x)?);
    assert_eq!(rng.to_bytes(), before);
    layer.forward_t(&x, true)?;
    assert_ne!(rng.to_bytes(), before);
    Ok(())
}

#[test]
fn noise_has_its_moments_and_comes_again() -> Result {
    let mut rng = CheckpointRng::seed_from_u64(3);
    let saved = rng.to_bytes();
    let (cpu, count) = (Device::Cpu, 100_000);
    let flat = values(&uniform(-1.0, 3.0, count, DType::F32, &cpu, &rng)?)?;
    let bell = values(&normal(2.0, 0.5, count, DType::F32, &cpu, &rng)?)?;
    let moments = |values: &[f32]| {
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count as f64;
        (mean, variance)
    };
    let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 0.03 && (b - d).abs() < 0.03;
    assert!(close(moments(&flat), (1.0, 16.0 / 12.0)), "{:?}", moments(&flat));
    assert!(close(moments(&bell), (2.0, 0.25)), "{:?}", moments(&bell));
    assert!(flat.iter().all(|value| (-1.0..=3.0).contains(value)));
    assert!(bell.iter().all(|value| value.is_finite()));

    rng.restore(&saved)?;
    assert_eq!(values(&uniform(-1.0, 3.0, count, DType::F32, &cpu, &rng)?)?, flat);
    let bf16 = normal(0.0, 1.0, (2, 3), DType::BF16, &cpu, &rng)?;
    assert_eq!((bf16.dtype(), bf16.dims()), (DType::BF16, &[2, 3][..]));
    let f64s = uniform(0.0, 1.0, (), DType::F64, &cpu, &rng)?;
    assert_eq!(f64s.dtype(), DType::F64);
    Ok(())
}
