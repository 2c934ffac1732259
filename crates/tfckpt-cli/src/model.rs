//! A model of which only the names and shapes of its parameters are known, and what a mapping makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use tfckpt::Checkpoint;
use tfckpt::map::{Compound, DenseOrder, Layer, NameMap, RecurrentLayer, Target};

use crate::convert::Source;
use crate::failure::{Exit, Failure};

/// Names and shapes.
pub(crate) type Shapes = Vec<(String, Vec<usize>)>;

/// The parameters of a model by a mapping.
pub(crate) struct Model<'m> {
    names: &'m NameMap,
    pub(crate) parameters: Shapes,
    /// What is no variable by itself, by its path.
    compounds: BTreeMap<String, Rc<Compound>>,
}

impl<'m> Model<'m> {
    /// Whether the mapping is one for these parameters, and what it makes of them.
    pub(crate) fn new(names: &'m NameMap, parameters: Shapes) -> Result<Self, Failure> {
        let kinds: Vec<(&str, Layer)> = parameters
            .iter()
            .map(|(path, _)| (path.as_str(), Layer::Other))
            .collect();
        names.check(&kinds)?;
        let mut compounds = BTreeMap::new();
        for layer in RecurrentLayer::all(&parameters) {
            if let Some(compound) = layer.compound(names)? {
                let compound = Rc::new(compound);
                let paths = layer.parameters.into_iter().map(|parameter| parameter.path);
                compounds.extend(paths.map(|path| (path, compound.clone())));
            }
        }
        for (path, dims) in &parameters {
            if !compounds.contains_key(path)
                && let Some(compound) = names.compound(path, dims, Layer::Other, DenseOrder::OutIn)
            {
                compounds.insert(path.clone(), Rc::new(compound));
            }
        }
        Ok(Model {
            names,
            parameters,
            compounds,
        })
    }

    /// What the parameter is made of, if it is no variable by itself.
    pub(crate) fn compound(&self, path: &str) -> Option<&Rc<Compound>> {
        self.compounds.get(path)
    }

    /// What all parameters want of a checkpoint, in whatever dtype it has them.
    pub(crate) fn targets(&self, checkpoint: &Checkpoint) -> Result<Vec<Target>, Failure> {
        for compound in self.compounds.values() {
            compound.check(checkpoint)?;
        }
        Ok(self
            .parameters
            .iter()
            .map(|(path, dims)| self.target(path, dims, checkpoint))
            .collect())
    }

    fn target(&self, path: &str, dims: &[usize], checkpoint: &Checkpoint) -> Target {
        let member = self.compounds.get(path).and_then(|compound| compound.member(path));
        let names = match member {
            Some(member) => member.names.clone(),
            None => self.names.names(path, Layer::Other),
        };
        let recipes = member.map(|member| member.recipes.clone()).unwrap_or_default();
        let sources = recipes.iter().flat_map(|recipe| recipe.sources());
        let sources = sources.flat_map(|source| &source.names);
        let own = |name: &String| checkpoint.variable(name).ok().map(|info| info.dtype());
        let found = sources.chain(&names).find_map(own);
        Target {
            path: path.to_owned(),
            dtypes: vec![found.unwrap_or(tfckpt::DType::Float32)],
            names,
            shape: dims.to_vec(),
            layout: self.names.layout(path, Layer::Other, DenseOrder::OutIn),
            how: member.and_then(|member| member.how.clone()),
            recipes,
        }
    }
}

/// The parameters of a model, sorted by name: of a .safetensors file, or of a JSON object of names and shapes.
pub(crate) fn shapes(model: &Path) -> Result<Shapes, Failure> {
    if crate::convert::is_safetensors(model) {
        let source = Source::open(model)?;
        let tensors = source.tensors().into_iter();
        return Ok(tensors.map(|(name, info)| (name, info.shape.clone())).collect());
    }
    let text = fs::read_to_string(model).map_err(|error| Failure::io("read", model, error))?;
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).map_err(|error| {
        let text = format!("`{}` is no JSON object of names and shapes", model.display());
        Failure::caused(Exit::Usage, text, error)
    })?;
    Ok(shapes.into_iter().collect())
}
