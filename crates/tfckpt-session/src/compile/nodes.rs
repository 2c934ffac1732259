//! Nodes that become steps, constants, or nothing at all.

use tfckpt::{AttrValue, DType};

use super::body::{Body, NewStep};
use super::{Compiler, constants};
use crate::attrs::Attrs;
use crate::context::Context;
use crate::dtype::is_supported;
use crate::error::{Error, Result};
use crate::ops::{Args, Effect, Kernel};
use crate::run::Operand;
use crate::scope::{Scope, Source};
use crate::value::Value;

/// The largest constant that is computed ahead: more takes memory that a run would free.
const FOLDED_BYTES: u64 = 64 << 20;

impl<'s, 'g> Body<'s, 'g> {
    /// Adds a node, all that it needs being there.
    pub(super) fn emit(&mut self, node: usize, compiler: &mut Compiler<'g>) -> Result<()> {
        let name = self.scope.name(node);
        let op = self.scope.op(node);
        self.emit_inner(node, compiler).map_err(|error| error.at(name, op))
    }

    fn emit_inner(&mut self, node: usize, compiler: &mut Compiler<'g>) -> Result<()> {
        let Some(&definition) = self.scope.nodes.get(node) else {
            return Err(Error::graph("there is no such node"));
        };
        compiler.nodes += self.scope.outputs(node);
        compiler.limits.check_nodes(compiler.nodes)?;
        let attrs = Attrs::new(definition);
        if self.lacks_dtypes(node, &attrs, compiler) {
            return Ok(());
        }
        if let Some(source) = self.without_dropout(node, compiler) {
            let operand = self.operand(source)?;
            self.bind(Source::Output(node, 0), operand);
            return Ok(());
        }
        match definition.op() {
            "Const" if self.frozen(definition.name(), compiler).is_some() => {
                let variable = self.frozen(definition.name(), compiler).unwrap_or_default();
                let operand = self.constant(Value::Variable(variable));
                self.bind(Source::Output(node, 0), operand);
                Ok(())
            }
            "Const" | "HostConst" => {
                let value = constants::decode(&attrs, compiler)?;
                self.emit_constant(node, value)
            }
            "Placeholder" | "PlaceholderV2" => Err(Error::NotFed {
                name: definition.name().to_owned(),
            }),
            "VariableV2" | "Variable" | "VarHandleOp" => {
                let name = variable_name(&attrs);
                let variables = compiler.variables;
                let found = variables.find(definition.name()).or_else(|| variables.find(name));
                let variable = found.ok_or_else(|| Error::graph(format!("variable `{name}` is not listed")))?;
                let operand = self.constant(Value::Variable(variable));
                self.bind(Source::Output(node, 0), operand);
                Ok(())
            }
            "NoOp" | "ControlTrigger" => Ok(()),
            "Identity" | "PlaceholderWithDefault" | "LoopCond" | "Snapshot" if self.is_alias(node, &attrs)? => {
                let operand = self.first_operand(node)?;
                self.bind(Source::Output(node, 0), operand);
                Ok(())
            }
            "Exit" | "RefExit" => self.emit_exit(node, compiler),
            "Enter" | "RefEnter" | "NextIteration" | "RefNextIteration" => Err(Error::operand(
                "it is inside a loop: fetch what comes out of the loop instead",
            )),
            _ if self.emit_call(node, &attrs, compiler)? => Ok(()),
            _ => self.emit_kernel(node, &attrs, compiler),
        }
    }

    /// The variable that a constant of a thawed graph is.
    fn frozen(&self, name: &str, compiler: &Compiler<'g>) -> Option<usize> {
        let in_graph = !self.scope.is_function();
        in_graph.then(|| compiler.variables.find_frozen(name)).flatten()
    }

    fn emit_constant(&mut self, node: usize, value: Value) -> Result<()> {
        let guards = self.guards(node);
        let operand = match guards.is_empty() {
            true => self.constant(value),
            // On one side of a branch: it must not be there when that side is not taken.
            false => {
                let kernel: Kernel = Box::new(move |_, _| Ok(vec![value.clone()]));
                self.step_of(node, kernel, Vec::new(), 1)
                    .first()
                    .copied()
                    .unwrap_or(Operand::Constant(0))
            }
        };
        self.bind(Source::Output(node, 0), operand);
        Ok(())
    }

