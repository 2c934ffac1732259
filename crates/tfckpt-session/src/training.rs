//! Training that goes on from a graph alone.
//!
//! The loss is computed from live variables, Candle follows it back, and the gradients are fed where the graph computes its
//! own. What comes after that, clipping, schedules, the optimizer's steps, the powers of its betas and `global_step`, the graph
//! does itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use tfckpt::Node;

use crate::error::{Error, Result};
use crate::ops::{applies, is_sparse, sparse_rows};
use crate::recognised::{
    is_summed_alone, node_name, own_gradients, raw_gradient, settings, shared_with_loss, steps_of, train_op,
    variable_of, without_zero,
};
use crate::session::{Session, to_tensor};
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
    /// Gradients that the graph computes itself, in a run before the steps: those of rows that are clipped, or that an optimizer
    /// takes apart.
    own: Vec<String>,
    /// What is computed for the loss and needed for the steps, too: statistics of batches.
    shared: Vec<String>,
}

/// A variable that is trained, and the tensor that is its gradient in the graph.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    variable: usize,
    name: String,
    pub(crate) gradient: String,
    /// The tensor with the rows that the step is for, if it is for some only.
    pub(crate) rows: Option<String>,
}

impl Trained {
    /// The tensors that are fed.
    pub(crate) fn fed(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.gradient).chain(&self.rows)
    }
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

