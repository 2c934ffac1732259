//! Hash tables: words to numbers and back, as feature columns and text layers have them.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::{dims_of, signed};
use super::table::{Args, Ops, many, one};
use crate::context::Context;
use crate::dtype::{carried, is_float, is_int};
use crate::error::{Error, Result};
use crate::tables::{Cell, Table};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for (name, mutable) in [
        ("HashTable", false),
        ("HashTableV2", false),
        ("MutableHashTable", true),
        ("MutableHashTableV2", true),
    ] {
        ops.impure(name, move |attrs| {
            let (key, value) = (
                attrs.dtype("key_dtype", DType::String)?,
                attrs.dtype("value_dtype", DType::Int64)?,
            );
            let called = match attrs.text("shared_name", "")? {
                "" => attrs.node().name().to_owned(),
                name => name.to_owned(),
            };
            many(move |_, context| {
                let table = context.tables.get(&called, || Table::new(key, value, mutable));
                Ok(vec![Value::Table(table)])
            })
        });
    }
    for name in ["LookupTableFind", "LookupTableFindV2"] {
        ops.impure(name, |_| many(find));
    }
    for name in ["LookupTableSize", "LookupTableSizeV2"] {
        ops.impure(name, |_| {
            one(|args, _| ints(vec![signed(table(args)?.len())], &[], DType::Int64))
        });
    }
    for name in ["LookupTableExport", "LookupTableExportV2"] {
        ops.impure(name, |_| {
            many(|args, context| {
                let table = table(args)?;
                let (keys, values): (Vec<Cell>, Vec<Cell>) = table.pairs()?.into_iter().unzip();
                let dims = [keys.len()];
                Ok(vec![
                    tensor_of(keys, table.key, &dims, context)?,
                    tensor_of(values, table.value, &dims, context)?,
                ])
            })
        });
    }
    for name in [
        "InitializeTable",
        "InitializeTableV2",
        "LookupTableImport",
        "LookupTableImportV2",
    ] {
        ops.acts(name, |_| {
            many(|args, _| {
                let pairs = pairs(args)?;
                table(args)?.fill(pairs);
                Ok(Vec::new())
            })
        });
    }
    for name in ["LookupTableInsert", "LookupTableInsertV2"] {
        ops.acts(name, |_| {
            many(|args, _| {
                let pairs = pairs(args)?;
                table(args)?.insert(pairs);
                Ok(Vec::new())
            })
        });
    }
    ops.acts("LookupTableRemoveV2", |_| {
        many(|args, _| {
            let table = table(args)?;
            table.remove(&cells(args.value(1)?, table.key)?);
            Ok(Vec::new())
        })
    });
    for name in ["InitializeTableFromTextFile", "InitializeTableFromTextFileV2"] {
        ops.acts(name, |attrs| {
            let file = TextFile {
                most: usize::try_from(attrs.int("vocab_size", -1)?).ok(),
                key: Column::of(attrs.int("key_index", -2)?)?,
                value: Column::of(attrs.int("value_index", -1)?)?,
                delimiter: attrs
                    .text("delimiter", "\t")?
                    .as_bytes()
                    .first()
                    .copied()
                    .unwrap_or(b'\t'),
                skipped: attrs.count("offset", 0)?,
            };
            many(move |args, context| {
                let name = args.strings(1)?.elements.first().cloned().unwrap_or_default();
                let text = context.tables.read_file(&name, context.limits.tensor_bytes())?;
                let table = table(args)?;
                table.fill(file.pairs(&text, table)?);
                Ok(Vec::new())
            })
        });
    }
}

fn table(args: &Args) -> Result<&Arc<Table>> {
    match args.value(0)? {
        Value::Table(table) => Ok(table),
        other => Err(Error::operand(format!(
            "operand 0: expected a table, found {}",
            other.name()
        ))),
    }
}

fn pairs(args: &Args) -> Result<Vec<(Cell, Cell)>> {
    let table = table(args)?;
    let (keys, values) = (cells(args.value(1)?, table.key)?, cells(args.value(2)?, table.value)?);
    match keys.len() == values.len() {
        true => Ok(keys.into_iter().zip(values).collect()),
        false => Err(Error::operand(format!(
            "{} keys with {} values",
            keys.len(),
            values.len()
        ))),
    }
}

/// The elements of a tensor of this dtype.
fn cells(value: &Value, dtype: DType) -> Result<Vec<Cell>> {
    match value {
        Value::Strings(strings) if dtype == DType::String => {
            Ok(strings.elements.iter().cloned().map(Cell::Text).collect())
        }
        Value::Tensor(tensor) if tensor.dtype == dtype && is_float(dtype) => {
            let flat = tensor.tensor.to_device(&Device::Cpu)?.flatten_all()?;
            let numbers = flat.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            Ok(numbers.into_iter().map(|value| Cell::Float(value.to_bits())).collect())
        }
        Value::Tensor(tensor) if tensor.dtype == dtype => Ok(tensor.to_ints()?.into_iter().map(Cell::Int).collect()),
        other => Err(Error::operand(format!(
            "expected {dtype} for a table, found {}",
            other.name()
        ))),
    }
}

