//! The one shape of all optimizers.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use tfckpt::optimizers::{Convention, Counter, OptimizerNames, Slot};

use super::precision::{Precision, single};
use super::rule::{Rule, Step, next_power};
use super::vars::{Trained, scalar, set, trainable};
use super::{Changes, CheckpointedOptimizer, Clip, OptimizerState};

/// An optimizer that computes what TensorFlow's of the same name computes, in the same order of operations and the same
/// precision, and keeps the same state under the same names, so that a run can go on in either. `P` are its settings; see
/// [`Sgd`](super::Sgd), [`Adam`](super::Adam) and the others.
///
/// Whose formula it is, and how the state is called, is a setting as well, a [`Convention`]: the momentum of
/// `tf.compat.v1.train` is another number than that of Keras, and epsilon is at another place. `docs/optimizers.md` has all
/// formulas and names, and how far they were measured to be from TensorFlow.
///
/// ```
/// # fn main() -> candle_core::Result<()> {
/// use candle_nn::{Optimizer, VarMap};
/// use tfckpt_candle::optimizers::Convention;
/// use tfckpt_candle::{Clip, ParamsRmsProp, RmsProp};
///
/// # let varmap = VarMap::new();
/// # varmap.get(2, "w", candle_nn::Init::Const(1.0), candle_core::DType::F32, &candle_core::Device::Cpu)?;
/// // keras.optimizers.RMSprop(1e-3, momentum=0.9, clipnorm=1.0)
/// let params = ParamsRmsProp { momentum: 0.9, ..ParamsRmsProp::of(Convention::Keras3) };
/// let mut optimizer = RmsProp::new(&varmap, params)?.clip(Clip::Norm(1.0));
/// optimizer.set_learning_rate(5e-4);
/// # Ok(())
/// # }
/// ```
///
/// # The learning rate
/// It is a number that may be set before each step. Optimizers of Keras save it and restore it: after a restore
/// [`learning_rate`](Optimizer::learning_rate) is that of the checkpoint, if there is one, until it is set.
#[derive(Debug)]
pub struct TfOptimizer<P> {
    vars: Vec<Trained>,
    params: P,
    names: OptimizerNames,
    options: Options,
    iterations: Var,
    learning_rate: Option<Var>,
    powers: Option<(Var, Var)>,
    product: Option<Var>,
    changes: Changes,
}

/// What any optimizer of Keras can do besides.
#[derive(Debug, Default)]
struct Options {
    clip: Option<Clip>,
    weight_decay: Option<f64>,
    undecayed: Vec<String>,
    average: Option<Average>,
}

#[derive(Debug)]
struct Average {
    momentum: f64,
    overwrite_every: Option<u32>,
}

impl<P: Rule> TfOptimizer<P> {
    /// An optimizer of all variables of `varmap` that train: all but integers and running statistics. Variables that
    /// are added to `varmap` later are not trained.
    ///
    /// # Errors
    /// No memory for the slots on the device.
    pub fn new(varmap: &VarMap, params: P) -> Result<Self> {
        Self::for_vars(trainable(varmap), params)
    }

    /// An optimizer of these variables alone, each with its path in the `VarMap`.
    ///
    /// # Errors
    /// A variable has an integer dtype, or there is no memory for the slots on the device.
    pub fn for_vars(vars: impl IntoIterator<Item = (String, Var)>, params: P) -> Result<Self> {
        let slots = params.slots();
        let vars = Trained::all(vars, &slots)?;
        let names = OptimizerNames::new(P::KIND, params.convention());
        let product = match params.momentum(Precision(DType::F64), 1) {
            // In the dtype of the first variable, as in Keras.
            Some(_) => {
                let dtype = vars.first().map_or(DType::F32, |trained| trained.var.dtype());
                Some(Var::ones((), dtype, &candle_core::Device::Cpu)?)
            }
            None => None,
        };
        let powers = params
            .betas()
            .map(|(beta1, beta2)| Ok::<_, candle_core::Error>((scalar(single(beta1))?, scalar(single(beta2))?)));
        let has_rate = params.convention() != Convention::V1;
        let rate = has_rate.then(|| scalar(single(params.lr())));
        Ok(TfOptimizer {
            vars,
            names: names.with_slots(slots.into_iter().map(|(slot, _)| slot)),
            options: Options::default(),
            iterations: scalar(0i64)?,
            learning_rate: rate.transpose()?,
            powers: powers.transpose()?,
            product,
            changes: Changes::default(),
            params,
        })
    }

