//! What makes up a checkpoint, taken down at one moment and written at another.

use std::sync::Arc;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use tfckpt::Variable;

use super::{Shared, State};
use crate::carrier::States;
use crate::error::Result;
use crate::optimizer::{self, AllTraits};
use crate::schema::Schema;
use crate::{module, parts};

/// The state of a run after a step. Tensors of Burn do not change, so that it holds them and copies none.
pub(crate) struct Content {
    pub(crate) global_step: i64,
    /// Of the model.
    pub(crate) variables: Vec<Variable<'static>>,
    /// Of the optimizer, to be taken from it.
    pub(crate) states: Box<dyn FnOnce() -> Result<States> + Send>,
    pub(crate) scheduler: LrSchedulerRecord,
    pub(crate) schema: Schema,
    /// All that is not Burn's: where the run is, random numbers, metrics.
    pub(crate) others: Vec<Variable<'static>>,
    /// What was measured at this step.
    pub(crate) metrics: Vec<(String, f64)>,
}

impl State {
    /// What was measured at the step that the run is at.
    pub(crate) fn metrics(&self) -> Vec<(String, f64)> {
        let metrics = self.hooks.metrics.of_step(self.hooks.global_step());
        metrics.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// All that is saved besides model, optimizer, scheduler and step.
    pub(crate) fn others(&self) -> Vec<Variable<'static>> {
        let mut others = self.hooks.variables();
        others.extend(self.place.variables());
        others
    }
}

impl Shared {
    /// What is known of the optimizers: found out once.
    pub(super) fn traits_of(&self, optimizer: &ModuleOptimizer, schema: &Schema) -> Result<Arc<AllTraits>> {
        let mut traits = super::lock(&self.traits);
        if let Some(traits) = &*traits {
            return Ok(traits.clone());
        }
        let found = Arc::new(optimizer::traits_of(optimizer, schema)?);
        *traits = Some(found.clone());
        Ok(found)
    }

    /// The same, when nobody has an optimizer at hand any more.
    pub(super) fn traits(&self) -> Arc<AllTraits> {
        super::lock(&self.traits).clone().unwrap_or_default()
    }

    /// What a training has at hand after a step.
    pub(super) fn content<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Content> {
        let schema = Schema::of(model);
        let variables = module::variables(model, &schema, &self.names())?;
        self.traits_of(optimizer, &schema)?;
        let (optimizer, parameters) = (optimizer.clone(), schema.clone());
        let state = self.state();
        Ok(Content {
            global_step: state.hooks.global_step(),
            variables,
            states: Box::new(move || parts::states(&optimizer, &parameters)),
            scheduler: scheduler.to_record(),
            schema,
            others: state.others(),
            metrics: state.metrics(),
        })
    }
}
