//! Loops of TensorFlow 1: frames that values enter and leave, made into condition and body again.
//!
//! ```text
//! Enter -> Merge -> Switch -(true)->  body -> NextIteration -> back to Merge
//!            |         \--(false)--> Exit
//!            \-> condition -> LoopCond -> all Switches
//! ```

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::Compiler;
use super::body::Body;
use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::ops::Kernel;
use crate::run::{Cell, Loop, Operand};
use crate::scope::{Scope, Source};
use crate::value::{TfTensor, Value};

/// What was found out about a loop.
#[derive(Debug, Clone)]
pub(super) struct Frame<'g> {
    name: &'g str,
    merges: Vec<Merge>,
    /// `Enter` nodes of what does not change.
    fixed: Vec<usize>,
    /// The tensors that enter: first those of `merges`, then those of `fixed`.
    pub(super) outer: Vec<Source>,
    condition: Source,
    loop_cond: usize,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    node: usize,
    enters: Source,
    next: Source,
    /// The node that goes round: what must be done before it belongs to the body.
    turn: usize,
}

impl<'s, 'g> Body<'s, 'g> {
    /// The loop that an `Exit` leaves.
    pub(super) fn loop_of_exit(&mut self, exit: usize, compiler: &Compiler<'g>) -> Result<Frame<'g>> {
        let scope = self.scope;
        let name = frame_of_exit(scope, exit)?;
        if let Some(frame) = self.frames.get(name) {
            return Ok(frame.clone());
        }
        compiler.limits.check_depth(self.depth + 1)?;
        let frame = find_frame(scope, name, &self.reach, |node| self.relevant_controls(node).collect())?;
        self.frames.insert(name, frame.clone());
        Ok(frame)
    }

    /// Adds the loop, with the first of the nodes that leave it.
    pub(super) fn emit_exit(&mut self, exit: usize, compiler: &mut Compiler<'g>) -> Result<()> {
        let frame = self.loop_of_exit(exit, compiler)?;
        let scope = self.scope;
        if !self.loops.contains_key(frame.name) {
            let next: Vec<Source> = frame.merges.iter().map(|merge| merge.next).collect();
            let before = frame.merges.iter().flat_map(|merge| self.relevant_controls(merge.turn));
            let before: Vec<usize> = before.collect();
            let condition = self.part(&frame, &[frame.condition], &[], compiler)?;
            let body = self.part(&frame, &next, &before, compiler)?;
            if compiler.lacks_any() {
                return Ok(());
            }
            let runs = Loop {
                condition,
                body,
                variables: frame.merges.len(),
            };
            let kernel: Kernel = Box::new(move |args, context| runs.run(args.values().to_vec(), context));
            let operands = frame.outer.iter().map(|source| self.operand(*source));
            let operands = operands.collect::<Result<Vec<Operand>>>()?;
            let outputs = self.step_of(exit, kernel, operands, frame.merges.len());
            self.loops.insert(frame.name, outputs);
        }
        let merge = merge_of_exit(scope, exit)?;
        let place = frame.merges.iter().position(|found| found.node == merge);
        let outputs = self.loops.get(frame.name);
        let value = outputs.zip(place).and_then(|(outputs, place)| outputs.get(place));
        let value = *value.ok_or_else(|| Error::graph("a loop is left by a value that is not in it"))?;
        self.bind(Source::Output(exit, 0), value);
        Ok(())
    }

    /// The program of condition or body.
    fn part(
        &mut self,
        frame: &Frame<'g>,
        fetches: &[Source],
        targets: &[usize],
        compiler: &mut Compiler<'g>,
    ) -> Result<Cell> {
        let scope = self.scope;
        let mut part = Body::inside(scope, self.effects.clone(), self.depth + 1);
        let goes_on = part.constant(Value::Tensor(TfTensor::truths(vec![1], &[])?));
        part.bind(Source::Output(frame.loop_cond, 0), goes_on);
        for merge in &frame.merges {
            part.param(Source::Output(merge.node, 0));
        }
        for enter in &frame.fixed {
            part.param(Source::Output(*enter, 0));
        }
        for (switch, _) in scope.nodes.iter().enumerate().filter(|(_, node)| is_switch(node.op())) {
            let [Source::Output(merge, 0), Source::Output(pivot, _)] = scope.data(switch) else {
                continue;
            };
            let place = frame.merges.iter().position(|found| found.node == *merge);
            if let Some(place) = place.filter(|_| *pivot == frame.loop_cond) {
                part.alias(Source::Output(switch, 0), place);
                part.alias(Source::Output(switch, 1), place);
            }
        }
        let program = part.finish(compiler, fetches, targets)?;
        self.writes |= program.writes;
        let cell: Cell = Arc::new(OnceLock::new());
        let _ = cell.set(program);
        Ok(cell)
    }
}

fn is_switch(op: &str) -> bool {
    matches!(op, "Switch" | "RefSwitch")
}

fn is_merge(op: &str) -> bool {
    matches!(op, "Merge" | "RefMerge")
}

fn frame_name<'g>(scope: &Scope<'g>, enter: usize) -> Option<&'g str> {
    let node = scope.nodes.get(enter)?;
    matches!(node.op(), "Enter" | "RefEnter").then(|| Attrs::new(*node).text("frame_name", "").ok())?
}