    /// Another name, for a second optimizer of the same model: that of the slots of V1, which are called `Adam` by default,
    /// and the scope of the numbers. Those of V1 are then called `NAME/beta1_power`, `NAME/beta2_power` and
    /// `NAME/iterations`; [`with_names`](Self::with_names) has them as TensorFlow numbers them.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with_names(|names| match name == names.kind().default_name(names.convention()) {
            true => names,
            false => names.named(name.clone()).counters_in(name),
        })
    }

    /// Other names, made of the ones that it has: in a scope, or after another optimizer, as in
    /// `with_names(|names| names.after([first.names()]))`.
    #[must_use]
    pub fn with_names(mut self, change: impl FnOnce(OptimizerNames) -> OptimizerNames) -> Self {
        let changed = change(self.names.clone());
        // Kind and convention are what it computes, whatever the names are made of.
        if (changed.kind(), changed.convention()) == (self.names.kind(), self.names.convention()) {
            self.names = changed;
        }
        self
    }

    /// What its state is called.
    pub fn names(&self) -> &OptimizerNames {
        &self.names
    }

    /// Clips gradients before they are used. Default: as they are.
    #[must_use]
    pub fn clip(mut self, clip: Clip) -> Self {
        self.options.clip = Some(clip);
        self
    }

    /// Shrinks variables that have a gradient before each step, as `weight_decay` of Keras does: `var -= var * rate * lr`.
    /// For V1 it is that of `tf.contrib.opt`, `var -= var * rate`. Default: none, but for AdamW.
    #[must_use]
    pub fn weight_decay(mut self, rate: f64) -> Self {
        self.options.weight_decay = Some(rate);
        self
    }

    /// Variables whose path contains one of `parts`, `bias` for one, are not shrunk by weight decay.
    #[must_use]
    pub fn exclude_from_weight_decay<S: Into<String>>(mut self, parts: impl IntoIterator<Item = S>) -> Self {
        self.options.undecayed.extend(parts.into_iter().map(Into::into));
        self
    }

    /// Keeps moving averages of the variables, as `use_ema` of Keras does, in slots of their own, and every so many steps
    /// overwrites the variables with them. Call it before the first step.
    ///
    /// # Errors
    /// No memory for the averages on the device.
    pub fn average(mut self, momentum: f64, overwrite_every: Option<u32>) -> Result<Self> {
        if self.options.average.is_none() {
            self.vars
                .iter_mut()
                .try_for_each(|trained| trained.add(Slot::Average, 0.0))?;
        }
        self.options.average = Some(Average {
            momentum,
            overwrite_every,
        });
        self.names = self.names.with_slots([Slot::Average]);
        Ok(self)
    }

    /// The settings.
    pub fn params(&self) -> &P {
        &self.params
    }

    /// Other settings, from the next step on. What was counted in the past stays, as in TensorFlow. Settings that need more
    /// slots than the optimizer was built with make the next step an error, and the convention stays.
    pub fn set_params(&mut self, params: P) {
        let rate = params.lr();
        self.params = params;
        self.set_learning_rate(rate);
    }

    /// The number of steps taken, those before a restore included.
    ///
    /// # Errors
    /// None, as long as the counter stays on the CPU.
    pub fn iterations(&self) -> Result<i64> {
        self.iterations.to_scalar()
    }

    /// The variable and the gradient become the next variable.
    fn update(&self, trained: &Trained, gradient: Tensor, t: i64) -> Result<()> {
        let convention = self.names.convention();
        let n = Precision(trained.var.dtype());
        let lr = n.single(self.learning_rate());
        let var = self.decayed(trained, n, lr)?;
        let powers = match &self.powers {
            Some((first, second)) => (first.to_scalar()?, second.to_scalar()?),
            None => (0.0, 0.0),
        };
        let product = match &self.product {
            Some(product) => n.round(product.to_dtype(DType::F64)?.to_scalar()?),
            None => 1.0,
        };
        let step = Step {
            trained,
            convention,
            var,
            gradient: gradient.detach(),
            n,
            lr,
            t,
            powers,
            product,
        };
        trained.var.set(&self.params.update(&step)?)
    }

    /// The variable after its decay.
    fn decayed(&self, trained: &Trained, n: Precision, lr: f64) -> Result<Tensor> {
        let var = trained.var.as_detached_tensor();
        let rate = self.options.weight_decay.or(self.params.weight_decay());
        let is_excluded = self
            .options
            .undecayed
            .iter()
            .any(|part| trained.path.contains(part.as_str()));
        match rate.filter(|_| !is_excluded) {
            None => Ok(var),
            Some(rate) => {
                let decay = (&var * n.single(rate))?;
                match self.names.convention() {
                    Convention::V1 => var - decay,
                    _ => var - (decay * lr)?,
                }
            }
        }
    }

    fn keep_averages(&self, average: &Average, t: i64) -> Result<()> {
        let overwrites = average
            .overwrite_every
            .is_some_and(|every| every > 0 && t % i64::from(every) == 0);
        for trained in &self.vars {
            let n = Precision(trained.var.dtype());
            let momentum = if t == 1 { 0.0 } else { n.round(average.momentum) };
            let mean = trained.slot(Slot::Average)?;
            let var = trained.var.as_detached_tensor();
            let next = ((mean.as_detached_tensor() * momentum)? + (var * n.sub(1.0, momentum))?)?;
            mean.set(&next)?;
            if overwrites {
                trained.var.set(&next)?;
            }
        }
        Ok(())
    }
}

