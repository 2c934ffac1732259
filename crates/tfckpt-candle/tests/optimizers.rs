//! Our optimizers compute what others compute.

use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW, VarMap};
use tfckpt_candle::{Adam, AdamW, ParamsAdam, recording};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    Ok(tensor
        .flatten_all()?
        .to_vec1::<f32>()?
        .into_iter()
        .map(f32::to_bits)
        .collect())
}

#[test]
fn adamw_is_candles_own_bit_for_bit() -> Result {
    let varmap = VarMap::new();
    let (vb, _) = recording(&varmap, DType::F32, &Device::Cpu);
    let ours = candle_nn::linear(5, 3, vb.pp("fc"))?;
    let copy = |tensor: &Tensor| Var::from_tensor(&tensor.copy()?.detach());
    let (weight, bias) = (copy(ours.weight())?, copy(ours.bias().unwrap())?);
    let theirs = candle_nn::Linear::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()));
    let params = ParamsAdamW {
        lr: 0.05,
        ..Default::default()
    };
    let mut our_optimizer = AdamW::new(&varmap, params.clone())?;
    let mut their_optimizer = candle_nn::AdamW::new(vec![weight.clone(), bias.clone()], params)?;
    for step in 0..20 {
        let x = (Tensor::arange(0f32, 20.0, &Device::Cpu)?.reshape((4, 5))? * (0.1 + f64::from(step)))?.sin()?;
        our_optimizer.backward_step(&ours.forward(&x)?.sqr()?.mean_all()?)?;
        their_optimizer.backward_step(&theirs.forward(&x)?.sqr()?.mean_all()?)?;
        assert_eq!(bits(ours.weight())?, bits(&weight)?, "step {step}");
        assert_eq!(bits(ours.bias().unwrap())?, bits(&bias)?, "step {step}");
    }
    assert_eq!(our_optimizer.iterations()?, 20);
    Ok(())
}

#[test]
fn adam_follows_tensorflows_formula_bit_for_bit() -> Result {
    let varmap = VarMap::new();
    let w = varmap.get(3, "w", candle_nn::Init::Const(0.5), DType::F32, &Device::Cpu)?;
    let mut optimizer = Adam::new(
        &varmap,
        ParamsAdam {
            lr: 0.01,
            ..Default::default()
        },
    )?;
    let (mut var, mut m, mut v) = ([0.5f32; 3], [0f32; 3], [0f32; 3]);
    let (mut power1, mut power2) = (0.9f32, 0.999f32);
    let factors = [1f32, -20.0, 1e-4];
    for _ in 0..50 {
        // The gradient of sum(f * w^2) is 2 * f * w.
        let loss = (w.sqr()? * Tensor::new(&factors, &Device::Cpu)?)?.sum_all()?;
        let gradient = loss.backward()?.get(&w).unwrap().to_vec1::<f32>()?;
        optimizer.backward_step(&loss)?;
        let alpha = 0.01f32 * (1.0 - power2).sqrt() / (1.0 - power1);
        for i in 0..3 {
            let g = gradient[i];
            m[i] += (g - m[i]) * (1.0 - 0.9f32);
            v[i] += (g * g - v[i]) * (1.0 - 0.999f32);
            var[i] -= m[i] * alpha / (v[i].sqrt() + 1e-8);
        }
        power1 *= 0.9;
        power2 *= 0.999;
        assert_eq!(bits(&w)?, var.map(f32::to_bits));
    }
    Ok(())
}

#[test]
fn running_statistics_and_integers_have_no_slots() -> Result {
    use tfckpt_candle::Run;
    let dir = tempfile::tempdir()?;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    candle_nn::batch_norm(2, 1e-3, vb.pp("bn"))?;
    vb.get_with_hints_dtype(2, "counts", candle_nn::init::ZERO, DType::I64)?;
    let optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    Run::new(dir.path(), &varmap, &optimizer).layers(&layers).save()?;
    let checkpoint = tfckpt::Checkpoint::open(dir.path())?;
    let names: Vec<_> = checkpoint
        .variables()
        .map(|variable| variable.name().into_owned())
        .collect();
    let expected = [
        "Adam/iterations",
        "beta1_power",
        "beta2_power",
        "bn/beta",
        "bn/beta/Adam",
        "bn/beta/Adam_1",
        "bn/gamma",
        "bn/gamma/Adam",
        "bn/gamma/Adam_1",
        "bn/moving_mean",
        "bn/moving_variance",
        "counts",
        "global_step",
    ];
    assert_eq!(names, expected);
    Ok(())
}

#[test]
fn an_optimizer_of_nameless_variables_says_how_to_build_it() -> Result {
    let var = Var::zeros(2, DType::F32, &Device::Cpu)?;
    let error = <Adam as Optimizer>::new(vec![var], ParamsAdam::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("Adam::new(&varmap, params)"), "{error}");
    Ok(())
}
