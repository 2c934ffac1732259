//! Random numbers, the same that TensorFlow draws on a CPU from the same seeds.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::signed;
use super::table::{Args, Kernel, Ops, many, one};
use crate::attrs::Attrs;
use crate::context::Context;
use crate::dtype::{carried, is_float};
use crate::error::{Error, Result};
use crate::random::{Generator, normal, unit};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.impure("RandomUniform", |attrs| drawn(attrs, Kind::Uniform));
    ops.impure("RandomStandardNormal", |attrs| drawn(attrs, Kind::Normal));
    ops.impure("TruncatedNormal", |attrs| drawn(attrs, Kind::Truncated));
    ops.impure("RandomUniformInt", |attrs| {
        let source = Source::new(attrs)?;
        one(move |args, context| {
            let dims = args.sizes(0)?;
            let count = context.elements(&dims, size_of::<i64>())?;
            let (low, high) = (args.int(1)?, args.int(2)?);
            let span = high
                .checked_sub(low)
                .and_then(|span| u64::try_from(span).ok())
                .filter(|span| *span > 0);
            let span = span.ok_or_else(|| Error::operand(format!("no integer is in [{low}, {high})")))?;
            let dtype = args.tensor(1)?.dtype;
            let bits = source.draw(if dtype == DType::Int64 { count * 2 } else { count }, context);
            let number = |bits: u64| low.wrapping_add(i64::try_from(bits % span).unwrap_or(0));
            let values = match dtype {
                DType::Int64 => bits
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|[a, b]| number(u64::from(*a) | u64::from(*b) << 32))
                    .collect(),
                _ => bits.iter().map(|bits| number(u64::from(*bits))).collect(),
            };
            ints(values, &dims, dtype)
        })
    });
    for (name, kind) in [
        ("StatelessRandomUniform", Kind::Uniform),
        ("StatelessRandomNormal", Kind::Normal),
        ("StatelessTruncatedNormal", Kind::Truncated),
    ] {
        ops.impure(name, move |attrs| {
            let dtype = attrs.dtype("dtype", DType::Float32)?;
            one(move |args, context| {
                let [key, counter] = scrambled(&args.ints(1)?)?;
                floats(
                    args,
                    kind,
                    dtype,
                    &Generator::with(key, u128::from(counter) << 64),
                    context,
                )
            })
        });
    }
    ops.pure("StatelessRandomGetKeyCounter", |_| {
        many(|args, _| {
            let [key, counter] = scrambled(&args.ints(0)?)?;
            let key = TfTensor::ints(vec![key.cast_signed()], &[1], DType::Uint64)?;
            let counter = TfTensor::ints(vec![0, counter.cast_signed()], &[2], DType::Uint64)?;
            Ok(vec![key.into(), counter.into()])
        })
    });
    for (name, kind) in [
        ("StatelessRandomUniformV2", Kind::Uniform),
        ("StatelessRandomNormalV2", Kind::Normal),
        ("StatelessTruncatedNormalV2", Kind::Truncated),
    ] {
        ops.impure(name, move |attrs| {
            let dtype = attrs.dtype("dtype", DType::Float32)?;
            one(move |args, context| {
                let (key, counter) = (args.ints(1)?, args.ints(2)?);
                let ([key], [low, high, ..]) = (key.as_slice(), counter.as_slice()) else {
                    return Err(Error::operand(format!(
                        "a key of {} and a counter of {}",
                        key.len(),
                        counter.len()
                    )));
                };
                let counter = u128::from(low.cast_unsigned()) | u128::from(high.cast_unsigned()) << 64;
                floats(
                    args,
                    kind,
                    dtype,
                    &Generator::with(key.cast_unsigned(), counter),
                    context,
                )
            })
        });
    }
    ops.impure("RandomShuffle", |attrs| {
        let source = Source::new(attrs)?;
        one(move |args, context| {
            let x = args.tensor(0)?;
            let Some(&rows) = x.dims().first() else {
                return Ok(x.clone());
            };
            let mut order: Vec<i64> = (0..signed(rows)).collect();
            let bits = source.draw(rows, context);
            for (place, bits) in (1..rows).rev().zip(bits) {
                order.swap(place, bits as usize % (place + 1));
            }
            match rows {
                0 => Ok(x.clone()),
                _ => Ok(x.with(super::turns::picked(&x.tensor, 0, order)?)),
            }
        })
    });
    ops.impure("Multinomial", |attrs| {
        let source = Source::new(attrs)?;
        let dtype = attrs.dtype("output_dtype", DType::Int64)?;
        one(move |args, context| multinomial(args, &source, dtype, context))
    });
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Uniform,
    Normal,
    Truncated,
}

