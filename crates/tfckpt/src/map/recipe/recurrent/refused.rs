//! Variables with which a recurrent layer would compute something else.

use super::Layers;
use super::RecurrentPart::{Bias, Kernel, RecurrentBias, RecurrentKernel};
use crate::map::recipe::Refusal;

impl Layers<'_> {
    pub(super) fn refused(&self) -> Vec<Refusal> {
        let refusal = |leaf: &str, dims: Option<Vec<usize>>, reason: &str| Refusal {
            names: self.names_of(leaf),
            dims,
            reason: reason.to_owned(),
        };
        let of_cell = self.cell.refused.iter().map(|(leaf, reason)| Refusal {
            names: self.names_beside(leaf),
            dims: None,
            reason: (*reason).to_owned(),
        });
        let mut refused: Vec<Refusal> = of_cell.collect();
        refused.extend(self.other_cells());
        let biases = self
            .cell
            .variables
            .iter()
            .filter(|stored| stored.parts.first() == Some(&Bias));
        for stored in biases {
            let width = self.sizes.hidden * stored.gates.len();
            if !self.is_there(Bias) {
                refused.push(refusal(stored.leaf, None, "the layer has no biases"));
            }
            // The other kind of GRU, and the cells of CUDA.
            let (dims, reason) = match stored.parts {
                [Bias, RecurrentBias] => (
                    vec![width],
                    "a GRU with `reset_after=False` needs a layer that resets before, declared as `GruCell::KerasBefore`",
                ),
                _ => (
                    vec![2, width],
                    "a GRU with `reset_after=True` needs a layer that resets after, declared as `GruCell::Keras`",
                ),
            };
            if stored.gates.len() == 3 {
                refused.push(refusal(stored.leaf, Some(dims), reason));
            }
        }
        refused
    }
    /// The kernels of cells whose gates lie otherwise.
    fn other_cells(&self) -> Vec<Refusal> {
        const OF_KERAS: &str = "that is the kernel of a layer of Keras, whose gates have another order than those of the cells of \
                                TensorFlow 1: declare the layer with the cell of Keras";
        const OF_TENSORFLOW_1: &str = "that is the kernel of a cell of TensorFlow 1, which has the weights of input and state in one, \
                                       and whose gates have another order than those of Keras: declare the layer with that cell";
        let refusal = |leaf: &str, dims: Option<Vec<usize>>, reason: &str| Refusal {
            names: self.names_of(leaf),
            dims,
            reason: reason.to_owned(),
        };
        let (input, hidden) = (self.sizes.input, self.sizes.hidden);
        let kernels = self.cell.variables.iter().filter_map(|stored| {
            let width = hidden * stored.gates.len();
            match stored.parts {
                [Kernel] => Some(refusal(stored.leaf, Some(vec![input + hidden, width]), OF_TENSORFLOW_1)),
                [Kernel, RecurrentKernel] if stored.leaf == "kernel" => {
                    Some(refusal(stored.leaf, Some(vec![input, width]), OF_KERAS))
                }
                _ => None,
            }
        });
        let mut refused: Vec<Refusal> = kernels.collect();
        match self.cell.scope {
            "gru_cell" if self.cell.variables.iter().any(|stored| stored.leaf == "kernel") => {
                refused.push(refusal("gates/kernel", None, OF_TENSORFLOW_1));
            }
            "gru_cell" => refused.push(refusal("kernel", Some(vec![input, 3 * hidden]), OF_KERAS)),
            _ => {}
        }
        refused
    }
}
