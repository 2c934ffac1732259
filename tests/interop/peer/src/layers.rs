//! Layers with other weights than TensorFlow gave them: saved, with what they compute.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::module::{Module, ModuleMapper, Param};
use burn::store::ModuleSnapshot;
use burn::tensor::Tensor;
use burn_cases::{Visit, each};
use candle_core::{DType, Device};
use candle_nn::VarMap;
use shared::{Values, array, prefix};
use tfckpt::io::LocalDir;
use tfckpt::map::NameMap;
use tfckpt::{BundleWriter, Checkpoint, Variable};
use tfckpt_burn::TfCheckpointStore;
use tfckpt_candle::{Variables, recording};

#[path = "../../../layers/burn.rs"]
mod burn_cases;
#[path = "../../../layers/candle.rs"]
mod candle_cases;
#[path = "../../../layers/shared.rs"]
mod shared;

/// For each kind of layer a checkpoint of its name, with the output as `outputs/y`.
pub(crate) fn layers(framework: &str, directory: &str) -> Result<()> {
    let directory = Path::new(directory);
    let names = match framework {
        "burn" => {
            let mut saver = Saver {
                directory: directory.to_owned(),
                cases: Checkpoint::open(prefix("cases"))?,
                names: Vec::new(),
                failure: None,
            };
            each(&mut saver);
            match saver.failure {
                Some(error) => return Err(error),
                None => saver.names,
            }
        }
        _ => of_candle(directory)?,
    };
    println!("{}", serde_json::to_string(&names)?);
    Ok(())
}

struct Saver {
    directory: PathBuf,
    cases: Checkpoint,
    names: Vec<String>,
    failure: Option<anyhow::Error>,
}

impl Saver {
    fn save<M: Module>(
        &self,
        name: &str,
        names: NameMap,
        mut module: M,
        forward: impl Fn(&M, &Values) -> Values,
    ) -> Result<()> {
        module.load_from(&mut TfCheckpointStore::from_file(prefix("model")).names(names.clone()))?;
        // What is fixed to 1 or 0 cannot be changed.
        let module = if name.contains("norm_") {
            module
        } else {
            module.map(&mut Change)
        };
        let x = array(&self.cases, &format!("{name}/x"));
        let own = self.directory.join(format!("{name}.own"));
        module.save_into(&mut TfCheckpointStore::from_file(&own).names(names))?;
        together(&self.directory, name, &Checkpoint::open(&own)?, &forward(&module, &x))
    }
}

impl Visit for Saver {
    fn layer<M: Module>(&mut self, name: &str, names: NameMap, module: M, forward: impl Fn(&M, &Values) -> Values) {
        match self.save(name, names, module, forward) {
            // The two parameters of this one have to be equal.
            _ if name == "tied" => {}
            Ok(()) => self.names.push(name.to_owned()),
            Err(error) => self.failure = self.failure.take().or(Some(error.context(name.to_owned()))),
        }
    }
}

/// Other weights.
pub(crate) struct Change;

impl ModuleMapper for Change {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        Param::from_mapped_value(id, value * 0.75 + 0.03, mapper)
    }
}

fn of_candle(directory: &Path) -> Result<Vec<String>> {
    let cases = Checkpoint::open(prefix("cases"))?;
    let (mut done, mut failure) = (Vec::new(), None);
    candle_cases::each(&mut |name, names, forward| {
        let save = || -> Result<()> {
            let x = candle_cases::input(&array(&cases, &format!("{name}/x")))?;
            let varmap = VarMap::new();
            let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
            forward(&vb, &x)?;
            let variables = Variables::new(&varmap).layers(&layers).names(names.clone());
            variables.restore(&Checkpoint::open(prefix("model"))?)?;
            if !name.contains("norm_") {
                for var in varmap.all_vars() {
                    var.set(&((var.as_tensor() * 0.75)? + 0.03)?)?;
                }
            }
            let y = candle_cases::output(&forward(&vb, &x)?)?;
            write(directory, name, variables.to_save()?, &y)
        };
        if name != "tied" {
            match save() {
                Ok(()) => done.push(name.to_owned()),
                Err(error) => failure = failure.take().or(Some(error.context(name.to_owned()))),
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

/// The variables of a checkpoint and an output in one.
fn together(directory: &Path, name: &str, own: &Checkpoint, y: &Values) -> Result<()> {
    let variables = own.variables().map(|info| {
        let bytes = own.read_bytes(info.key())?;
        Ok(Variable::from_bytes(
            info.key(),
            info.dtype(),
            info.shape().clone(),
            bytes,
        ))
    });
    write(directory, name, variables.collect::<Result<_>>()?, y)
}

fn write<'v>(directory: &Path, name: &str, mut variables: Vec<Variable<'v>>, y: &'v Values) -> Result<()> {
    variables.push(Variable::new("outputs/y", y.dims.clone(), &y.values));
    variables.sort_by(|a, b| a.key().cmp(b.key()));
    let storage = std::sync::Arc::new(LocalDir::create(directory)?);
    let mut writer = BundleWriter::create(storage, name)?;
    variables.into_iter().try_for_each(|variable| writer.add(variable))?;
    writer.finish()?;
    Ok(())
}