    fn emit_kernel(&mut self, node: usize, attrs: &Attrs<'g>, compiler: &mut Compiler<'g>) -> Result<()> {
        let op = self.scope.op(node);
        let Some(entry) = compiler.ops.get(op) else {
            compiler.lacks(op, self.scope.name(node));
            return Ok(());
        };
        if compiler.lacks_any() {
            // All that is missing is reported; nothing is going to be run.
            return Ok(());
        }
        compiler.uses_tables |= matches!(op, "HashTable" | "HashTableV2");
        let (pure, refs) = (entry.pure, entry.refs);
        self.writes |= entry.effect == Effect::Writes;
        let point = compiler.ops.point(op, attrs)?;
        let kernel = (entry.build)(attrs)?;
        let operands = self.operands(node)?;
        if pure && self.fold(node, &kernel, &operands, compiler)? {
            return Ok(());
        }
        let outputs = self.scope.outputs(node);
        let step = NewStep {
            node: self.scope.name(node),
            op,
            kernel,
            point,
            guards: self.guards(node),
            operands,
            merges: op == "Merge" || op == "RefMerge",
            refs: refs && !(op == "Identity" && attrs.dtype("T", DType::Float32)? != DType::Resource),
        };
        let slots = self.step(step, outputs);
        for (output, slot) in slots.into_iter().enumerate() {
            self.bind(Source::Output(node, output), slot);
        }
        Ok(())
    }

    /// A step that is passed variables as such.
    pub(super) fn step_of(
        &mut self,
        node: usize,
        kernel: Kernel,
        operands: Vec<Operand>,
        outputs: usize,
    ) -> Vec<Operand> {
        let step = NewStep {
            node: self.scope.name(node),
            op: self.scope.op(node),
            kernel,
            point: None,
            guards: self.guards(node),
            operands,
            merges: false,
            refs: true,
        };
        self.step(step, outputs)
    }

    pub(super) fn operands(&self, node: usize) -> Result<Vec<Operand>> {
        self.scope
            .data(node)
            .iter()
            .map(|source| self.operand(*source))
            .collect()
    }

    fn first_operand(&self, node: usize) -> Result<Operand> {
        let first = self.scope.data(node).first();
        self.operand(*first.ok_or_else(|| Error::graph("it has no input"))?)
    }

    /// Computes a node now, if all its operands are known. What fails is left to the run, which may never get there.
    fn fold(
        &mut self,
        node: usize,
        kernel: &Kernel,
        operands: &[Operand],
        compiler: &mut Compiler<'g>,
    ) -> Result<bool> {
        let known = |operand: &Operand| match self.constant_value(*operand) {
            Some(value @ (Value::Tensor(_) | Value::Strings(_))) => Some(value.clone()),
            _ => None,
        };
        let Some(values) = operands.iter().map(known).collect::<Option<Vec<Value>>>() else {
            return Ok(false);
        };
        if !self.guards(node).is_empty() {
            return Ok(false);
        }
        let context = Context {
            device: compiler.device,
            limits: compiler.limits,
            variables: compiler.variables,
            random: compiler.random,
            tables: compiler.tables,
            tracked: false,
            copies: false,
            depth: 0,
        };
        let Ok(outputs) = kernel(&mut Args::new(values), &context) else {
            return Ok(false);
        };
        let size: u64 = outputs.iter().map(Value::size).sum();
        if size > FOLDED_BYTES
            || !outputs
                .iter()
                .all(|value| matches!(value, Value::Tensor(_) | Value::Strings(_)))
        {
            return Ok(false);
        }
        compiler.constant_bytes += size;
        compiler.limits.check_constants(compiler.constant_bytes)?;
        for (output, value) in outputs.into_iter().enumerate() {
            let operand = self.constant(value);
            self.bind(Source::Output(node, output), operand);
        }
        Ok(true)
    }