fn tensor_of(cells: Vec<Cell>, dtype: DType, dims: &[usize], context: &Context<'_>) -> Result<Value> {
    if dtype == DType::String {
        let text = |cell| match cell {
            Cell::Text(text) => text,
            _ => Vec::new(),
        };
        return Ok(Value::Strings(Strings::new(
            cells.into_iter().map(text).collect(),
            dims,
        )?));
    }
    if is_float(dtype) {
        let number = |cell: &Cell| match cell {
            Cell::Float(bits) => f64::from_bits(*bits),
            _ => 0.0,
        };
        let carried = carried(dtype).ok_or_else(|| Error::dtype("a value of a table", dtype))?;
        let numbers: Vec<f64> = cells.iter().map(number).collect();
        let tensor = Tensor::from_vec(numbers, dims, &Device::Cpu)?.to_dtype(carried)?;
        let tensor = tensor.to_device(context.device)?;
        return Ok(TfTensor { tensor, dtype }.into());
    }
    let number = |cell: &Cell| match cell {
        Cell::Int(value) => *value,
        _ => 0,
    };
    let numbers: Vec<i64> = cells.iter().map(number).collect();
    match dtype {
        DType::Bool => {
            let truths = numbers.into_iter().map(|value| u8::from(value != 0));
            Ok(TfTensor::truths(truths.collect(), dims)?.into())
        }
        dtype if is_int(dtype) => Ok(ints(numbers, dims, dtype)?.into()),
        dtype => Err(Error::dtype("a value of a table", dtype)),
    }
}

fn find(args: &mut Args, context: &Context<'_>) -> Result<Vec<Value>> {
    let table = table(args)?;
    let keys = cells(args.value(1)?, table.key)?;
    let defaults = cells(args.value(2)?, table.value)?;
    let default = |place: usize| {
        let one_for_each = defaults.len() == keys.len();
        let default = defaults.get(if one_for_each { place } else { 0 });
        default.cloned().unwrap_or(Cell::Int(0))
    };
    let longest = defaults.iter().map(Cell::text_len).max().unwrap_or(0);
    let longest = longest.max(table.longest_text());
    context.elements(&[keys.len()], size_of::<Cell>() + longest)?;
    let found = table.find(&keys, default)?;
    Ok(vec![tensor_of(found, table.value, &dims_of(args.value(1)?)?, context)?])
}

/// How the lines of a file become keys and values.
struct TextFile {
    most: Option<usize>,
    key: Column,
    value: Column,
    delimiter: u8,
    skipped: usize,
}

#[derive(Debug, Clone, Copy)]
enum Column {
    WholeLine,
    LineNumber,
    Part(usize),
}

impl Column {
    fn of(number: i64) -> Result<Self> {
        match number {
            -2 => Ok(Column::WholeLine),
            -1 => Ok(Column::LineNumber),
            number => {
                let part = usize::try_from(number);
                part.map(Column::Part)
                    .map_err(|_| Error::graph(format!("a table of column {number}")))
            }
        }
    }
}

impl TextFile {
    fn pairs(&self, text: &[u8], table: &Table) -> Result<Vec<(Cell, Cell)>> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let lines = text.split(|byte| *byte == b'\n').skip(self.skipped).enumerate();
        let mut pairs = Vec::new();
        for (number, line) in lines {
            if self.most.is_some_and(|most| number >= most) {
                break;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let key = self.cell(self.key, number, line, table.key)?;
            pairs.push((key, self.cell(self.value, number, line, table.value)?));
        }
        match self.most {
            Some(most) if pairs.len() < most => Err(Error::operand(format!(
                "a vocabulary of {} lines, expected {most}",
                pairs.len()
            ))),
            _ => Ok(pairs),
        }
    }

    fn cell(&self, column: Column, number: usize, line: &[u8], dtype: DType) -> Result<Cell> {
        let text = match column {
            Column::LineNumber => return Ok(Cell::Int(signed(number))),
            Column::WholeLine => line,
            Column::Part(part) => line
                .split(|byte| *byte == self.delimiter)
                .nth(part)
                .ok_or_else(|| Error::operand(format!("line {number} of a vocabulary has no column {part}")))?,
        };
        let parsed = match dtype {
            DType::String => Some(Cell::Text(text.to_vec())),
            dtype => std::str::from_utf8(text).ok().and_then(|text| match dtype {
                dtype if is_float(dtype) => Some(Cell::Float(text.trim().parse::<f64>().ok()?.to_bits())),
                _ => Some(Cell::Int(text.trim().parse().ok()?)),
            }),
        };
        parsed.ok_or_else(|| Error::operand(format!("line {number} of a vocabulary is no {dtype}")))
    }
}
