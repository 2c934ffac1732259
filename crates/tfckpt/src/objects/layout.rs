//! Which Python objects the variables of a model belong to.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::model::Model;
use super::sort::utf8;
use super::tree::{ObjectId, ObjectTree};
use crate::bundle::{BundleWriter, Written};
use crate::error::{Error, Result};
use crate::io::LocalDir;
use crate::optimizers::{Convention, OptimizerNames};
use crate::tensor::Variable;

/// How a model in Python holds its variables, so that `tf.train.Checkpoint(model=..., optimizer=...).restore(...)` finds
/// them in what is written here.
///
/// Variables come with the names of Keras and TensorFlow 1: `conv1/kernel`, `conv1/kernel/Adam`, `beta1_power`,
/// `global_step`. The layout gives each the place that the Python program has it at, and adds the object graph. The
/// names go into the graph as full names: whoever reads the checkpoint with this crate, or with TensorFlow 1, finds
/// variables by them as before.
///
/// ```
/// # fn main() -> tfckpt::Result<()> {
/// use tfckpt::Variable;
/// use tfckpt::objects::ObjectLayout;
///
/// // tf.keras.Sequential([Input((2,)), Dense(2, name="fc1"), ReLU(), Dense(2, name="fc2")])
/// let layout = ObjectLayout::keras3_sequential(["input", "fc1", "re_lu", "fc2"]);
/// let kernel = [0.5f32; 4];
/// let kernels = ["fc1/kernel", "fc2/kernel"].map(|name| Variable::new(name, [2, 2], &kernel));
/// let variables = layout.apply(kernels)?;
/// assert_eq!(variables[1].name(), "model/_functional/_operations/3/_kernel/.ATTRIBUTES/VARIABLE_VALUE");
/// # Ok(())
/// # }
/// ```
///
/// # What has no place in Python
/// The counters of an optimizer that its Python class does not have, and state below a variable that is no slot, are
/// written under their own names outside of the graph; TensorFlow does not look at them. Of everything else without a
/// place the first is an error, [`Error::NoPlace`].
#[derive(Debug, Clone)]
pub struct ObjectLayout {
    pub(super) model: Model,
    root: String,
    pub(super) optimizer: Option<Convention>,
    pub(super) names: Option<OptimizerNames>,
    optimizer_path: String,
    pub(super) hyperparameters: BTreeMap<String, f32>,
    pub(super) iterations: Option<i64>,
    pub(super) step: Option<String>,
    save_counter: Option<i64>,
    trainable: Vec<String>,
    pub(super) places: BTreeMap<String, String>,
    aliases: Vec<(String, String)>,
    pub(super) outside: Vec<String>,
}

impl ObjectLayout {
    /// A `tf.Module`, whose attributes are the components of the names: `conv1/kernel` is `model.conv1.kernel` of
    /// `tf.train.Checkpoint(model=model)`. `root` is the name of the argument; empty for `tf.train.Checkpoint(model)`.
    /// The optimizer is, unless said otherwise, one of `tf.compat.v1.train`.
    pub fn module(root: impl Into<String>) -> Self {
        Self::of(Model::Attributes { private: false }, Convention::V1).root(root)
    }

    /// A subclassed model of Keras 3, whose attributes are the components of the names. Layers in Python lists are
    /// not found by Keras 3 itself.
    pub fn keras3_subclassed() -> Self {
        Self::of(Model::Attributes { private: true }, Convention::Keras3)
    }

