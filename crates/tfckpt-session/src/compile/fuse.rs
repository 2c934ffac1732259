//! Chains of operations that go element by element become one step each: what lies between them is never in memory as a whole.

use std::collections::{HashMap, HashSet};

use crate::ops::Point;
use crate::run::{Fused, Operand, Part, Place, Program, Step};

/// So many operations are computed at once at most: their blocks of elements lie in the cache together.
const MOST: usize = 16;

/// Puts steps together whose values nobody else needs. A program that changes variables stays as it is: when they are read is part
/// of what it means.
pub(super) fn fuse(program: &mut Program) {
    if program.writes {
        return;
    }
    let uses = Uses::of(program);
    // By the last step of each group, the others in order.
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut taken = vec![false; program.steps.len()];
    for root in (0..program.steps.len()).rev() {
        let is_free = |step: usize| !taken.get(step).copied().unwrap_or(true);
        if !is_free(root) || !uses.is_pointwise(program, root) {
            continue;
        }
        let group = uses.group(program, root, is_free);
        let is_several = |step: &Step| matches!(step.point, Some(Point::BatchNorm(_)));
        if group.len() > 1 || program.steps.get(root).is_some_and(is_several) {
            group
                .iter()
                .filter_map(|&step| taken.get_mut(step).map(|taken| *taken = true))
                .for_each(drop);
            groups.insert(root, group);
        }
    }
    let mut steps: Vec<Option<Step>> = std::mem::take(&mut program.steps).into_iter().map(Some).collect();
    for root in 0..steps.len() {
        if let Some(group) = groups.get(&root) {
            let group: Vec<Step> = group.iter().filter_map(|&step| steps.get_mut(step)?.take()).collect();
            program.steps.extend(together(group));
        } else if !taken.get(root).copied().unwrap_or(false) {
            program.steps.extend(steps.get_mut(root).and_then(Option::take));
        }
    }
}

/// Who makes values, and who needs them.
struct Uses {
    /// By slot, the step that computes it.
    made: HashMap<usize, usize>,
    /// By slot, the steps that need it.
    needed: HashMap<usize, Vec<usize>>,
    fetched: HashSet<usize>,
}

impl Uses {
    fn of(program: &Program) -> Self {
        let slot = |operand: &Operand| match operand {
            Operand::Slot(slot) => Some(*slot),
            Operand::Constant(_) => None,
        };
        let mut uses = Uses {
            made: HashMap::new(),
            needed: HashMap::new(),
            fetched: program.fetches.iter().filter_map(slot).collect(),
        };
        for (number, step) in program.steps.iter().enumerate() {
            for slot in step.operands.iter().chain(&step.guards).filter_map(slot) {
                uses.needed.entry(slot).or_default().push(number);
            }
            uses.made
                .extend(step.outputs.iter().flatten().map(|slot| (*slot, number)));
        }
        uses
    }

    /// Whether a step does nothing but to compute its first output from its operands, element by element.
    fn is_pointwise(&self, program: &Program, step: usize) -> bool {
        let Some(step) = program.steps.get(step) else {
            return false;
        };
        let fits = step.point.is_some_and(|point| point.operands() == step.operands.len());
        let is_needed = |slot: &usize| self.needed.contains_key(slot) || self.fetched.contains(slot);
        let others_are_not = !step.outputs.iter().skip(1).flatten().any(is_needed);
        fits && others_are_not && step.guards.is_empty() && !step.merges && !step.refs
    }

    /// The steps that can be computed together with `root`, in order: those whose values nobody needs but steps of the group.
    fn group(&self, program: &Program, root: usize, is_free: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut group = vec![root];
        // Every step that joins may be the last that another one waited for.
        while let Some(next) = self.next(program, &group, &is_free) {
            group.push(next);
            if group.len() == MOST {
                break;
            }
        }
        group.sort_unstable();
        group
    }

    fn next(&self, program: &Program, group: &[usize], is_free: &impl Fn(usize) -> bool) -> Option<usize> {
        let steps = group.iter().filter_map(|&step| program.steps.get(step));
        let slots = steps
            .flat_map(|step| &step.operands)
            .filter_map(|operand| match operand {
                Operand::Slot(slot) => Some(slot),
                Operand::Constant(_) => None,
            });
        let inner = slots.filter(|slot| !self.fetched.contains(slot)).filter(|slot| {
            let needed = self.needed.get(slot);
            needed.is_some_and(|steps| steps.iter().all(|step| group.contains(step)))
        });
        let mut makers = inner.filter_map(|slot| self.made.get(slot).copied());
        makers.find(|maker| !group.contains(maker) && is_free(*maker) && self.is_pointwise(program, *maker))
    }
}

