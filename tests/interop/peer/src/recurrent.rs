//! Recurrent layers in training, saved as the objects of a Keras model, and by names.

use std::path::Path;

use anyhow::{Result, bail};
use burn::optim::ModuleOptimizer;
use serde_json::json;
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention;
use tfckpt_burn::optim::Adam;

#[path = "../../../recurrent/burn_net.rs"]
mod burn_net;
#[path = "../../../recurrent/candle_net.rs"]
mod candle_net;

/// The step whose input is not trained on.
const UNSEEN: i64 = 99;

/// Trains in `directory` from what is there until a step, saves the objects there, and all variables by their names in `names`;
/// prints an input and what is computed of it. A run that is there already goes on if it has not come so far, and is saved by
/// names all the same.
pub(crate) fn recurrent(framework: &str, kind: &str, directory: &str, until: i64, names: &str) -> Result<()> {
    let convention = match kind {
        "keras3" => Convention::Keras3,
        "keras2" => Convention::Keras2,
        "keras2_legacy" => Convention::Keras2Legacy,
        other => bail!("unknown convention `{other}`"),
    };
    let output = match framework {
        "burn" => of_burn(convention, directory, until, names)?,
        "candle" => {
            let mut training = candle_net::Training::new(convention)?;
            training.until(directory, until, Some(layout(convention)))?;
            training.save(names)?;
            training.output(UNSEEN)?.flatten_all()?.to_vec1::<f32>()?
        }
        other => bail!("unknown framework `{other}`"),
    };
    let input: Vec<f32> = candle_net::input(UNSEEN)?.flatten_all()?.to_vec1()?;
    println!("{}", json!({ "input": input, "output": output }));
    Ok(())
}

fn layout(convention: Convention) -> ObjectLayout {
    let layout = match convention {
        Convention::Keras3 => ObjectLayout::keras3_sequential(["input"].into_iter().chain(candle_net::LAYERS)),
        _ => ObjectLayout::keras2(candle_net::LAYERS).optimizer(convention),
    };
    let layout = layout.learning_rate(1e-3);
    match convention {
        Convention::Keras2Legacy => {
            let numbers = [("beta_1", 0.9), ("beta_2", 0.999), ("decay", 0.0)];
            numbers
                .into_iter()
                .fold(layout, |layout, (name, value)| layout.hyperparameter(name, value))
        }
        _ => layout,
    }
}

fn of_burn(convention: Convention, directory: &str, until: i64, names: &str) -> Result<Vec<f32>> {
    let optimizer: ModuleOptimizer = match convention {
        Convention::Keras2Legacy => Adam::legacy().init(),
        _ => Adam::keras().init(),
    };
    let run = burn_net::checkpoints(Path::new(directory)).objects(layout(convention));
    let training = burn_net::Training::new(optimizer).until(&run, until)?;
    burn_net::checkpoints(Path::new(names))
        .optimizer_convention(convention)
        .save(&training.net, &training.optimizer, &training.rate)?;
    let input = burn_net::input(UNSEEN, &burn::tensor::Device::flex().autodiff());
    Ok(training.net.forward(input).into_data().try_to_vec()?)
}
