//! Calls, branches and loops of TensorFlow 2, which name functions of the graph's library.

use std::sync::{Arc, OnceLock};

use tfckpt::AttrValue;

use super::Compiler;
use super::body::Body;
use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::ops::{Kernel, truth};
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
        self.writes |= compiler.function_changes_variables(name);
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

    /// Whether a node changes variables.
    pub(super) fn changes_variables(&mut self, scope: &Scope<'g>, node: usize) -> bool {
        let op = scope.op(node);
        if let Some(op) = self.ops.get(op) {
            return op.writes;
        }
        match scope.nodes.get(node) {
            Some(definition) => self.calls(Attrs::new(*definition)),
            None => false,
        }
    }

    /// Whether a node calls functions that change variables.
    fn calls(&mut self, attrs: Attrs<'g>) -> bool {
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
        names.into_iter().any(|name| self.function_changes_variables(name))
    }

    fn function_changes_variables(&mut self, name: &str) -> bool {
        if let Some(known) = self.effects.get(name) {
            return *known;
        }
        let Some(&function) = self.functions.get(name) else {
            return false;
        };
        // One that calls itself changes what its other nodes change. So deep, nothing real is nested.
        self.effects.insert(name.to_owned(), false);
        self.depth += 1;
        let mut changes = self.limits.check_depth(self.depth).is_err();
        for node in function.nodes() {
            changes = changes
                || match self.ops.get(node.op()) {
                    Some(op) => op.writes,
                    None => self.calls(Attrs::new(node)),
                };
        }
        self.depth -= 1;
        self.effects.insert(name.to_owned(), changes);
        changes
    }
}