/// One step of several, of which the last has the result.
fn together(group: Vec<Step>) -> Option<Step> {
    let mut leaves: Vec<Operand> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    let mut parts = Vec::with_capacity(group.len());
    let mut last = None;
    for (number, step) in group.into_iter().enumerate() {
        let place = |operand: &Operand| match operand {
            Operand::Slot(slot) if places.contains_key(slot) => places.get(slot).copied().map(Place::Part),
            operand => Some(Place::Leaf(
                leaves.iter().position(|leaf| leaf == operand).unwrap_or_else(|| {
                    leaves.push(*operand);
                    leaves.len() - 1
                }),
            )),
        };
        let operands = step.operands.iter().filter_map(place).collect();
        parts.push(Part {
            node: step.node.clone(),
            op: step.op.clone(),
            kernel: step.kernel.clone(),
            point: step.point?,
            operands,
        });
        places.extend(step.outputs.first().copied().flatten().map(|slot| (slot, number)));
        last = Some(step);
    }
    let fused = Fused { parts };
    last.map(|last| Step {
        kernel: std::sync::Arc::new(Box::new(move |args, context| fused.run(args, context))),
        operands: leaves,
        point: None,
        outputs: last.outputs.first().copied().into_iter().collect(),
        ..last
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// `slot` of `operands`, by an operation of this name; by one that goes element by element, if `point` says which.
    fn step(slot: usize, point: Option<Point>, operands: &[usize]) -> Step {
        Step {
            node: format!("n{slot}").into(),
            op: "Op".into(),
            kernel: Arc::new(Box::new(|_, _| Ok(Vec::new()))),
            point,
            operands: operands.iter().copied().map(Operand::Slot).collect(),
            last: Vec::new(),
            guards: Vec::new(),
            outputs: vec![Some(slot)],
            merges: false,
            refs: false,
            frees: Vec::new(),
        }
    }

    fn program(steps: Vec<Step>, fetches: &[usize]) -> Program {
        Program {
            slots: steps.len() + 2,
            steps,
            constants: Vec::new(),
            params: 2,
            fetches: fetches.iter().copied().map(Operand::Slot).collect(),
            writes: false,
            uses_tables: false,
        }
    }

    /// What is left: nodes, and what they need.
    fn left(program: &Program) -> Vec<(String, Vec<Operand>)> {
        let steps = program.steps.iter();
        steps
            .map(|step| (step.node.to_string(), step.operands.clone()))
            .collect()
    }

    fn chain() -> Vec<Step> {
        vec![
            step(2, Some(Point::Add), &[0, 1]),
            step(3, Some(Point::Exp), &[2]),
            step(4, None, &[1]),
            step(5, Some(Point::Mul), &[3, 4]),
            step(6, Some(Point::Sub), &[5, 2]),
        ]
    }

    #[test]
    fn steps_whose_values_nobody_else_needs_become_one() {
        let mut chain = program(chain(), &[6]);
        fuse(&mut chain);
        let [zero, one, four] = [0, 1, 4].map(Operand::Slot);
        assert_eq!(
            left(&chain),
            [("n4".to_owned(), vec![one]), ("n6".to_owned(), vec![zero, one, four])]
        );
    }

    #[test]
    fn what_is_fetched_or_needed_elsewhere_stays() {
        let mut fetched = program(chain(), &[6, 3]);
        fuse(&mut fetched);
        let nodes: Vec<String> = left(&fetched).into_iter().map(|(node, _)| node).collect();
        // `n2` is needed by `n3`, which has to be there before, too.
        assert_eq!(nodes, ["n2", "n3", "n4", "n6"]);
        let mut needed = chain();
        needed.push(step(7, None, &[5]));
        let mut needed = program(needed, &[6, 7]);
        fuse(&mut needed);
        let nodes: Vec<String> = left(&needed).into_iter().map(|(node, _)| node).collect();
        assert_eq!(nodes, ["n2", "n4", "n5", "n6", "n7"]);
    }

    #[test]
    fn nothing_is_moved_past_a_change_of_a_variable_or_out_of_a_branch() {
        let mut writes = program(chain(), &[6]);
        writes.writes = true;
        fuse(&mut writes);
        assert_eq!(writes.steps.len(), 5);
        let mut branch = chain();
        for step in &mut branch {
            step.guards.push(Operand::Slot(0));
        }
        let mut branch = program(branch, &[6]);
        fuse(&mut branch);
        assert_eq!(branch.steps.len(), 5);
    }
}
