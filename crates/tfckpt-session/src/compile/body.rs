//! The program of one body: that of the graph, of a function, or of a loop.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Compiler;
use super::loops::Frame;
use crate::error::{Error, Result};
use crate::ops::{Effect, Kernel, Point};
use crate::run::{Operand, Program, Step};
use crate::scope::{Scope, Source};
use crate::value::Value;

/// A program that grows.
pub(super) struct Body<'s, 'g> {
    pub(super) scope: &'s Scope<'g>,
    /// Where tensors are that were computed, or are given.
    values: HashMap<Source, Operand>,
    /// Tensors that are given.
    given: HashSet<Source>,
    /// Nodes that are done.
    done: HashSet<usize>,
    /// Nodes that do something besides giving results, and those after them.
    pub(super) effects: Arc<Vec<bool>>,
    /// What comes out of the loops whose steps are there, by frame.
    pub(super) loops: HashMap<&'g str, Vec<Operand>>,
    /// Loops that were looked at, by frame.
    pub(super) frames: HashMap<&'g str, Frame<'g>>,
    /// Nodes that what is wanted may depend on.
    pub(super) reach: HashSet<usize>,
    /// How many loops this one is in.
    pub(super) depth: usize,
    steps: Vec<Step>,
    slots: usize,
    constants: Vec<Value>,
    params: usize,
    pub(super) writes: bool,
}

/// A step that is about to be added.
pub(super) struct NewStep<'n> {
    pub(super) node: &'n str,
    pub(super) op: &'n str,
    pub(super) kernel: Kernel,
    /// What it does to each element, if it does nothing else.
    pub(super) point: Option<Point>,
    pub(super) operands: Vec<Operand>,
    pub(super) guards: Vec<Operand>,
    pub(super) merges: bool,
    pub(super) refs: bool,
}

impl<'s, 'g> Body<'s, 'g> {
    pub(super) fn new(scope: &'s Scope<'g>, compiler: &mut Compiler<'g>) -> Self {
        let effects = Arc::new(scope.after(|node| compiler.effect(scope, node) > Effect::None));
        Self::inside(scope, effects, 0)
    }

    /// A body in the same scope.
    pub(super) fn inside(scope: &'s Scope<'g>, effects: Arc<Vec<bool>>, depth: usize) -> Self {
        Body {
            scope,
            values: HashMap::new(),
            given: HashSet::new(),
            done: HashSet::new(),
            effects,
            loops: HashMap::new(),
            frames: HashMap::new(),
            reach: HashSet::new(),
            depth,
            steps: Vec::new(),
            slots: 0,
            constants: Vec::new(),
            params: 0,
            writes: false,
        }
    }

    /// Another argument of the program, which is this tensor.
    pub(super) fn param(&mut self, source: Source) {
        let slot = self.slots;
        self.slots += 1;
        self.params += 1;
        self.alias(source, slot);
    }

    /// Another tensor that is an argument that is there already.
    pub(super) fn alias(&mut self, source: Source, param: usize) {
        self.values.insert(source, Operand::Slot(param));
        self.given.insert(source);
    }

    pub(super) fn bind(&mut self, source: Source, operand: Operand) {
        self.values.insert(source, operand);
    }

    /// Whether a tensor is there: computed, or given.
    pub(super) fn has(&self, source: Source) -> bool {
        self.values.contains_key(&source)
    }

    pub(super) fn operand(&self, source: Source) -> Result<Operand> {
        self.values.get(&source).copied().ok_or_else(|| match source {
            Source::Output(node, output) => Error::graph(format!(
                "node `{}` ({}) has no output {output}",
                self.scope.name(node),
                self.scope.op(node)
            )),
            Source::Arg(arg) => Error::graph(format!("argument {arg} is not given")),
        })
    }

    pub(super) fn constant(&mut self, value: Value) -> Operand {
        self.constants.push(value);
        Operand::Constant(self.constants.len() - 1)
    }

    pub(super) fn constant_value(&self, operand: Operand) -> Option<&Value> {
        match operand {
            Operand::Constant(constant) => self.constants.get(constant),
            Operand::Slot(_) => None,
        }
    }

    /// Adds a step of so many outputs, and returns where they go.
    pub(super) fn step(&mut self, step: NewStep<'_>, outputs: usize) -> Vec<Operand> {
        let slots: Vec<usize> = (self.slots..self.slots + outputs).collect();
        self.slots += outputs;
        self.steps.push(Step {
            node: step.node.into(),
            op: step.op.into(),
            kernel: Arc::new(step.kernel),
            point: step.point,
            last: Vec::new(),
            frees: Vec::new(),
            outputs: slots.iter().copied().map(Some).collect(),
            operands: step.operands,
            guards: step.guards,
            merges: step.merges,
            refs: step.refs,
        });
        slots.into_iter().map(Operand::Slot).collect()
    }