impl<P: Rule> Optimizer for TfOptimizer<P> {
    type Config = P;

    /// Only for no variables at all: without names their state could not be saved. Use [`TfOptimizer::new`].
    fn new(vars: Vec<Var>, params: P) -> Result<Self> {
        match vars.is_empty() {
            true => Self::for_vars([], params),
            false => {
                let what = format!(
                    "variables without names cannot be found again in a checkpoint: build the optimizer by `{}::new(&varmap, params)`",
                    P::NAME
                );
                Err(candle_core::Error::Msg(what).bt())
            }
        }
    }

    /// Variables without a gradient stay as they are, and so do their slots.
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.changes.begin();
        let t = self.iterations()? + 1;
        let found = self.vars.iter().map(|trained| gradients.get(&trained.var).cloned());
        let mut found: Vec<Option<Tensor>> = found.collect();
        if let Some(clip) = self.options.clip {
            found = clip.apply(found)?;
        }
        if let Some(product) = &self.product {
            let n = Precision(product.dtype());
            let before = product.to_dtype(DType::F64)?.to_scalar()?;
            let next = n.mul(before, self.params.momentum(n, t).unwrap_or(1.0));
            product.set(&Tensor::new(next, product.device())?.to_dtype(product.dtype())?)?;
        }
        for (trained, gradient) in self.vars.iter().zip(found) {
            if let Some(gradient) = gradient {
                self.update(trained, gradient, t)?;
            }
        }
        if let Some((beta1, beta2)) = self.params.betas()
            && let Some((first, second)) = &self.powers
        {
            set(first, next_power(first.to_scalar()?, beta1))?;
            set(second, next_power(second.to_scalar()?, beta2))?;
        }
        if let Some(average) = &self.options.average {
            self.keep_averages(average, t)?;
        }
        set(&self.iterations, t)
    }

    fn learning_rate(&self) -> f64 {
        let saved = self
            .learning_rate
            .as_ref()
            .and_then(|rate| rate.to_scalar::<f32>().ok());
        match saved {
            // Not rounded, if it is the one that was set.
            Some(saved) if saved != single(self.params.lr()) => saved.into(),
            _ => self.params.lr(),
        }
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.params.set_lr(lr);
        if let Some(rate) = &self.learning_rate {
            // A scalar on the CPU can be set; whoever restores holds on to this one.
            drop(set(rate, single(lr)));
        }
    }
}

impl<P: Rule> CheckpointedOptimizer for TfOptimizer<P> {
    fn state(&self) -> OptimizerState {
        let mut state = OptimizerState::of(self.names.clone())
            .changes(&self.changes)
            .number(Counter::Iterations, &self.iterations);
        if let Some(rate) = &self.learning_rate {
            state = state.number(Counter::LearningRate, rate);
        }
        if let Some((first, second)) = &self.powers {
            state = state.number(Counter::Beta1Power, first);
            state = state.number(Counter::Beta2Power, second);
        }
        if let Some(product) = &self.product {
            state = state.number(Counter::MomentumProduct, product);
        }
        let slots = self
            .vars
            .iter()
            .flat_map(|trained| trained.slots.iter().map(move |slot| (trained, slot)));
        slots.fold(state, |state, (trained, (slot, value))| {
            state.slot_of(&trained.path, *slot, value)
        })
    }
}
