//! Training that goes on from a graph alone.
//!
//! The loss is computed from live variables, Candle follows it back, and the gradients are fed where the graph computes its
//! own. What comes after that, clipping, schedules, the optimizer's steps, the powers of its betas and `global_step`, the graph
//! does itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use tfckpt::{AttrValue, Collection, MetaGraph, Node};

use crate::error::{Error, Result};
use crate::ops::{applies, is_sparse, sparse_rows};
use crate::session::Session;
use crate::value::{TfTensor, Value};

/// The training operation of a graph, recognised: what it trains, by what optimizer, and where gradients go in.
#[derive(Debug, Clone)]
pub struct Training {
    loss: String,
    train_op: String,
    trained: Vec<Trained>,
    optimizer: Optimizer,
    /// Nodes that change variables before the steps do: moving averages of batches. TensorFlow waits for them in nodes that
    /// compute gradients, which are not run here.
    before: Vec<String>,
}

/// A variable that is trained, and the tensor that is its gradient in the graph.
#[derive(Debug, Clone)]
struct Trained {
    variable: usize,
    name: String,
    gradient: String,
    /// The tensor with the rows that the step is for, if it is for some only.
    rows: Option<String>,
}

/// What a graph's training operation does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Optimizer {
    /// TensorFlow's name of the step: `Adam`, `Momentum`, `RMSProp`.
    pub kind: String,
    /// Its settings by name: `learning_rate`, `beta1`, `epsilon`.
    pub settings: BTreeMap<String, Setting>,
    /// The variables that are trained, each with its slots, in the order of the step's operands.
    pub slots: Vec<(String, Vec<String>)>,
}

/// A setting of an optimizer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Setting {
    /// A number in the graph.
    Constant(f64),
    /// What the graph computes anew at each step, by the tensor's name: a schedule, a variable, a placeholder.
    Tensor(String),
}

impl Session {
    /// Recognises the graph's training operation: the first of its collection `train_op`, or else the one that the steps of its
    /// optimizer lead to. `loss` is the tensor that is followed back, `loss:0`.
    ///
    /// # Errors
    /// [`Error::Training`], if the graph has no step of an optimizer, or gradients of a kind that cannot be fed.
    pub fn training(&self, loss: &str) -> Result<Training> {
        let train_op = train_op(self.graph())?;
        self.training_by(loss, &train_op)
    }

    /// As [`training`](Self::training), by the operation called `train_op`.
    ///
    /// # Errors
    /// As [`training`](Self::training).
    pub fn training_by(&self, loss: &str, train_op: &str) -> Result<Training> {
        let nodes: HashMap<&str, Node<'_>> = self.graph().nodes().map(|node| (node.name(), node)).collect();
        let steps = steps_of(&nodes, train_op)?;
        let mut trained = Vec::new();
        let mut slots = Vec::new();
        let mut optimizer = None;
        let before = self.changed_before(&nodes, &steps);
        for node in steps {
            let Some(step) = applies(node.op()) else { continue };
            let operand = |place: usize| node.inputs().get(place).map_or("", String::as_str);
            let names: Vec<String> = (0..step.variables)
                .map(|place| variable_of(&nodes, operand(place)))
                .collect();
            let (name, own_slots) = names
                .split_first()
                .ok_or_else(|| Error::graph("a step without a variable"))?;
            let variable = self.variables.find(name).ok_or_else(|| Error::Unknown {
                what: "variable",
                name: name.clone(),
                suggestion: None,
            })?;
            if is_sparse(node.op()) {
                trained.push(Trained {
                    variable,
                    name: name.clone(),
                    gradient: operand(step.gradient).to_owned(),
                    rows: Some(operand(sparse_rows(step)).to_owned()),
                });
                slots.push((name.clone(), own_slots.to_vec()));
                continue;
            }
            trained.push(Trained {
                variable,
                name: name.clone(),
                rows: None,
                gradient: raw_gradient(&nodes, operand(step.gradient)).ok_or_else(|| Error::Training {
                    reason: format!(
                        "where the gradient of `{name}` comes from, `{}` does not tell",
                        operand(step.gradient)
                    ),
                })?,
            });
            slots.push((name.clone(), own_slots.to_vec()));
            optimizer.get_or_insert_with(|| (step.kind, settings(&nodes, step.settings, node)));
        }
        let (kind, settings) = optimizer.ok_or_else(|| Error::Training {
            reason: format!("`{train_op}` does no step of an optimizer that is known"),
        })?;
        Ok(Training {
            loss: loss.to_owned(),
            train_op: train_op.to_owned(),
            trained,
            before,
            optimizer: Optimizer {
                kind: kind.to_owned(),
                settings,
                slots,
            },
        })
    }
}