fn node_of(source: Option<&Source>) -> Option<usize> {
    match source? {
        Source::Output(node, _) => Some(*node),
        Source::Arg(_) => None,
    }
}

/// The `Merge` of the variable that leaves by this `Exit`.
fn merge_of_exit(scope: &Scope<'_>, exit: usize) -> Result<usize> {
    let switch = node_of(scope.data(exit).first()).filter(|node| is_switch(scope.op(*node)));
    let merge = switch.and_then(|switch| node_of(scope.data(switch).first()));
    let merge = merge.filter(|node| is_merge(scope.op(*node)));
    merge.ok_or_else(|| Error::graph("an Exit that no Switch and Merge lead to"))
}

fn frame_of_exit<'g>(scope: &Scope<'g>, exit: usize) -> Result<&'g str> {
    let merge = merge_of_exit(scope, exit)?;
    let mut enters = scope.data(merge).iter().filter_map(|source| node_of(Some(source)));
    let name = enters.find_map(|node| frame_name(scope, node));
    name.ok_or_else(|| Error::graph("an Exit of a loop that nothing enters"))
}

/// The loop, as far as it is needed.
fn find_frame<'g>(
    scope: &Scope<'g>,
    name: &'g str,
    reach: &HashSet<usize>,
    controls: impl Fn(usize) -> Vec<usize>,
) -> Result<Frame<'g>> {
    let mut merges: Vec<Merge> = Vec::new();
    let mut seen_merges = HashSet::new();
    let mut fixed = Vec::new();
    let mut loop_cond = None;
    let mut waiting: Vec<usize> = Vec::new();
    for (exit, node) in scope.nodes.iter().enumerate() {
        let is_exit = matches!(node.op(), "Exit" | "RefExit") && reach.contains(&exit);
        if !is_exit || frame_of_exit(scope, exit).ok() != Some(name) {
            continue;
        }
        let switch = node_of(scope.data(exit).first());
        let pivot = switch.and_then(|switch| node_of(scope.data(switch).get(1)));
        loop_cond = loop_cond.or(pivot.filter(|pivot| scope.op(*pivot) == "LoopCond"));
        waiting.push(merge_of_exit(scope, exit)?);
    }
    let loop_cond = loop_cond.ok_or_else(|| Error::graph(format!("loop `{name}` has no condition")))?;
    let condition = scope.data(loop_cond).first().copied();
    let condition = condition.ok_or_else(|| Error::graph(format!("loop `{name}` has no condition")))?;
    let mut seen = HashSet::new();
    let mut stack: Vec<Source> = vec![condition];
    loop {
        while let Some(node) = waiting.pop() {
            if seen_merges.insert(node) {
                let merge = merge_of(scope, node, name)?;
                stack.push(merge.next);
                stack.extend(
                    controls(merge.turn)
                        .into_iter()
                        .map(|control| Source::Output(control, 0)),
                );
                merges.push(merge);
            }
        }
        let Some(source) = stack.pop() else { break };
        let Source::Output(node, _) = source else { continue };
        if !seen.insert(node) || node == loop_cond {
            continue;
        }
        let inputs = scope.data(node);
        if frame_name(scope, node) == Some(name) {
            fixed.push(node);
        } else if is_merge(scope.op(node)) && merge_of(scope, node, name).is_ok() {
            waiting.push(node);
        } else {
            stack.extend(inputs);
            stack.extend(controls(node).into_iter().map(|control| Source::Output(control, 0)));
        }
    }
    let enters = fixed.iter().map(|enter| scope.data(*enter).first().copied());
    let enters = enters.collect::<Option<Vec<Source>>>();
    let enters = enters.ok_or_else(|| Error::graph("an Enter without an input"))?;
    Ok(Frame {
        name,
        outer: merges.iter().map(|merge| merge.enters).chain(enters).collect(),
        merges,
        fixed,
        condition,
        loop_cond,
    })
}

/// A `Merge` of the loop: where its first value comes from, and the next ones.
fn merge_of(scope: &Scope<'_>, merge: usize, name: &str) -> Result<Merge> {
    let (mut enters, mut next, mut turn) = (None, None, None);
    for node in scope.data(merge).iter().filter_map(|source| node_of(Some(source))) {
        match scope.op(node) {
            "NextIteration" | "RefNextIteration" => {
                next = scope.data(node).first().copied();
                turn = Some(node);
            }
            _ if frame_name(scope, node) == Some(name) => enters = scope.data(node).first().copied(),
            _ => {}
        }
    }
    match (enters, next, turn) {
        (Some(enters), Some(next), Some(turn)) => Ok(Merge {
            node: merge,
            enters,
            next,
            turn,
        }),
        _ => Err(Error::graph(format!(
            "a variable of loop `{name}` that does not go round"
        ))),
    }
}
