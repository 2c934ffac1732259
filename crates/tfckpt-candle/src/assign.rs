//! Fine-tuning: a part of a model begins with values of another one's checkpoint.

use std::collections::BTreeSet;
use std::path::Path;

use tfckpt::Checkpoint;
use tfckpt::map::{Assign, LoadReport, ModelVariable, Purpose};

use crate::entries::{self, Entry};
use crate::error::Result;
use crate::variables::Variables;

impl Variables {
    /// Fills the variables that `map` names, an [`AssignmentMap`](tfckpt::map::AssignmentMap) or a
    /// [`WarmStart`](tfckpt::map::WarmStart), from the tensors of `checkpoint` that it names; all others stay as they are.
    /// What `tf.compat.v1.train.init_from_checkpoint` and `warm_start` do, but at once, and in place.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let pretrained = dir.path();
    /// # let kernel = [1f32, 2., 3., 4., 5., 6.];
    /// # tfckpt::Saver::new(pretrained).save([tfckpt::Variable::new("bert/fc/kernel", [3, 2], &kernel)], 1)?;
    /// use candle_core::{DType, Device};
    /// use tfckpt::map::AssignmentMap;
    /// use tfckpt_candle::Variables;
    ///
    /// let varmap = candle_nn::VarMap::new();
    /// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    /// let fc = candle_nn::linear_no_bias(3, 2, vb.pp("encoder.fc"))?;
    /// let head = candle_nn::linear(2, 5, vb.pp("head"))?;
    ///
    /// let checkpoint = tfckpt::Checkpoint::open(pretrained)?;
    /// let map = AssignmentMap::from([("bert/", "encoder/")]);
    /// let report = Variables::new(&varmap).layers(&layers).init_from_checkpoint(&checkpoint, &map)?;
    /// assert_eq!(report.loaded.len(), 1); // `encoder.fc.weight`, transposed; the head stays as it was initialized
    /// # assert_eq!(fc.weight().to_vec2::<f32>()?, [[1., 3., 5.], [2., 4., 6.]]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownLayers`](crate::Error::UnknownLayers), [`Error::UnsupportedDtype`](crate::Error::UnsupportedDtype);
    /// [`tfckpt::Error::Assignment`] with all that is wrong with the map; those of [`Bundle::verify`](tfckpt::Bundle::verify).
    /// The model is then as it was; see [`restore`](Self::restore) for the exception.
    #[doc(alias = "warm_start")]
    pub fn init_from_checkpoint(&self, checkpoint: &Checkpoint, map: &impl Assign) -> Result<LoadReport> {
        let report = init(self.entries()?, Vec::new(), checkpoint, map, self.verify_first)?;
        self.layers.remember(&report);
        Ok(report)
    }
}

/// What a run begins with: variables of the model, and the state of its training. `has_begun` says that it has a state of
/// its own already.
pub(crate) fn init_run(
    has_begun: bool,
    variables: &Variables,
    entries: Vec<Entry>,
    path: &Path,
    map: &impl Assign,
) -> Result<Option<LoadReport>> {
    if has_begun {
        return Ok(None);
    }
    let of_model = variables.entries()?;
    let own: BTreeSet<&str> = of_model.iter().map(|entry| entry.path.as_str()).collect();
    let is_other = |entry: &Entry| !own.contains(entry.path.as_str());
    let others = entries.into_iter().filter(is_other).collect();
    let checkpoint = Checkpoint::open(path)?;
    let report = init(of_model, others, &checkpoint, map, variables.verify_first)?;
    variables.layers.remember(&report);
    Ok(Some(report))
}

/// Fills entries of a model, and perhaps of its training, as `map` says, or none.
fn init(
    model: Vec<Entry>,
    training: Vec<Entry>,
    checkpoint: &Checkpoint,
    map: &impl Assign,
    verify_first: bool,
) -> Result<LoadReport> {
    let of_model = model.len();
    let entries = [model, training].concat();
    let variable = |(number, entry): (usize, &Entry)| -> Result<ModelVariable> {
        let purpose = match (entry.trained, number < of_model) {
            (true, _) => Purpose::Trained,
            (false, true) => Purpose::Untrained,
            (false, false) => Purpose::Optimizer,
        };
        let target = entry.to_target()?;
        Ok(ModelVariable { target, purpose })
    };
    let variables: Vec<ModelVariable> = entries.iter().enumerate().map(variable).collect::<Result<_>>()?;
    let plan = map.plan(checkpoint, &variables)?;
    entries::carry_out(&entries, plan, checkpoint, verify_first)
}
