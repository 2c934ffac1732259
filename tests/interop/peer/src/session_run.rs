//! A graph of TensorFlow's that is trained on without its code.

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use tfckpt_session::{Session, import_meta_graph};

use crate::digits::{BATCH, Digits};

/// Takes up the digits at `prefix`, trains on to step `until`, saves at `save`, and prints the losses.
pub(crate) fn train(prefix: &str, digits: &Digits, until: usize, save: &str) -> Result<()> {
    let session = Session::new(&import_meta_graph(format!("{prefix}.meta"))?, &Device::Cpu)?;
    session.restore(prefix)?;
    let training = session.training("loss:0")?;
    let first = usize::try_from(session.variable("global_step")?.to_scalar::<i64>()?)?;
    let mut losses = Vec::new();
    for step in first..until {
        let (pixels, labels) = digits.batch(step);
        let images = Tensor::from_vec(pixels, (BATCH, 8, 8, 1), &Device::Cpu)?;
        let labels: Vec<i64> = labels.into_iter().map(i64::from).collect();
        let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?;
        let feeds: [(&str, &Tensor); 2] = [("image:0", &images), ("label:0", &labels)];
        losses.push(training.step(&session, &feeds)?.to_scalar::<f32>()?);
    }
    if losses.iter().any(|loss| !loss.is_finite()) {
        bail!("a loss is not finite");
    }
    session.save(save)?;
    println!("{}", serde_json::to_string(&losses)?);
    Ok(())
}
