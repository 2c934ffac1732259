//! Scripted histories of saves, under a clock that the script sets: each line of standard input is a command in JSON,
//! and is answered by a line.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tfckpt::objects::ObjectLayout;
use tfckpt::{CheckpointManager, Clock, Error, SaveAt, Saver, Variable};

/// What a script asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    /// A new saver or manager, as in a new process.
    Start {
        time: f64,
        #[serde(default)]
        options: Options,
    },
    Save {
        time: f64,
        step: i64,
        #[serde(default = "yes")]
        write_state: bool,
        number: Option<i64>,
        #[serde(default = "yes")]
        check_interval: bool,
    },
    RestoreOrInitialize,
    Recover {
        checkpoints: Vec<PathBuf>,
    },
    SetTimes {
        checkpoints: Vec<(PathBuf, f64)>,
    },
    Checkpoints,
    Latest,
}

/// Options under TensorFlow's names, with TensorFlow's defaults.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    max_to_keep: Option<usize>,
    keep_checkpoint_every_n_hours: Option<f64>,
    pad_step_number: bool,
    latest_filename: Option<String>,
    save_relative_paths: bool,
    checkpoint_name: Option<String>,
    checkpoint_interval: Option<i64>,
    /// Whether checkpoints are those of `tf.train.Checkpoint`, or have names.
    objects: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_to_keep: Some(5),
            keep_checkpoint_every_n_hours: None,
            pad_step_number: false,
            latest_filename: None,
            save_relative_paths: false,
            checkpoint_name: None,
            checkpoint_interval: None,
            objects: true,
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Default)]
struct ScriptClock(Arc<Mutex<f64>>);

impl ScriptClock {
    fn set(&self, time: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

impl Clock for ScriptClock {
    fn now(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows a script with a [`Saver`].
pub(crate) fn saver(directory: &str) -> Result<()> {
    let clock = ScriptClock::default();
    let mut saver: Option<Saver> = None;
    follow(|command| {
        if let Command::Start { time, options } = command {
            // The lock of the one before.
            drop(saver.take());
            clock.set(time);
            // TensorFlow's graph is that of its own network, and ours of the variables alone: `graph` compares them.
            let mut new = Saver::new(directory)
                .max_to_keep(options.max_to_keep)
                .pad_step_number(options.pad_step_number)
                .save_relative_paths(options.save_relative_paths)
                .write_meta_graph(false)
                .overwrite(true)
                .clock(clock.clone());
            if let Some(hours) = options.keep_checkpoint_every_n_hours {
                new = new.keep_checkpoint_every_n_hours(hours);
            }
            if let Some(name) = options.latest_filename {
                new = new.latest_filename(name);
            }
            saver = Some(new);
            return Ok(Value::Null);
        }
        let mut running = saver.take().context("no saver was started")?;
        let answer = match command {
            Command::Save {
                time,
                step,
                write_state,
                ..
            } => {
                clock.set(time);
                running = running.write_state(write_state);
                let saved = running.save([Variable::scalar("v", step as f32)], step)?;
                anyhow::ensure!(saved.removal_errors.is_empty(), "{:?}", saved.removal_errors);
                json!(saved.prefix)
            }
            Command::Recover { checkpoints } => {
                running.recover_last_checkpoints(checkpoints);
                Value::Null
            }
            Command::SetTimes { checkpoints } => {
                running.set_last_checkpoints_with_time(checkpoints);
                Value::Null
            }
            Command::Checkpoints => json!(running.last_checkpoints()?),
            Command::Latest => json!(tfckpt::latest_checkpoint(directory)?),
            other => bail!("no command of a saver: {other:?}"),
        };
        saver = Some(running);
        Ok(answer)
    })
}

/// Follows a script with a [`CheckpointManager`].
pub(crate) fn manager(directory: &str) -> Result<()> {
    let clock = ScriptClock::default();
    let mut manager: Option<CheckpointManager> = None;
    follow(|command| {
        if let Command::Start { time, options } = command {
            drop(manager.take());
            clock.set(time);
            let mut new = CheckpointManager::new(directory, options.max_to_keep)
                .keep_checkpoint_every_n_hours(options.keep_checkpoint_every_n_hours)
                .checkpoint_interval(options.checkpoint_interval)
                .overwrite(true)
                .clock(clock.clone());
            if options.objects {
                new = new.objects(ObjectLayout::module("model").step("step"));
            }
            if let Some(name) = options.checkpoint_name {
                new = new.checkpoint_name(name);
            }
            // TensorFlow's reads the state file when it is made.
            let latest = new.latest_checkpoint()?;
            manager = Some(new);
            return Ok(json!(latest));
        }
        let running = manager.as_mut().context("no manager was started")?;
        Ok(match command {
            Command::Save {
                time,
                step,
                number,
                check_interval,
                ..
            } => {
                clock.set(time);
                let at = SaveAt::step(step)
                    .checkpoint_number(number)
                    .check_interval(check_interval);
                let saved = running.save([Variable::scalar("v", step as f32)], at)?;
                let errors = saved.iter().flat_map(|saved| &saved.removal_errors).collect::<Vec<_>>();
                anyhow::ensure!(errors.is_empty(), "{errors:?}");
                json!(saved.map(|saved| saved.prefix))
            }
            Command::RestoreOrInitialize => json!(running.restore_or_initialize(|_| Ok::<_, Error>(()))?),
            Command::Checkpoints => json!(running.checkpoints()?),
            Command::Latest => json!(running.latest_checkpoint()?),
            other => bail!("no command of a manager: {other:?}"),
        })
    })
}

/// Answers each command; an error is the answer to its command, and the script decides.
fn follow(mut answer: impl FnMut(Command) -> Result<Value>) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let command = serde_json::from_str(&line).with_context(|| format!("unknown command `{line}`"))?;
        let answer = answer(command).unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        println!("{answer}");
    }
    Ok(())
}
