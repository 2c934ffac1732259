//! Strings: hashed into buckets, split, joined, and made of numbers.

use candle_core::Device;
use tfckpt::DType;

use super::arithmetic::ints;
use super::fingerprint::{fingerprint, old_hash};
use super::shape::signed;
use super::table::{Args, Kernel, Ops, many, one};
use crate::attrs::Attrs;
use crate::context::Context;
use crate::dtype::{carried, is_float, is_int};
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for (name, hash) in [
        ("StringToHashBucketFast", fingerprint as fn(&[u8]) -> u64),
        ("StringToHashBucket", old_hash),
    ] {
        ops.pure(name, move |attrs| {
            let buckets = u64::try_from(attrs.int("num_buckets", 1)?).unwrap_or(0).max(1);
            one(move |args, _| {
                let texts = args.strings(0)?;
                let bucket = |text: &Vec<u8>| i64::try_from(hash(text) % buckets).unwrap_or(i64::MAX);
                ints(texts.elements.iter().map(bucket).collect(), &texts.dims, DType::Int64)
            })
        });
    }
    ops.pure("AsString", as_string);
    ops.pure("StringToNumber", |attrs| {
        let dtype = attrs.dtype("out_type", DType::Float32)?;
        one(move |args, context| to_number(args.strings(0)?, dtype, context))
    });
    ops.pure("StringJoin", |attrs| {
        let separator = attrs.text("separator", "")?.as_bytes().to_vec();
        many(move |args, context| join(args, &separator, context))
    });
    ops.pure("StringLength", |attrs| {
        let by_letter = attrs.text("unit", "BYTE")? == "UTF8_CHAR";
        one(move |args, _| {
            let texts = args.strings(0)?;
            let length = |text: &Vec<u8>| match by_letter {
                true => signed(text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()),
                false => signed(text.len()),
            };
            ints(texts.elements.iter().map(length).collect(), &texts.dims, DType::Int32)
        })
    });
    ops.pure("StringLower", |attrs| {
        cased(attrs, str::to_lowercase, |text| text.to_ascii_lowercase())
    });
    ops.pure("StringUpper", |attrs| {
        cased(attrs, str::to_uppercase, |text| text.to_ascii_uppercase())
    });
    ops.pure("StringStrip", |_| {
        many(|args, _| each(args.strings(0)?, |text| Ok(text.trim_ascii().to_vec())))
    });
    ops.pure("StringSplit", |attrs| {
        let skips = attrs.bool("skip_empty", true)?;
        many(move |args, context| {
            let by = args.strings(1)?.elements.first().cloned().unwrap_or_default();
            // Each letter of the delimiter splits.
            let parts = args.strings(0)?.elements.iter().map(|text| {
                let parts: Vec<&[u8]> = match by.is_empty() {
                    true => text.chunks(1).collect(),
                    false => text.split(|byte| by.contains(byte)).collect(),
                };
                parts.into_iter().filter(|part| !skips || !part.is_empty()).collect()
            });
            ragged(parts.collect(), context)
        })
    });
    ops.pure("StringSplitV2", |attrs| {
        let most = usize::try_from(attrs.int("maxsplit", -1)?)
            .ok()
            .filter(|most| *most > 0);
        many(move |args, context| {
            let by = args.strings(1)?.elements.first().cloned().unwrap_or_default();
            let parts = args.strings(0)?.elements.iter().map(|text| split(text, &by, most));
            ragged(parts.collect(), context)
        })
    });
}

fn each(texts: &Strings, f: impl Fn(&[u8]) -> Result<Vec<u8>>) -> Result<Vec<Value>> {
    let changed = texts.elements.iter().map(|text| f(text)).collect::<Result<Vec<_>>>()?;
    Ok(vec![Value::Strings(Strings::new(changed, &texts.dims)?)])
}