/// The generator of a node. Without seeds it begins anywhere.
struct Source {
    seeded: Option<Generator>,
    unseeded: std::sync::OnceLock<Generator>,
}

impl Source {
    #[expect(clippy::cast_sign_loss, reason = "the bits are what is wanted")]
    fn new(attrs: &Attrs<'_>) -> Result<Self> {
        let (seed, seed2) = (attrs.int("seed", 0)?, attrs.int("seed2", 0)?);
        Ok(Source {
            seeded: ((seed, seed2) != (0, 0)).then(|| Generator::seeded(seed as u64, seed2 as u64)),
            unseeded: std::sync::OnceLock::new(),
        })
    }

    fn generator(&self, context: &Context<'_>) -> &Generator {
        let any = || Generator::seeded(context.random.seed(), context.random.seed());
        self.seeded.as_ref().unwrap_or_else(|| self.unseeded.get_or_init(any))
    }

    fn draw(&self, count: usize, context: &Context<'_>) -> Vec<u32> {
        self.generator(context).draw(count, reserved(count))
    }
}

/// By how much the counter goes on for `count` samples: TensorFlow reserves 256 numbers for each.
fn reserved(count: usize) -> u128 {
    (count as u128).saturating_mul(256).div_ceil(4)
}

fn drawn(attrs: &Attrs<'_>, kind: Kind) -> Result<Kernel> {
    let source = Source::new(attrs)?;
    let dtype = attrs.dtype("dtype", DType::Float32)?;
    one(move |args, context| floats(args, kind, dtype, source.generator(context), context))
}

fn floats(args: &Args, kind: Kind, dtype: DType, generator: &Generator, context: &Context<'_>) -> Result<TfTensor> {
    let dims = args.sizes(0)?;
    let count = context.elements(&dims, size_of::<f32>())?;
    let carried = carried(dtype)
        .filter(|_| is_float(dtype))
        .ok_or_else(|| Error::dtype("random numbers", dtype))?;
    let values: Vec<f32> = match kind {
        Kind::Uniform => generator.draw(count, reserved(count)).into_iter().map(unit).collect(),
        Kind::Normal => {
            let bits = generator.draw(count.div_ceil(4) * 4, reserved(count));
            bits.as_chunks::<2>()
                .0
                .iter()
                .flat_map(|[a, b]| normal(*a, *b))
                .take(count)
                .collect()
        }
        Kind::Truncated => truncated(count, generator),
    };
    let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
    let tensor = tensor.to_dtype(carried)?.to_device(context.device)?;
    Ok(TfTensor { tensor, dtype })
}

/// Normal numbers of which those beyond two deviations are drawn again.
fn truncated(count: usize, generator: &Generator) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let missing = count - values.len();
        let bits = generator.draw(missing.div_ceil(4) * 4, reserved(missing));
        let drawn = bits.as_chunks::<2>().0.iter().flat_map(|[a, b]| normal(*a, *b));
        values.extend(drawn.filter(|value| value.abs() < 2.0).take(missing));
    }
    values
}

/// Key and counter of two seeds, as stateless operations mix them.
#[expect(clippy::cast_sign_loss, reason = "the bits are what is wanted")]
fn scrambled(seeds: &[i64]) -> Result<[u64; 2]> {
    let [seed, seed2] = seeds else {
        return Err(Error::operand(format!("{} seeds, not 2", seeds.len())));
    };
    let mixer = Generator::with(
        0x02461e29_3ec8f720,
        u128::from(*seed as u64) | u128::from(*seed2 as u64) << 64,
    );
    let [a, b, c, d] = mixer.draw(4, 0).try_into().unwrap_or_default();
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok([join(a, b), join(c, d)])
}

fn multinomial(args: &Args, source: &Source, dtype: DType, context: &Context<'_>) -> Result<TfTensor> {
    let logits = args
        .float(0)?
        .to_device(&Device::Cpu)?
        .to_dtype(candle_core::DType::F64)?;
    let (rows, classes) = logits.dims2()?;
    let samples = usize::try_from(args.int(1)?).map_err(|_| Error::operand("a negative number of samples"))?;
    let count = context.elements(&[rows, samples], size_of::<i64>())?;
    let mut bits = source.draw(count, context).into_iter();
    let mut drawn = Vec::with_capacity(count);
    for row in logits.flatten_all()?.to_vec1::<f64>()?.chunks_exact(classes.max(1)) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|logit| (logit - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for bits in bits.by_ref().take(samples) {
            let mut left = f64::from(unit(bits)) * total;
            let chosen = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            drawn.push(signed(chosen.unwrap_or(classes.saturating_sub(1))));
        }
    }
    ints(drawn, &[rows, samples], dtype)
}