    /// Compiles all that is needed, and hands out the program.
    pub(super) fn finish(
        mut self,
        compiler: &mut Compiler<'g>,
        fetches: &[Source],
        targets: &[usize],
    ) -> Result<Program> {
        self.reach = self.reachable(fetches, targets);
        for &fetch in fetches {
            if let (Source::Output(node, _), false) = (fetch, self.has(fetch)) {
                self.need(node, compiler)?;
            }
        }
        for &target in targets {
            self.need(target, compiler)?;
        }
        let fetches = fetches.iter().map(|fetch| match compiler.lacks_any() {
            false => self.operand(*fetch),
            // The program is not going to be run.
            true => Ok(Operand::Constant(0)),
        });
        let fetches = fetches.collect::<Result<Vec<Operand>>>()?;
        let mut program = Program {
            steps: self.steps,
            slots: self.slots,
            constants: self.constants,
            params: self.params,
            fetches,
            writes: self.writes,
            uses_tables: false,
        };
        super::fuse::fuse(&mut program);
        mark_last_uses(&mut program);
        Ok(program)
    }

    /// All nodes that these may depend on, whether they turn out to or not.
    fn reachable(&self, fetches: &[Source], targets: &[usize]) -> HashSet<usize> {
        let node = |source: &Source| match source {
            Source::Output(node, _) if !self.has(*source) => Some(*node),
            _ => None,
        };
        let mut stack: Vec<usize> = fetches.iter().filter_map(node).chain(targets.iter().copied()).collect();
        let mut reach: HashSet<usize> = stack.iter().copied().collect();
        while let Some(next) = stack.pop() {
            let data = self.scope.data(next).iter().filter_map(node);
            for from in data.chain(self.relevant_controls(next)) {
                if reach.insert(from) {
                    stack.push(from);
                }
            }
        }
        reach
    }

    /// Adds a node and all that it needs, each once, what is needed first.
    fn need(&mut self, node: usize, compiler: &mut Compiler<'g>) -> Result<()> {
        let mut open: HashSet<usize> = HashSet::new();
        let mut stack = vec![(node, false)];
        while let Some((node, ready)) = stack.pop() {
            if self.done.contains(&node) {
                continue;
            }
            if ready {
                self.emit(node, compiler)?;
                self.done.insert(node);
                continue;
            }
            if !open.insert(node) {
                let name = self.scope.name(node);
                return Err(Error::graph(format!("node `{name}` needs its own result")));
            }
            stack.push((node, true));
            for need in self.needs(node, compiler)? {
                if !self.done.contains(&need) {
                    stack.push((need, false));
                }
            }
        }
        Ok(())
    }

    /// The nodes that must be there before this one.
    fn needs(&mut self, node: usize, compiler: &mut Compiler<'g>) -> Result<Vec<usize>> {
        let mut needs = Vec::new();
        let sources: Vec<Source> = match self.scope.op(node) {
            _ if self.without_dropout(node, compiler).is_some() => {
                self.without_dropout(node, compiler).into_iter().collect()
            }
            "Exit" | "RefExit" => self.loop_of_exit(node, compiler)?.outer,
            _ => self.scope.data(node).to_vec(),
        };
        for source in sources {
            if let (Source::Output(node, _), false) = (source, self.has(source)) {
                needs.push(node);
            }
        }
        needs.extend(self.relevant_controls(node));
        Ok(needs)
    }

    /// Nodes that must be done before: those that do something, and those that tell which side of a branch this is.
    pub(super) fn relevant_controls(&self, node: usize) -> impl Iterator<Item = usize> {
        let controls = self.scope.control(node).iter().copied();
        controls.filter(|&control| {
            let changes = self.effects.get(control).is_some_and(|changes| *changes);
            changes || self.is_pivot(control)
        })
    }

    /// The sides of branches that a node is on because of its control inputs.
    pub(super) fn guards(&self, node: usize) -> Vec<Operand> {
        let pivots = self.scope.control(node).iter().filter(|&&node| self.is_pivot(node));
        let first = pivots.filter_map(|&pivot| self.values.get(&Source::Output(pivot, 0)));
        first
            .copied()
            .filter(|operand| matches!(operand, Operand::Slot(_)))
            .collect()
    }

    /// Whether a node stands for a side of a branch: `cond/switch_t`.
    fn is_pivot(&self, node: usize) -> bool {
        if self.given.contains(&Source::Output(node, 0)) {
            return false;
        }
        match (self.scope.op(node), self.scope.data(node)) {
            ("Identity", [source @ Source::Output(switch, _)]) => {
                self.scope.op(*switch) == "Switch" && !self.given.contains(source)
            }
            _ => false,
        }
    }
}

/// Finds out which step is the last to need a value, so that it is freed there.
fn mark_last_uses(program: &mut Program) {
    let mut needed: HashSet<usize> = HashSet::new();
    for fetch in &program.fetches {
        if let Operand::Slot(slot) = fetch {
            needed.insert(*slot);
        }
    }
    for step in program.steps.iter_mut().rev() {
        for output in &mut step.outputs {
            *output = output.filter(|slot| needed.contains(slot));
        }
        // Operands are taken in order: of several that are the same, the last one.
        let mut last = vec![false; step.operands.len()];
        for (operand, last) in step.operands.iter().zip(&mut last).rev() {
            if let Operand::Slot(slot) = operand {
                *last = needed.insert(*slot);
            }
        }
        step.last = last;
        for guard in &step.guards {
            if let Operand::Slot(slot) = guard
                && needed.insert(*slot)
            {
                step.frees.push(*slot);
            }
        }
    }
}
