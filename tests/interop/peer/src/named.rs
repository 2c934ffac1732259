//! The names that each library gives, in Candle: networks that TensorFlow made, with other weights.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use networks::{Depthwise, Net, fixture, known, names_of_objects, style};
use serde_json::json;
use tfckpt::map::NameMap;
use tfckpt::objects::ObjectLayout;
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Layers, Variables, recording};

#[path = "../../../names/candle.rs"]
mod networks;

/// Restores the network of a style from TensorFlow's checkpoint, changes all variables, saves them in `directory`, and prints
/// what it computes now.
pub(crate) fn named(name: &str, directory: &str) -> Result<()> {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    if let Some(style) = style(name) {
        let net = Net::new(&vb, &style.paths)?;
        let change = Change {
            varmap,
            checkpoint: style.checkpoint,
            names: (style.names)(&layers),
            layers,
        };
        return change.save(directory, None, &|x| Ok(net.forward(x)?));
    }
    let (name, layout) = match name {
        "keras2" => (name, Some(ObjectLayout::keras2(LAYERS))),
        // As `model.save_weights` has it.
        "keras2 weights" => ("keras2", Some(ObjectLayout::keras2(LAYERS).root(""))),
        "keras3" => (
            name,
            Some(ObjectLayout::keras3_sequential(["input"].into_iter().chain(LAYERS))),
        ),
        _ => (name, None),
    };
    let Some(names) = names_of_objects(name) else {
        bail!("no style is called `{name}`");
    };
    let net = Depthwise::new(&vb)?;
    let change = Change {
        varmap,
        checkpoint: "keras2",
        names,
        layers,
    };
    change.save(directory, layout, &|x| Ok(net.forward(x)?))
}

const LAYERS: [&str; 5] = ["dw", "bn", "relu", "pool", "head"];

struct Change {
    varmap: VarMap,
    checkpoint: &'static str,
    names: NameMap,
    layers: Layers,
}

impl Change {
    fn save(
        self,
        directory: &str,
        layout: Option<ObjectLayout>,
        forward: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let variables = Variables::new(&self.varmap).layers(&self.layers).names(self.names);
        variables.restore(&Checkpoint::open(fixture(self.checkpoint))?)?;
        for var in self.varmap.all_vars() {
            var.set(&((var.as_tensor() * 0.75)? + 0.03)?)?;
        }
        let mut saver = Saver::new(directory);
        if let Some(layout) = layout {
            saver = saver.objects(layout);
        }
        saver.save(variables.to_save()?, 7)?;
        let y: Vec<f32> = forward(&known("x"))?.flatten_all()?.to_vec1()?;
        println!("{}", json!({ "y": y }));
        Ok(())
    }
}
