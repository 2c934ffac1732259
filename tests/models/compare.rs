//! What networks compute and save, compared with TensorFlow.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use tfckpt::Checkpoint;
use tfckpt::map::{LoadReport, NameMap};
use tfckpt_candle::{Import, Variables};

use crate::networks::{Kept, Outputs};

/// Outputs may differ by so much, relative to the largest one.
const TOLERANCE: f64 = 1e-5;

impl Kept {
    pub(crate) fn output(&self, name: &str) -> Tensor {
        self.tensor("outputs", name)
    }

    /// How far this is from what TensorFlow computed, relative to the largest number of it. NaN if one of them is.
    pub(crate) fn difference(&self, output: &str, ours: &Tensor) -> f64 {
        let theirs = self.output(output);
        assert_eq!(theirs.dims(), ours.dims(), "{} {output}", self.name());
        let numbers = |tensor: &Tensor| -> Result<Vec<f64>> { tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1() };
        let (theirs, ours) = (numbers(&theirs).unwrap(), numbers(ours).unwrap());
        let largest = theirs.iter().fold(0f64, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.1, "{output} of {} says nothing", self.name());
        let off = |(a, b): (&f64, &f64)| (a - b).abs() / largest;
        let worse = |worst: f64, off: f64| if off <= worst { worst } else { off };
        theirs.iter().zip(&ours).map(off).fold(0.0, worse)
    }

    /// Fails unless this is what TensorFlow computed.
    pub(crate) fn assert_computes(&self, output: &str, ours: &Tensor) {
        let difference = self.difference(output, ours);
        println!("{} {output}: {difference:.1e}", self.name());
        let is_near = difference <= TOLERANCE;
        assert!(is_near, "{output} of {} differs by {difference:.1e}", self.name());
    }

    /// Fails unless all of these are. `of` is in front of their names.
    pub(crate) fn assert_computes_all(&self, of: &str, ours: &Outputs) {
        for (output, ours) in ours {
            self.assert_computes(&format!("{of}{output}"), ours);
        }
    }

    /// Fails if this is what TensorFlow computed: what is to be seen in an output is seen there.
    pub(crate) fn assert_computes_otherwise(&self, output: &str, ours: &Tensor) {
        let difference = self.difference(output, ours);
        let is_far = difference > 1e-3;
        assert!(is_far, "{output} of {} differs by {difference:.1e} alone", self.name());
    }

    /// Builds a model that trains from the checkpoint, saves it, and compares each of the variables that it took with the
    /// file that TensorFlow wrote, byte for byte. Gives what was loaded.
    pub(crate) fn assert_saved_as_it_was<M>(
        &self,
        names: &NameMap,
        build: impl FnOnce(VarBuilder) -> Result<M>,
    ) -> LoadReport {
        let (import, varmap) = (Import::new(self.checkpoint(), names.clone()), VarMap::new());
        let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
        build(vb).unwrap();
        let report = import.report();
        assert!(report.is_complete(), "{report}");
        let variables = Variables::new(&varmap).layers(&layers).names(names.clone());
        let folder = tempfile::tempdir().unwrap();
        tfckpt::Saver::new(folder.path())
            .save(variables.to_save().unwrap(), 1)
            .unwrap();
        let (ours, theirs) = (Checkpoint::open(folder.path()).unwrap(), self.checkpoint());
        let names: BTreeSet<&str> = report.loaded.iter().map(|loaded| loaded.name.as_str()).collect();
        // And global_step, which every save has.
        assert_eq!(ours.variables().count(), names.len() + 1);
        for loaded in &report.loaded {
            let [ours, theirs] = [&ours, &theirs].map(|checkpoint| {
                let shape = checkpoint.variable(&loaded.name).unwrap().shape().clone();
                (shape, checkpoint.read_bytes(&loaded.name).unwrap())
            });
            assert_eq!(ours, theirs, "{}", loaded.name);
        }
        report
    }
}
