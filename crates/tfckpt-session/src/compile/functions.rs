//! Calls, branches and loops of TensorFlow 2, which name functions of the graph's library.

use std::sync::{Arc, OnceLock};

use tfckpt::{AttrValue, Node};

use super::Compiler;
use super::body::Body;
use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::ops::{Effect, Kernel, truth};
use crate::run::{Case, Cell, Loop};
use crate::scope::{Scope, Source};

impl<'s, 'g> Body<'s, 'g> {
    /// Adds a node that calls functions. False if it is none.
    pub(super) fn emit_call(&mut self, node: usize, attrs: &Attrs<'g>, compiler: &mut Compiler<'g>) -> Result<bool> {
        let op = self.scope.op(node);
        let kernel: Kernel = match op {
            "PartitionedCall" | "StatefulPartitionedCall" => self.call(attrs.function("f")?, compiler)?,
            "If" | "StatelessIf" => {
                let (then, otherwise) = (attrs.function("then_branch")?, attrs.function("else_branch")?);
                let branches = vec![self.function(otherwise, compiler)?, self.function(then, compiler)?];
                let case = Case { branches };
                Box::new(move |args, context| {
                    let values = args.values();
                    let (first, rest) = values
                        .split_first()
                        .ok_or_else(|| Error::graph("a branch without a condition"))?;
                    case.run(truth(first)?.into(), rest.to_vec(), context)
                })
            }
            "Case" | "StatelessCase" => {
                let names = match attrs.get("branches") {
                    Some(AttrValue::List(list)) => list,
                    _ => return Err(Error::graph("a case without branches")),
                };
                let cells = names.iter().map(|name| match name {
                    AttrValue::Function(name) => self.function(name, compiler),
                    _ => Err(Error::graph("a branch is no function")),
                });
                let case = Case {
                    branches: cells.collect::<Result<Vec<Cell>>>()?,
                };
                Box::new(move |args, context| {
                    let branch = args.int(0)?;
                    case.run(branch, args.values().iter().skip(1).cloned().collect(), context)
                })
            }
            "While" | "StatelessWhile" => {
                let (condition, body) = (attrs.function("cond")?, attrs.function("body")?);
                let (condition, body) = (self.function(condition, compiler)?, self.function(body, compiler)?);
                let variables = self.scope.data(node).len();
                let runs = Loop {
                    condition,
                    body,
                    variables,
                };
                Box::new(move |args, context| runs.run(args.values().to_vec(), context))
            }
            _ if compiler.functions.contains_key(op) => self.call(op, compiler)?,
            _ => return Ok(false),
        };
        if compiler.lacks_any() {
            return Ok(true);
        }
        let operands = self.operands(node)?;
        let slots = self.step_of(node, kernel, operands, self.scope.outputs(node));
        for (output, slot) in slots.into_iter().enumerate() {
            self.bind(Source::Output(node, output), slot);
        }
        Ok(true)
    }

    fn call(&mut self, name: &str, compiler: &mut Compiler<'g>) -> Result<Kernel> {
        let branches = vec![self.function(name, compiler)?];
        let case = Case { branches };
        Ok(Box::new(move |args, context| {
            case.run(0, args.values().to_vec(), context)
        }))
    }

    fn function(&mut self, name: &str, compiler: &mut Compiler<'g>) -> Result<Cell> {
        self.writes |= compiler.function_effect(name) == Effect::Writes;
        compiler.function(name)
    }
}

impl<'g> Compiler<'g> {
    /// The program of a function, which is compiled once.
    fn function(&mut self, name: &str) -> Result<Cell> {
        if let Some(cell) = self.compiled.get(name) {
            return Ok(cell.clone());
        }
        let unknown = || Error::Unknown {
            what: "function",
            name: name.to_owned(),
            suggestion: None,
        };
        let function = *self.functions.get(name).ok_or_else(unknown)?;
        let cell: Cell = Arc::new(OnceLock::new());
        self.compiled.insert(name.to_owned(), cell.clone());
        self.depth += 1;
        self.limits.check_depth(self.depth)?;
        let mut scope = Scope::of_function(function)?;
        let fetch = |(output, _)| {
            let returned = function.returned(output);
            let returned =
                returned.ok_or_else(|| Error::graph(format!("function `{name}` does not say what `{output}` is")))?;
            scope.source(returned)
        };
        let fetches = function.outputs().map(fetch).collect::<Result<Vec<Source>>>()?;
        fetches.iter().for_each(|fetch| scope.uses(*fetch));
        let mut body = Body::new(&scope, self);
        for arg in 0..function.inputs().len() {
            body.param(Source::Arg(arg));
        }
        let mut targets = Vec::new();
        for target in function.control_outputs() {
            let target = scope.node(target)?;
            if body.effects.get(target).is_some_and(|changes| *changes) {
                targets.push(target);
            }
        }
        let program = body.finish(self, &fetches, &targets)?;
        self.depth -= 1;
        // The cell is new: nobody else fills it.
        let _ = cell.set(program);
        Ok(cell)
    }

    /// What a node does besides giving results.
    pub(super) fn effect(&mut self, scope: &Scope<'g>, node: usize) -> Effect {
        match scope.nodes.get(node) {
            Some(definition) => self.effect_of(*definition),
            None => Effect::None,
        }
    }

    fn effect_of(&mut self, node: Node<'g>) -> Effect {
        match self.ops.get(node.op()) {
            Some(_) if node.op() == "Assert" && self.without_asserts => Effect::None,
            Some(op) => op.effect,
            None => self.calls(Attrs::new(node)),
        }
    }

    /// What the functions do that a node calls.
    fn calls(&mut self, attrs: Attrs<'g>) -> Effect {
        let mut names: Vec<&'g str> = Vec::new();
        for key in ["f", "then_branch", "else_branch", "cond", "body", "branches"] {
            match attrs.get(key) {
                Some(AttrValue::Function(name)) => names.push(name),
                Some(AttrValue::List(list)) => names.extend(list.iter().filter_map(|value| match value {
                    AttrValue::Function(name) => Some(*name),
                    _ => None,
                })),
                _ => {}
            }
        }
        if self.functions.contains_key(attrs.node().op()) {
            names.push(attrs.node().op());
        }
        let effects = names.into_iter().map(|name| self.function_effect(name));
        effects.max().unwrap_or_default()
    }

    fn function_effect(&mut self, name: &str) -> Effect {
        if let Some(known) = self.effects.get(name) {
            return *known;
        }
        let Some(&function) = self.functions.get(name) else {
            return Effect::None;
        };
        // One that calls itself does what its other nodes do. So deep, nothing real is nested.
        self.effects.insert(name.to_owned(), Effect::None);
        self.depth += 1;
        let effect = match self.limits.check_depth(self.depth) {
            Err(_) => Effect::Writes,
            Ok(()) => function
                .nodes()
                .map(|node| self.effect_of(node))
                .max()
                .unwrap_or_default(),
        };
        self.depth -= 1;
        self.effects.insert(name.to_owned(), effect);
        effect
    }
}
