//! Our side of `tests/interop`: does with this project what `interop.py` asks, and prints what it found as JSON.

mod assign;
mod burn_optimizers;
mod burn_run;
mod candle_run;
mod codec;
mod digits;
mod layers;
mod models;
mod named;
mod objects;
mod optimizers;
mod recurrent;
mod savers;
mod session_run;

use anyhow::{Result, bail};
use digits::Digits;
use tfckpt::objects::ObjectLayout;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["write", spec, prefix, max_shard_bytes] => codec::write(spec, prefix, max_shard_bytes.parse()?),
        ["dump", path] => codec::dump(path),
        ["parts", path, parts] => codec::parts(path, parts),
        ["merge", destination, parts @ ..] => codec::merge(destination, parts),
        ["graph", spec, directory, kind] => codec::graph(spec, directory, kind),
        ["objects-write", spec, prefix] => objects::write(spec, prefix),
        ["objects-save", spec, directory, steps @ ..] => objects::save(spec, directory, steps),
        ["objects-find", path, names] => objects::find(path, names),
        ["outcomes", path, names @ ..] => codec::outcomes(path, names),
        ["assign", spec] => assign::assign(spec),
        ["model", "candle", name, folder, directory] => models::model(name, folder, directory),
        ["model", "burn", name, folder, directory] => models::burn_model(name, folder, directory),
        ["named", style, directory] => named::named(style, directory),
        ["optimizer", case, from, directory, until] => optimizers::go_on(case, from, directory, until.parse()?),
        ["recurrent", framework, kind, directory, until, names] => {
            recurrent::recurrent(framework, kind, directory, until.parse()?, names)
        }
        ["saver", directory] => savers::saver(directory),
        ["layers", framework, directory] => layers::layers(framework, directory),
        ["manager", directory] => savers::manager(directory),
        ["burn", directory, data, until, kind] => {
            burn_run::train(directory, &Digits::read(data)?, until.parse()?, layout(kind)?)
        }
        ["burn-optimizer", directory, case, layers @ ..] => burn_optimizers::run(directory, case, layers),
        ["candle", directory, data, until, kind] => {
            candle_run::train(directory, &Digits::read(data)?, until.parse()?, layout(kind)?)
        }
        ["session", prefix, data, until, save] => {
            session_run::train(prefix, &Digits::read(data)?, until.parse()?, save)
        }
        _ => bail!(
            "usage: write SPEC PREFIX MAX_SHARD_BYTES | dump PATH | parts PATH PARTS | merge DESTINATION PART... | \
             outcomes PATH NAME... | graph SPEC DIRECTORY (resource|ref) | objects-write SPEC PREFIX | \
             objects-save SPEC DIRECTORY STEP... | objects-find PATH NAMES | assign SPEC | \
             session PREFIX DATA UNTIL SAVE | optimizer CASE FROM DIRECTORY UNTIL | burn-optimizer DIRECTORY CASE LAYER... | \
             model (burn|candle) NAME FOLDER DIRECTORY | named STYLE DIRECTORY | \
             recurrent (burn|candle) (keras3|keras2|keras2_legacy) DIRECTORY UNTIL NAMES | (saver|manager) DIRECTORY | layers (burn|candle) DIRECTORY | \
             (burn|candle) DIRECTORY DATA UNTIL (names|keras3|module)"
        ),
    }
}

/// How the checkpoints of a run are laid out: by names, or as the objects of a Python program.
fn layout(kind: &str) -> Result<Option<ObjectLayout>> {
    Ok(match kind {
        "names" => None,
        "keras3" => {
            let layers = ["pixels", "conv1", "pool1", "conv2", "pool2", "flat", "dense"];
            Some(ObjectLayout::keras3_functional(layers).learning_rate(1e-3).step("step"))
        }
        "module" => Some(ObjectLayout::module("model").step("step")),
        other => bail!("unknown layout `{other}`"),
    })
}