/// The number, as short as single precision allows where the graph has it so; or `loss/rate:0, of the graph`.
///
/// ```
/// # use tfckpt_session::Setting;
/// assert_eq!(Setting::Constant(f64::from(0.001f32)).to_string(), "0.001");
/// assert_eq!(Setting::Constant(0.1 + 0.2).to_string(), "0.30000000000000004");
/// assert_eq!(Setting::Tensor("rate:0".to_owned()).to_string(), "rate:0, of the graph");
/// ```
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Constant(value) => {
                #[expect(clippy::cast_possible_truncation, reason = "compared with the whole of it")]
                let short = *value as f32;
                match f64::from(short) == *value {
                    true => write!(f, "{short}"),
                    false => write!(f, "{value}"),
                }
            }
            Setting::Tensor(name) => write!(f, "{name}, of the graph"),
        }
    }
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
            slots.push((name.clone(), own_slots.to_vec()));
            let is_sparse = is_sparse(node.op());
            let is_dense_settings = |found: &Option<(bool, _, _)>| found.as_ref().is_some_and(|(sparse, ..)| !sparse);
            if !is_dense_settings(&optimizer) {
                // Of a step for rows, the operands after the gradient are one further on.
                let shift =
                    |(name, place): &(&'static str, usize)| (*name, place + usize::from(*place > step.gradient));
                let places: Vec<(&str, usize)> = match is_sparse {
                    true => step.settings.iter().map(shift).collect(),
                    false => step.settings.to_vec(),
                };
                optimizer = Some((is_sparse, step.kind, settings(&nodes, &places, node)));
            }
            if is_sparse {
                if is_summed_alone(&nodes, operand(step.gradient)) {
                    trained.push(Trained {
                        variable,
                        name: name.clone(),
                        gradient: operand(step.gradient).to_owned(),
                        rows: Some(operand(sparse_rows(step)).to_owned()),
                    });
                }
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
        }
        let (_, kind, settings) = optimizer.ok_or_else(|| Error::Training {
            reason: format!("`{train_op}` does no step of an optimizer that is known"),
        })?;
        self.slots_of_others(&mut slots);
        let own = own_gradients(&nodes, train_op, &trained);
        let targets: Vec<&str> = before.iter().map(String::as_str).chain([train_op]).collect();
        let gradients = trained.iter().flat_map(Trained::fed).chain(&own);
        let fed = gradients.map(|name| without_zero(name)).collect();
        let shared = shared_with_loss(&nodes, loss, &targets, &fed, |op| self.changes_variables(op));
        Ok(Training {
            loss: loss.to_owned(),
            train_op: train_op.to_owned(),
            own,
            shared,
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
    /// Slots of variables whose step is taken apart into single operations: those that are called as the slots of the others.
    fn slots_of_others(&self, slots: &mut Vec<(String, Vec<String>)>) {
        let suffix = |name: &str, slot: &String| slot.strip_prefix(name).map(str::to_owned);
        let found = slots.iter().find(|(_, own)| !own.is_empty());
        let suffixes = found.and_then(|(name, own)| own.iter().map(|slot| suffix(name, slot)).collect());
        let Some(suffixes): Option<Vec<String>> = suffixes else {
            return;
        };
        for known in self.variables.known().iter().filter(|known| known.trainable) {
            let own: Vec<String> = suffixes
                .iter()
                .map(|suffix| format!("{}{suffix}", known.name))
                .collect();
            let is_new = !slots.iter().any(|(name, _)| *name == known.name);
            if is_new && own.iter().all(|slot| self.variables.find(slot).is_some()) {
                slots.push((known.name.clone(), own));
            }
        }
    }

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
        let count = wanted.len();
        wanted.extend(self.shared.iter().map(String::as_str));
        let mut results = session.run_values_tracked(&wanted, feeds)?;
        let shared = results.drain(count..).map(Value::detached_copy);
        let shared = shared.collect::<Result<Vec<Value>>>()?;
        let results = results.into_iter().map(to_tensor).collect::<Result<Vec<Tensor>>>()?;
        let loss = results.first().ok_or_else(|| Error::graph("a loss without a value"))?;
        let gradients = loss.sum_all()?.backward()?;
        let shared = self.shared.iter().map(String::as_str).zip(shared);
        self.apply_with(session, feeds, &gradients, shared.collect())?;
        Ok(results.iter().map(Tensor::detach).collect())
    }

    /// Does all that the graph does with gradients. `feeds` are what it needs besides: a learning rate.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn apply(&self, session: &Session, feeds: &[(&str, &Tensor)], gradients: &GradStore) -> Result<()> {
        self.apply_with(session, feeds, gradients, Vec::new())
    }

    /// `shared` are tensors that were computed already.
    fn apply_with(
        &self,
        session: &Session,
        feeds: &[(&str, &Tensor)],
        gradients: &GradStore,
        shared: Vec<(&str, Value)>,
    ) -> Result<()> {
        let mut fed = session.typed(feeds)?;
        let rows = self.rows(session, feeds)?;
        let own = match self.own.is_empty() {
            true => Vec::new(),
            // Before any variable is another one.
            false => {
                let names: Vec<&str> = self.own.iter().map(String::as_str).collect();
                session.run_values(&names, &fed)?
            }
        };
        fed.extend(self.own.iter().map(String::as_str).zip(own));
        fed.extend(shared);
        for trained in &self.trained {
            let uninitialized = || Error::Uninitialized {
                name: trained.name.clone(),
            };
            let (var, dtype) = session.variables.get(trained.variable).ok_or_else(uninitialized)?;
            let gradient = gradients.get(&var).ok_or_else(|| Error::Training {
                reason: format!("the loss `{}` does not depend on `{}`", self.loss, trained.name),
            })?;
            let mut tensor = gradient.detach();
            if let Some(rows_name) = &trained.rows {
                let touched = match rows.get(rows_name.as_str()) {
                    Some(rows) => rows.clone(),
                    None => touched(&tensor)?,
                };
                let count = touched.len();
                let places = Tensor::from_vec(touched, count, &candle_core::Device::Cpu)?;
                tensor = match count {
                    0 => tensor.narrow(0, 0, 0)?,
                    _ => tensor
                        .contiguous()?
                        .index_select(&places.to_device(tensor.device())?, 0)?,
                };
                let places = TfTensor::new(places, session.row_dtype(rows_name))?;
                fed.push((rows_name.as_str(), Value::Tensor(places)));
            }
            fed.push((trained.gradient.as_str(), Value::Tensor(TfTensor { tensor, dtype })));
        }
        let mut targets: Vec<&str> = self.before.iter().map(String::as_str).collect();
        targets.push(&self.train_op);
        session.fetch_and_execute(&[], &targets, &fed).map(|_| ())
    }
}

impl Training {
    /// The rows that were looked up, by the tensors that have them, as far as they follow from what is fed.
    fn rows(&self, session: &Session, feeds: &[(&str, &Tensor)]) -> Result<HashMap<&str, Vec<i64>>> {
        let mut found = HashMap::new();
        for name in self.trained.iter().filter_map(|trained| trained.rows.as_deref()) {
            match session.run_values(&[name], &session.typed(feeds)?) {
                Ok(values) => {
                    if let Some(Value::Tensor(rows)) = values.first() {
                        // The gradient of a row that was looked up twice is the sum already.
                        let mut seen = HashSet::new();
                        let rows = rows.to_ints()?.into_iter().filter(|row| seen.insert(*row));
                        found.insert(name, rows.collect());
                    }
                }
                Err(Error::NotFed { .. } | Error::Unsupported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// The rows that a gradient is not zero in: those that were looked up, almost.
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