    /// Whether a node hands on its input as it is: reading a variable is more than that, and so is being on one side of a
    /// branch.
    fn is_alias(&self, node: usize, attrs: &Attrs<'g>) -> Result<bool> {
        let passes_resource = attrs.dtype("T", DType::Float32)? == DType::Resource;
        let operand = match self.scope.data(node).first() {
            Some(source) => self.operand(*source),
            None => return Ok(false),
        };
        let Ok(operand) = operand else { return Ok(false) };
        let of_variable = match (operand, self.constant_value(operand)) {
            (_, Some(Value::Variable(_))) => true,
            // What comes out of a branch or a function may be one.
            (Operand::Slot(_), _) => self.comes_from_ref(node),
            _ => false,
        };
        Ok((passes_resource || !of_variable) && self.guards(node).is_empty())
    }

    /// Whether the input of a node is handed on by nodes that hand on variables.
    fn comes_from_ref(&self, node: usize) -> bool {
        match self.scope.data(node).first() {
            Some(Source::Output(from, _)) => matches!(
                self.scope.op(*from),
                "RefSwitch" | "RefMerge" | "RefEnter" | "Assign" | "AssignAdd" | "AssignSub"
            ),
            _ => false,
        }
    }

    /// Whether a node needs a dtype that we cannot compute with, which is noted.
    fn lacks_dtypes(&self, node: usize, attrs: &Attrs<'g>, compiler: &mut Compiler<'g>) -> bool {
        let numbers = attrs.dtypes();
        let lacking = numbers
            .into_iter()
            .filter_map(|number| match AttrValue::dtype_of(number) {
                Some(dtype) if is_supported(dtype) => None,
                Some(dtype) => Some(dtype.name()),
                None => Some("an unknown dtype"),
            });
        let lacking: Vec<&'static str> = lacking.collect();
        let name = self.scope.name(node);
        for dtype in &lacking {
            compiler
                .missing_dtypes
                .entry(dtype)
                .or_default()
                .insert(name.to_owned());
        }
        !lacking.is_empty()
    }

    /// The tensor that dropout was applied to, if the node is its last one and dropout is off.
    pub(super) fn without_dropout(&self, node: usize, compiler: &Compiler<'g>) -> Option<Source> {
        compiler.without_dropout.then(|| dropped(self.scope, node)).flatten()
    }
}

/// What the node applies dropout to: `where(random >= rate, x * scale, 0)`, `x * scale * cast(random >= rate)` or
/// `x / keep * floor(keep + random)`, as TensorFlow has built it over time.
fn dropped(scope: &Scope<'_>, node: usize) -> Option<Source> {
    let op = |source: &Source| match source {
        Source::Output(node, _) => scope.op(*node),
        Source::Arg(_) => "",
    };
    let inputs = |source: &Source| match source {
        Source::Output(node, _) => scope.data(*node),
        Source::Arg(_) => &[],
    };
    let is_random = |source: &Source| {
        matches!(
            op(source),
            "RandomUniform" | "StatelessRandomUniform" | "StatelessRandomUniformV2"
        ) || (matches!(op(source), "Add" | "AddV2" | "Mul")
            && inputs(source).iter().any(|source| {
                op(source) == "RandomUniform" || inputs(source).iter().any(|source| op(source) == "RandomUniform")
            }))
    };
    let is_keep = |source: &Source| match op(source) {
        "GreaterEqual" | "Floor" => inputs(source).first().is_some_and(is_random),
        "Cast" => inputs(source)
            .first()
            .is_some_and(|source| op(source) == "GreaterEqual" && inputs(source).first().is_some_and(is_random)),
        _ => false,
    };
    let unscaled = |source: &Source| match (op(source), inputs(source)) {
        ("Mul" | "RealDiv" | "Div", [x, _]) => Some(*x),
        _ => None,
    };
    match (scope.op(node), scope.data(node)) {
        ("SelectV2" | "Select", [keep, scaled, _]) if is_keep(keep) => unscaled(scaled),
        ("Mul", [scaled, keep]) if is_keep(keep) => unscaled(scaled),
        _ => None,
    }
}

/// What a variable is called where several nodes may stand for it.
fn variable_name<'g>(attrs: &Attrs<'g>) -> &'g str {
    match attrs.text("shared_name", "") {
        Ok(name) if !name.is_empty() => name,
        _ => attrs.node().name(),
    }
}