/// ASCII alone, unless the graph says that texts are UTF-8.
fn cased(attrs: &Attrs<'_>, letters: fn(&str) -> String, ascii: fn(&[u8]) -> Vec<u8>) -> Result<Kernel> {
    let is_utf8 = attrs.text("encoding", "")? == "utf-8";
    many(move |args, _| {
        each(args.strings(0)?, |text| match (is_utf8, std::str::from_utf8(text)) {
            (true, Ok(text)) => Ok(letters(text).into_bytes()),
            (true, Err(_)) => Err(Error::operand("a text that is no UTF-8")),
            (false, _) => Ok(ascii(text)),
        })
    })
}

/// As `str.split` of Python: by white space if there is no separator, and then without empty parts.
fn split<'t>(text: &'t [u8], by: &[u8], most: Option<usize>) -> Vec<&'t [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    if by.is_empty() {
        rest = rest.trim_ascii_start();
        while !rest.is_empty() {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            parts.push(part);
            rest = after.trim_ascii_start();
            if most == Some(parts.len()) {
                // Unlike Python, TensorFlow has a rest even where nothing is left.
                parts.push(rest);
                break;
            }
        }
        return parts;
    }
    while most.is_none_or(|most| parts.len() < most) {
        let Some(at) = rest.windows(by.len()).position(|window| window == by) else {
            break;
        };
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after.get(by.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

/// Rows of different lengths, as a sparse tensor.
fn ragged(rows: Vec<Vec<&[u8]>>, context: &Context<'_>) -> Result<Vec<Value>> {
    let count: usize = rows.iter().map(Vec::len).sum();
    context.elements(&[count], size_of::<Vec<u8>>())?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut places = Vec::with_capacity(2 * count);
    for (row, parts) in rows.iter().enumerate() {
        places.extend((0..parts.len()).flat_map(|place| [signed(row), signed(place)]));
    }
    let shape = vec![signed(rows.len()), signed(longest)];
    let texts = rows.into_iter().flatten().map(<[u8]>::to_vec).collect();
    Ok(vec![
        ints(places, &[count, 2], DType::Int64)?.into(),
        Value::Strings(Strings::new(texts, &[count])?),
        ints(shape, &[2], DType::Int64)?.into(),
    ])
}

fn join(args: &Args, separator: &[u8], context: &Context<'_>) -> Result<Vec<Value>> {
    let all = (0..args.len()).map(|place| args.strings(place));
    let all = all.collect::<Result<Vec<&Strings>>>()?;
    let longest = all.iter().find(|texts| !texts.dims.is_empty());
    let dims = longest.map(|texts| texts.dims.clone()).unwrap_or_default();
    let fits = |texts: &&Strings| texts.dims.is_empty() || texts.dims == dims;
    if !all.iter().all(fits) {
        return Err(Error::operand("texts of different shapes are joined"));
    }
    let count: usize = dims.iter().product();
    let lengths = |texts: &&Strings| {
        let own: usize = texts.elements.iter().map(Vec::len).sum();
        let times = if texts.dims.is_empty() { count } else { 1 };
        own.saturating_mul(times)
            .saturating_add(separator.len().saturating_mul(count))
    };
    context.text_bytes(all.iter().map(lengths))?;
    let joined = (0..count).map(|place| {
        let part = |texts: &&Strings| {
            let place = if texts.dims.is_empty() { 0 } else { place };
            texts.elements.get(place).cloned().unwrap_or_default()
        };
        all.iter().map(part).collect::<Vec<_>>().join(separator)
    });
    Ok(vec![Value::Strings(Strings::new(joined.collect(), &dims)?)])
}

fn to_number(texts: &Strings, dtype: DType, context: &Context<'_>) -> Result<TfTensor> {
    let wrong = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        Error::operand(format!("`{text}` is no {dtype}"))
    };
    let trimmed = texts.elements.iter().map(|text| {
        let trimmed = std::str::from_utf8(text.trim_ascii());
        trimmed.map_err(|_| wrong(text))
    });
    if is_int(dtype) {
        let (least, largest) = crate::dtype::range(dtype);
        let number = |text: Result<&str>| {
            let text = text?;
            let number = text.parse::<i64>().ok();
            let number = number.filter(|number| (least..=largest).contains(number));
            number.ok_or_else(|| wrong(text.as_bytes()))
        };
        return ints(trimmed.map(number).collect::<Result<Vec<i64>>>()?, &texts.dims, dtype);
    }
    let number = |text: Result<&str>| {
        let text = text?;
        text.parse::<f64>().map_err(|_| wrong(text.as_bytes()))
    };
    let numbers = trimmed.map(number).collect::<Result<Vec<f64>>>()?;
    let carried = carried(dtype).filter(|_| is_float(dtype));
    let carried = carried.ok_or_else(|| Error::dtype("a text", dtype))?;
    let tensor = candle_core::Tensor::from_vec(numbers, texts.dims.as_slice(), &Device::Cpu)?;
    let tensor = tensor.to_dtype(carried)?.to_device(context.device)?;
    Ok(TfTensor { tensor, dtype })
}

/// How numbers are written: `printf`'s ways, as far as they are asked for.
#[derive(Debug, Clone)]
struct Form {
    precision: Option<usize>,
    scientific: bool,
    width: usize,
    fill: Option<u8>,
}

fn as_string(attrs: &Attrs<'_>) -> Result<Kernel> {
    let form = Form {
        precision: usize::try_from(attrs.int("precision", -1)?).ok(),
        scientific: attrs.bool("scientific", false)?,
        width: usize::try_from(attrs.int("width", -1)?).unwrap_or(0),
        fill: attrs.text("fill", "")?.bytes().next(),
    };
    if attrs.bool("shortest", false)? {
        return Err(Error::operand("the shortest form of numbers is not written"));
    }
    if form.width > 1 << 10 || form.precision.is_some_and(|precision| precision > 1 << 10) {
        return Err(Error::graph("a number is written with more than a thousand digits"));
    }
    many(move |args, context| {
        if let Value::Strings(texts) = args.value(0)? {
            return Ok(vec![Value::Strings(texts.clone())]);
        }
        let x = args.tensor(0)?;
        // No number has more digits than these, but for those that are asked for.
        let digits = 400 + form.width + form.precision.unwrap_or(0);
        context.elements(x.dims(), size_of::<Vec<u8>>() + digits)?;
        let texts: Vec<String> = match x.dtype {
            DType::Bool => x.to_ints()?.iter().map(|value| (*value != 0).to_string()).collect(),
            dtype if is_int(dtype) => x.to_ints()?.iter().map(i64::to_string).collect(),
            _ => {
                let flat = x.tensor.to_device(&Device::Cpu)?.flatten_all()?;
                let numbers = flat.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
                numbers.into_iter().map(|value| form.number(value)).collect()
            }
        };
        let is_text = x.dtype == DType::Bool;
        let padded = texts.into_iter().map(|text| form.padded(text, is_text).into_bytes());
        Ok(vec![Value::Strings(Strings::new(padded.collect(), x.dims())?)])
    })
}

impl Form {
    fn number(&self, value: f64) -> String {
        let digits = self.precision.unwrap_or(6);
        if !value.is_finite() {
            let name = if value.is_nan() { "nan" } else { "inf" };
            return format!("{}{name}", if value < 0.0 { "-" } else { "" });
        }
        match self.scientific {
            false => format!("{value:.digits$}"),
            true => {
                let text = format!("{value:.digits$e}");
                let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ("-", exponent),
                    None => ("+", exponent),
                };
                format!("{number}e{sign}{exponent:0>2}")
            }
        }
    }

    fn padded(&self, text: String, is_text: bool) -> String {
        let width = self.width;
        let is_negative = text.starts_with('-');
        match self.fill {
            Some(b'-') => format!("{text:<width$}"),
            Some(sign @ (b'+' | b' ')) if !is_negative && !is_text => {
                format!("{:>width$}", format!("{}{text}", char::from(sign)))
            }
            Some(b'0') if !is_text => match text.strip_prefix('-') {
                Some(digits) => format!("-{digits:0>width$}", width = width.saturating_sub(1)),
                None => format!("{text:0>width$}"),
            },
            _ => format!("{text:>width$}"),
        }
    }
}
