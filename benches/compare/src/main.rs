//! Our side of the comparison: one JSON command for each line of standard input, one JSON answer for each.
//!
//! Data stays alive between commands, until `forget`. Only the work itself is timed: neither what prepares it nor the
//! freeing of what it returned.

mod background;
mod bert;
mod burn_state;
mod candle_state;
mod digest;
mod flat;
mod raw;
mod transpose;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tfckpt::io::Durability;

use crate::background::Background;
use crate::bert::Size;
use crate::burn_state::BurnState;
use crate::candle_state::CandleState;
use crate::digest::Digest;
use crate::flat::Flat;
use crate::transpose::Kernel;

fn main() -> Result<()> {
    let mut bench = Bench::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(anyhow::Error::from)
            .and_then(|command| bench.run(command));
        let answer = answer.unwrap_or_else(|error| Answer {
            error: Some(format!("{error:#}")),
            ..Answer::default()
        });
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// What compare.py can ask for. `path` is a checkpoint's directory for what saves, its prefix for what reads, and a
/// file for the other formats.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Forget,
    FlatMake {
        count: usize,
        elements: usize,
    },
    FlatSave {
        path: PathBuf,
        synced: bool,
    },
    FlatRestore {
        path: PathBuf,
    },
    FlatCheck {
        path: PathBuf,
    },
    FlatOne {
        path: PathBuf,
        name: String,
    },
    FlatList {
        path: PathBuf,
    },
    RawWrite {
        path: PathBuf,
        synced: bool,
    },
    RawRead {
        path: PathBuf,
    },
    TransposeMake {
        path: PathBuf,
        edge: usize,
    },
    TransposeImport {
        path: PathBuf,
    },
    TransposeMemory,
    TransposeCandle,
    CandleMake {
        size: Size,
    },
    CandleWeights {
        path: PathBuf,
    },
    CandleImport {
        path: PathBuf,
    },
    CandleStep,
    CandleDigest,
    CandleSave {
        path: PathBuf,
        synced: bool,
        #[serde(default)]
        identity: bool,
    },
    CandleRestore {
        path: PathBuf,
        #[serde(default)]
        one_pass: bool,
    },
    SafetensorsSave {
        path: PathBuf,
    },
    SafetensorsBorrowed {
        path: PathBuf,
    },
    SafetensorsLoad {
        path: PathBuf,
    },
    CandleBackground {
        path: PathBuf,
    },
    CandleMemcpy,
    BurnMake {
        path: PathBuf,
        size: Size,
    },
    BurnImport {
        path: PathBuf,
    },
    BurnStep,
    BurnDigest,
    BurnSave {
        path: PathBuf,
        synced: bool,
    },
    BurnRestore {
        path: PathBuf,
        #[serde(default)]
        step: bool,
    },
    BurnpackSave {
        path: PathBuf,
    },
    BurnpackLoad {
        path: PathBuf,
        #[serde(default)]
        step: bool,
    },
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The data of the workloads that were begun.
#[derive(Default)]
struct Bench {
    flat: Option<Flat>,
    kernel: Option<Kernel>,
    candle: Option<CandleState>,
    burn: Option<BurnState>,
    background: Background,
}

impl Bench {
    fn run(&mut self, command: Command) -> Result<Answer> {
        match command {
            Command::Forget => {
                *self = Bench::default();
                Ok(Answer::default())
            }
            Command::FlatMake { count, elements } => {
                let flat = self.flat.insert(Flat::new(count, elements));
                Ok(Answer::size(flat.bytes()))
            }
            Command::FlatSave { path, synced } => self.flat()?.save(path, durability(synced)),
            Command::FlatRestore { path } => self.flat()?.restore(path),
            Command::FlatCheck { path } => self.flat()?.check(path),
            Command::FlatOne { path, name } => flat::one(path, &name),
            Command::FlatList { path } => flat::list(path),
            Command::RawWrite { path, synced } => raw::write(path, &self.flat()?.slices(), synced),
            Command::RawRead { path } => raw::read(path),
            Command::TransposeMake { path, edge } => {
                self.kernel = Some(Kernel::new(path, edge)?);
                Ok(Answer::default())
            }
            Command::TransposeImport { path } => self.kernel()?.import(path),
            Command::TransposeMemory => self.kernel()?.in_memory(),
            Command::TransposeCandle => self.kernel()?.candle(),
            Command::CandleMake { size } => {
                let state = self.candle.insert(CandleState::new(size)?);
                Ok(Answer::size(state.bytes()))
            }
            Command::CandleWeights { path } => self.candle()?.save_weights(path),
            Command::CandleImport { path } => self.candle()?.import(path),
            Command::CandleStep => self.candle()?.step(),
            Command::CandleDigest => self.candle()?.digest(),
            Command::CandleSave { path, synced, identity } => self.candle()?.save(path, durability(synced), identity),
            Command::CandleRestore { path, one_pass } => self.candle()?.restore(path, !one_pass),
            Command::SafetensorsSave { path } => self.candle()?.save_safetensors(path),
            Command::SafetensorsBorrowed { path } => self.candle()?.save_safetensors_borrowed(path),
            Command::SafetensorsLoad { path } => self.candle()?.load_safetensors(path),
            Command::CandleBackground { path } => self.background.save(self.candle.as_ref(), path),
            Command::CandleMemcpy => self.background.memcpy(self.candle.as_ref()),
            Command::BurnMake { path, size } => {
                self.burn = Some(BurnState::new(size, path)?);
                Ok(Answer::default())
            }
            Command::BurnImport { path } => self.burn()?.import(path),
            Command::BurnStep => self.burn()?.step(),
            Command::BurnDigest => self.burn()?.digest(),
            Command::BurnSave { path, synced } => self.burn()?.save(path, durability(synced)),
            Command::BurnRestore { path, step } => self.burn()?.restore(path, step),
            Command::BurnpackSave { path } => self.burn()?.save_burnpack(path),
            Command::BurnpackLoad { path, step } => self.burn()?.load_burnpack(path, step),
        }
    }

    fn flat(&mut self) -> Result<&mut Flat> {
        self.flat.as_mut().context("flat_make comes first")
    }

    fn kernel(&mut self) -> Result<&mut Kernel> {
        self.kernel.as_mut().context("transpose_make comes first")
    }

    fn candle(&mut self) -> Result<&mut CandleState> {
        self.candle.as_mut().context("candle_make comes first")
    }

    fn burn(&mut self) -> Result<&mut BurnState> {
        self.burn.as_mut().context("burn_make comes first")
    }
}

impl Answer {
    fn time(seconds: f64, bytes: u64) -> Self {
        Answer {
            seconds: Some(seconds),
            bytes: Some(bytes),
            ..Answer::default()
        }
    }

    fn size(bytes: u64) -> Self {
        Answer {
            bytes: Some(bytes),
            ..Answer::default()
        }
    }

    fn digest(digest: Digest) -> Self {
        Answer {
            bytes: Some(digest.bytes()),
            digest: Some(digest),
            ..Answer::default()
        }
    }
}

/// The seconds that `work` takes, and what it returned: freeing that is not part of the work.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    Ok((seconds, result?))
}

fn durability(synced: bool) -> Durability {
    if synced {
        Durability::Synced
    } else {
        Durability::Buffered
    }
}