    /// A `Sequential` model of Keras 3 with these layers, in their order, the `Input` and layers without variables
    /// included: `[layer.name for layer in model._functional._operations]`. Variables are called `LAYER/kernel`.
    pub fn keras3_sequential<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Self::of(Model::keras3("_functional/_operations", layers), Convention::Keras3)
    }

    /// A functional model of Keras 3 with these layers and operations, in their order:
    /// `[operation.name for operation in model._operations]`.
    pub fn keras3_functional<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Self::of(Model::keras3("_operations", layers), Convention::Keras3)
    }

    /// A `Sequential` or functional model of Keras 2 with these layers: `[layer.name for layer in model.layers]`.
    /// The optimizer is, unless said otherwise, one of Keras 2.11 or later.
    pub fn keras2<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Self::of(Model::keras2(layers), Convention::Keras2)
    }

    fn of(model: Model, optimizer: Convention) -> Self {
        ObjectLayout {
            model,
            root: "model".to_owned(),
            optimizer: Some(optimizer),
            names: None,
            optimizer_path: "optimizer".to_owned(),
            hyperparameters: BTreeMap::new(),
            iterations: None,
            step: None,
            save_counter: None,
            trainable: Vec::new(),
            places: BTreeMap::new(),
            aliases: Vec::new(),
            outside: Vec::new(),
        }
    }

    /// The argument of `tf.train.Checkpoint` that holds the model; empty for `tf.train.Checkpoint(model)`, and for what
    /// `model.save_weights` of Keras 2 writes. Default: `model`.
    #[must_use]
    pub fn root(mut self, root: impl Into<String>) -> Self {
        self.root = root.into();
        self
    }

    /// What kind of optimizer keeps the slots; `None` leaves its state outside of the graph. Default: that of the
    /// model's kind. Without slots no optimizer is written.
    #[must_use]
    pub fn optimizer(mut self, optimizer: impl Into<Option<Convention>>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    /// What the optimizer's variables are called, and so which optimizer it is. Default: slots are what their last component
    /// says in any [`Convention`], `fc/kernel/Adam` or `fc/kernel/m`, and the optimizer is the first that has such slots:
    /// Adam and not AdamW, and with nothing but `momentum` it is gradient descent and not Lion.
    #[must_use]
    pub fn optimizer_names(mut self, names: OptimizerNames) -> Self {
        self.names = Some(names);
        self
    }

    /// The kind of optimizer that keeps the slots: see [`optimizer`](Self::optimizer).
    pub fn optimizer_convention(&self) -> Option<Convention> {
        self.optimizer
    }

    /// What was said of the names of the optimizer's variables: see [`optimizer_names`](Self::optimizer_names).
    pub fn given_optimizer_names(&self) -> Option<&OptimizerNames> {
        self.names.as_ref()
    }

    /// The argument of `tf.train.Checkpoint` that holds the optimizer. Default: `optimizer`.
    #[must_use]
    pub fn optimizer_path(mut self, path: impl Into<String>) -> Self {
        self.optimizer_path = path.into();
        self
    }

    /// The learning rate, which optimizers of Keras keep as a variable and restore. Default: none is written, which is
    /// right for a schedule; a constant one TensorFlow then misses in `assert_consumed`. A variable of the optimizer that is
    /// called so comes first.
    #[must_use]
    pub fn learning_rate(self, value: f32) -> Self {
        self.hyperparameter("learning_rate", value)
    }

    /// Another number that an early Keras optimizer keeps as a variable: `beta_1`, `beta_2`, `decay`, `momentum`.
    #[must_use]
    pub fn hyperparameter(mut self, name: impl Into<String>, value: f32) -> Self {
        self.hyperparameters.insert(name.into(), value);
        self
    }

    /// How many steps an optimizer of Keras has made. Default: a variable that is called `iterations`, `iteration` or `iter`
    /// in some scope, as `Adam/iterations`, else the value of `global_step`.
    #[must_use]
    pub fn iterations(mut self, count: i64) -> Self {
        self.iterations = Some(count);
        self
    }

    /// The argument of `tf.train.Checkpoint` that holds `global_step`. Default: none, and the step is outside of the
    /// graph.
    #[must_use]
    pub fn step(mut self, path: impl Into<String>) -> Self {
        self.step = Some(path.into());
        self
    }

    /// The counter of `tf.train.Checkpoint.save`, whose number is in the name of the checkpoint. Default: none, as
    /// `tf.train.Checkpoint.write` has it. A [`Saver`](crate::Saver) sets it.
    #[must_use]
    pub fn save_counter(mut self, count: impl Into<Option<i64>>) -> Self {
        self.save_counter = count.into();
        self
    }

    /// The trainable variables, in the order of the optimizer's Python list, where that is not the order of the layers
    /// with kernel before bias and gamma before beta.
    #[must_use]
    pub fn trainable<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.trainable = names.into_iter().map(Into::into).collect();
        self
    }

    /// The variable of this name is at `path` from the root, `model/_operations/3/seed_generator/_state`, whatever the
    /// layout says.
    #[must_use]
    pub fn place(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.places.insert(name.into(), path.into());
        self
    }

    /// The object at `path` from the root is to be found at `alias`, too.
    #[must_use]
    pub fn alias(mut self, path: impl Into<String>, alias: impl Into<String>) -> Self {
        self.aliases.push((path.into(), alias.into()));
        self
    }

    /// Variables whose names start so are no part of the Python program: they are written under their own names outside
    /// of the graph.
    #[must_use]
    pub fn outside(mut self, prefix: impl Into<String>) -> Self {
        self.outside.push(prefix.into());
        self
    }

    /// Gives every variable its key, and adds the object graph. Reads no values but that of `global_step`.
    ///
    /// # Errors
    /// [`Error::NoPlace`] for a variable that fits no layer; [`Error::DuplicateName`] for two at one place;
    /// [`Error::InvalidArgument`] for a name that is not UTF-8.
    pub fn apply<'a>(&self, variables: impl IntoIterator<Item = Variable<'a>>) -> Result<Vec<Variable<'a>>> {
        let sorted = self.sort(variables.into_iter().collect())?;
        let mut tree = ObjectTree::new();
        // As `tf.train.Checkpoint` orders its arguments.
        let mut roots = vec![self.root.as_str()];
        roots.extend(sorted.optimizer.as_ref().map(|_| self.optimizer_path.as_str()));
        roots.extend(self.step.as_deref());
        roots.sort_unstable();
        for root in roots {
            tree.object(root);
        }
        if let Some(count) = self.save_counter {
            let counter = Variable::scalar("save_counter", count);
            tree.variable("save_counter", counter)?;
        }
        let mut objects: HashMap<String, ObjectId> = HashMap::new();
        let mut order = Vec::new();
        for (name, variable) in self.model.ordered(sorted.model) {
            let object = self.model.add(&mut tree, &self.root, &name, variable)?;
            objects.insert(name.clone(), object);
            order.push(name);
        }
        for (path, variable) in sorted.placed {
            let name = utf8(&variable)?;
            objects.insert(name.clone(), tree.variable(&path, variable)?);
            order.push(name);
        }
        if let Some(state) = sorted.optimizer {
            let optimizer = tree.object(&self.optimizer_path);
            match self.trainable.is_empty() {
                true => order.retain(|name| state.slots.contains_key(name)),
                false => order.clone_from(&self.trainable),
            }
            state.add(&mut tree, optimizer, &order, &objects)?;
        }
        for (path, alias) in &self.aliases {
            let object = tree.object(path);
            let (parent, name) = alias.rsplit_once('/').unwrap_or(("", alias));
            let parent = tree.object(parent);
            tree.alias(parent, name, object);
        }
        let mut variables = tree.finish()?;
        let graph = variables.pop();
        variables.extend(sorted.outside);
        variables.extend(graph);
        Ok(variables)
    }

    /// Writes a checkpoint of these variables at a prefix, as `tf.train.Checkpoint.write` does: no counter, no number,
    /// no state file. What is there is replaced.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), [`BundleWriter::add`] and [`BundleWriter::finish`].
    pub fn write<'a>(
        &self,
        prefix: impl AsRef<Path>,
        variables: impl IntoIterator<Item = Variable<'a>>,
    ) -> Result<Written> {
        let prefix = prefix.as_ref();
        let variables = self.apply(variables)?;
        let name = prefix
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| Error::invalid(format!("`{}` cannot be the prefix of a checkpoint", prefix.display())))?;
        let directory = prefix.parent().unwrap_or(Path::new(""));
        let storage = LocalDir::create(directory).map_err(|error| Error::io("create", directory, error))?;
        let mut writer = BundleWriter::create(Arc::new(storage), name)?;
        variables.into_iter().try_for_each(|variable| writer.add(variable))?;
        writer.finish()
    }
}