impl Session {
    /// Nodes that change variables and that steps of an optimizer wait for, in the order of the graph.
    fn changed_before(&self, nodes: &HashMap<&str, Node<'_>>, steps: &[Node<'_>]) -> Vec<String> {
        let mut seen: HashSet<&str> = steps.iter().map(|step| step.name()).collect();
        let mut stack: Vec<Node<'_>> = steps.to_vec();
        let mut found: HashSet<&str> = HashSet::new();
        while let Some(node) = stack.pop() {
            for input in node.inputs() {
                if let Some(next) = nodes.get(node_name(input))
                    && seen.insert(next.name())
                {
                    if self.changes_variables(next.op()) {
                        found.insert(next.name());
                    }
                    stack.push(*next);
                }
            }
        }
        let in_order = self.graph().nodes().map(|node| node.name());
        in_order
            .filter(|name| found.contains(name))
            .map(str::to_owned)
            .collect()
    }
}

impl Training {
    /// Optimizer, settings and slots.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The operation that trains.
    pub fn train_op(&self) -> &str {
        &self.train_op
    }

    /// A step as TensorFlow's `session.run([loss, train_op], feeds)`: the loss before the step, gradients, and all that the
    /// graph does with them.
    ///
    /// # Errors
    /// As [`Session::run`]; [`Error::Training`] for a variable that the loss does not depend on. All that can fail before the
    /// first variable is changed does so before.
    pub fn step(&self, session: &Session, feeds: &[(&str, &Tensor)]) -> Result<Tensor> {
        self.step_with(session, feeds, &[])?
            .into_iter()
            .next()
            .ok_or_else(|| Error::graph("a loss without a value"))
    }

    /// As [`step`](Self::step); after the loss, it returns `fetches`, computed from the variables before the step.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_with(&self, session: &Session, feeds: &[(&str, &Tensor)], fetches: &[&str]) -> Result<Vec<Tensor>> {
        let mut wanted = vec![self.loss.as_str()];
        wanted.extend(fetches);
        let results = session.run_tracked(&wanted, feeds)?;
        let loss = results.first().ok_or_else(|| Error::graph("a loss without a value"))?;
        let gradients = loss.sum_all()?.backward()?;
        self.apply(session, feeds, &gradients)?;
        Ok(results.iter().map(Tensor::detach).collect())
    }

    /// Does all that the graph does with gradients. `feeds` are what it needs besides: a learning rate.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn apply(&self, session: &Session, feeds: &[(&str, &Tensor)], gradients: &GradStore) -> Result<()> {
        let mut fed = session.typed(feeds)?;
        for trained in &self.trained {
            let uninitialized = || Error::Uninitialized {
                name: trained.name.clone(),
            };
            let (var, dtype) = session.variables.get(trained.variable).ok_or_else(uninitialized)?;
            let gradient = gradients.get(&var).ok_or_else(|| Error::Training {
                reason: format!("the loss `{}` does not depend on `{}`", self.loss, trained.name),
            })?;
            let mut tensor = gradient.detach();
            if let Some(rows) = &trained.rows {
                let touched = touched(&tensor)?;
                let count = touched.len();
                let places = Tensor::from_vec(touched, count, &candle_core::Device::Cpu)?;
                tensor = match count {
                    0 => tensor.narrow(0, 0, 0)?,
                    _ => tensor
                        .contiguous()?
                        .index_select(&places.to_device(tensor.device())?, 0)?,
                };
                let rows_dtype = session.row_dtype(rows);
                let places = TfTensor::new(places, rows_dtype)?;
                fed.push((rows.as_str(), Value::Tensor(places)));
            }
            fed.push((trained.gradient.as_str(), Value::Tensor(TfTensor { tensor, dtype })));
        }
        let mut targets: Vec<&str> = self.before.iter().map(String::as_str).collect();
        targets.push(&self.train_op);
        session.fetch_and_execute(&[], &targets, &fed).map(|_| ())
    }
}

/// The rows that a gradient is not zero in: those that were looked up.
fn touched(gradient: &Tensor) -> Result<Vec<i64>> {
    let rows = gradient.dim(0)?;
    let flat = gradient.reshape((rows, gradient.elem_count() / rows.max(1)))?;
    let sums = flat
        .abs()?
        .sum(1)?
        .to_dtype(candle_core::DType::F64)?
        .to_vec1::<f64>()?;
    let set = sums.into_iter().enumerate().filter(|(_, sum)| *sum != 0.0);
    Ok(set.map(|(row, _)| i64::try_from(row).unwrap_or(i64::MAX)).collect())
}

/// The node and the output of a tensor's name.
fn node_name(tensor: &str) -> &str {
    let name = tensor.strip_prefix('^').unwrap_or(tensor);
    name.split(':').next().unwrap_or_default()
}

/// The training operation that the graph names, or else the last one that steps of an optimizer lead to.
fn train_op(graph: &MetaGraph) -> Result<String> {
    let named = graph
        .collections()
        .find_map(|(name, collection)| match (name, collection) {
            ("train_op", Collection::Nodes(names)) => names.first().cloned(),
            _ => None,
        });
    if let Some(name) = named {
        return Ok(node_name(&name).to_owned());
    }
    let mut reached: HashSet<&str> = HashSet::new();
    let mut last = None;
    // Nodes come after those that they need, as TensorFlow writes them.
    for node in graph.nodes() {
        let is_step = applies(node.op()).is_some();
        if is_step || node.inputs().iter().any(|input| reached.contains(node_name(input))) {
            reached.insert(node.name());
            let is_group = matches!(node.op(), "NoOp" | "AssignAdd" | "AssignAddVariableOp") || is_step;
            if is_group && !node.name().starts_with("save") {
                last = Some(node.name());
            }
        }
    }
    last.map(str::to_owned).ok_or_else(|| Error::Training {
        reason: "the graph has no step of an optimizer: it was saved without one, for prediction".to_owned(),
    })
}

/// The optimizer's steps that an operation does.
fn steps_of<'g>(nodes: &HashMap<&str, Node<'g>>, train_op: &str) -> Result<Vec<Node<'g>>> {
    let first = nodes.get(train_op).ok_or_else(|| Error::Unknown {
        what: "operation",
        name: train_op.to_owned(),
        suggestion: None,
    })?;
    let mut seen: HashSet<&str> = HashSet::from([first.name()]);
    let mut stack = vec![*first];
    let mut steps = Vec::new();
    while let Some(node) = stack.pop() {
        if applies(node.op()).is_some() {
            // What a step needs is no step.
            steps.push(node);
            continue;
        }
        for input in node.inputs() {
            if let Some(next) = nodes.get(node_name(input))
                && seen.insert(next.name())
            {
                stack.push(*next);
            }
        }
    }
    steps.sort_by_key(|node| node.name());
    Ok(steps)
}

/// So many nodes are followed from a step to a gradient: clipping takes five.
const FOLLOWED: usize = 32;

/// The variable that a step changes.
fn variable_of(nodes: &HashMap<&str, Node<'_>>, operand: &str) -> String {
    let mut name = node_name(operand);
    for _ in 0..FOLLOWED {
        match nodes.get(name) {
            Some(node) if matches!(node.op(), "Identity" | "RefIdentity" | "Enter") => {
                name = node.inputs().first().map_or(name, |input| node_name(input));
            }
            _ => break,
        }
    }
    name.to_owned()
}

/// The gradient as the graph computes it, before it is clipped or scaled: the first tensor on the way back that lies in the
/// scope of `tf.gradients`.
fn raw_gradient(nodes: &HashMap<&str, Node<'_>>, operand: &str) -> Option<String> {
    let mut tensor = operand;
    for _ in 0..FOLLOWED {
        let name = node_name(tensor);
        let in_scope = name.split('/').rev().skip(1).any(|part| {
            part == "gradients"
                || part
                    .strip_prefix("gradients_")
                    .is_some_and(|number| number.parse::<u32>().is_ok())
        });
        if in_scope {
            return Some(tensor.to_owned());
        }
        let node = nodes.get(name)?;
        tensor = node.inputs().iter().find(|input| !input.starts_with('^'))?;
    }
    None
}

fn settings(nodes: &HashMap<&str, Node<'_>>, names: &[(&str, usize)], node: Node<'_>) -> BTreeMap<String, Setting> {
    let setting = |(name, place): &(&str, usize)| {
        let tensor = node.inputs().get(*place)?;
        let constant = nodes.get(node_name(tensor)).filter(|node| node.op() == "Const");
        let setting = match constant.and_then(|node| number(*node)) {
            Some(value) => Setting::Constant(value),
            None => Setting::Tensor(tensor.clone()),
        };
        Some(((*name).to_owned(), setting))
    };
    names.iter().filter_map(setting).collect()
}

/// The value of a constant that is one number.
fn number(node: Node<'_>) -> Option<f64> {
    let Some(AttrValue::Tensor(tensor)) = node.attr("value") else {
        return None;
    };
    let bytes = tensor.to_bytes(8)?;
    match tensor.dtype()? {
        tfckpt::DType::Float32 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        tfckpt::DType::Float64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
