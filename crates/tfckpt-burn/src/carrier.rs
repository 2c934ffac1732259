//! The state of an optimizer, out of Burn's hands and into them without being serialized on the way.
//!
//! Burn shows a state only as a record, and a record only as the bytes of a file, which cost two more copies of
//! everything. But what is in a record is what optimizers have put there, and it is handed to optimizers again: one of
//! ours takes tensors out of a record, or puts some into one, as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::ParamGroup;
use burn::optim::{
    DynOptimizer, DynState, LearningRate, ModuleOptimizer, OptimizerRecord, SgdConfig, StateSink, StateSource,
};
use burn::store::burn_pack::{Scalar, Writer};
use burn::tensor::kind::BridgeTensor;
use burn::tensor::{Device, TensorData};

use crate::error::{Error, Result};

/// Of each parameter in a record: how many dimensions it has.
pub(crate) const RANK: &str = "__rank";

/// What an optimizer keeps for one parameter, by the names of the fields.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tensors: Vec<(String, TensorData)>,
    pub(crate) scalars: Vec<(String, Scalar)>,
}

impl State {
    /// The names of all fields.
    pub(crate) fn fields(&self) -> BTreeSet<String> {
        let tensors = self.tensors.iter().map(|(field, _)| field);
        let scalars = self.scalars.iter().map(|(field, _)| field);
        tensors.chain(scalars).cloned().collect()
    }
}

/// What an optimizer keeps for each parameter, by the parameter's id.
pub(crate) type States = BTreeMap<u64, State>;

/// Takes a record apart. Its tensors are moved, not copied.
///
/// # Errors
/// [`Error::IncompleteOptimizer`] if something in the record would be lost: it is not as this version of Burn makes it.
pub(crate) fn take(record: OptimizerRecord) -> Result<States> {
    let count = record.len();
    let taken = Arc::new(Mutex::new(Taken::default()));
    drop(ours(Taker(taken.clone())).load_record(record));
    let states = std::mem::take(&mut lock(&taken).states);
    let found = states.values().map(|state| state.tensors.len()).sum::<usize>();
    let whole = |state: &State| state.scalars.iter().any(|(field, _)| field == RANK);
    match found == count && states.values().all(whole) {
        true => Ok(states),
        false => Err(Error::IncompleteOptimizer {
            path: "the model".to_owned(),
            reason: format!("of {count} tensors in Burn's record {found} could be taken out"),
        }),
    }
}

/// Makes a record of states. Their tensors are moved, not copied. `paths` are those of the parameters, each of which
/// has its [`RANK`] among the scalars.
pub(crate) fn record(states: States, paths: &BTreeMap<u64, String>) -> Result<OptimizerRecord> {
    // It says for which parameters there is something; our optimizer says what.
    let mut writer = Writer::new(Vec::new());
    for (id, state) in &states {
        let rank = state.scalars.iter().find(|(field, _)| field == RANK);
        if let Some(&(_, rank)) = rank {
            writer = writer.with_scalar(&format!("{id}.{RANK}"), rank);
        }
        if let Some(path) = paths.get(id) {
            writer = writer.with_metadata(&id.to_string(), path);
        }
    }
    let outline = OptimizerRecord::from_bytes(writer.into_bytes()?)?;
    Ok(ours(Giver(Mutex::new(states))).load_record(outline).to_record())
}

/// Nothing but one of our optimizers, for all parameters.
fn ours(optimizer: impl DynOptimizer + 'static) -> ModuleOptimizer {
    SgdConfig::new().init().with_group(ParamGroup::all(), optimizer, None)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a panic leaves is counted before it is used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Taken {
    /// The fields of each parameter; `None` before the first was asked for.
    fields: Option<BTreeMap<String, BTreeSet<String>>>,
    states: States,
}

/// Keeps what it is to rebuild a state from.
struct Taker(Arc<Mutex<Taken>>);

/// Says that it has the states that it was given.
struct Giver(Mutex<States>);

/// Neither of them ever makes a step.
macro_rules! never_steps {
    () => {
        fn step_dyn(
            &self,
            _: usize,
            _: LearningRate,
            tensor: BridgeTensor,
            _: BridgeTensor,
            state: Option<DynState>,
        ) -> (BridgeTensor, Option<DynState>) {
            (tensor, state)
        }

        fn to_device_dyn(&self, state: DynState, _: &Device) -> DynState {
            state
        }
    };
}

impl DynOptimizer for Taker {
    never_steps!();

    fn state_flatten(&self, _: &str, _: &DynState, _: &mut StateSink) {}

    fn state_unflatten(&self, _: usize, id: &str, source: &mut StateSource, _: &Device) -> Option<DynState> {
        let mut taken = lock(&self.0);
        let taken = &mut *taken;
        let all = taken.fields.get_or_insert_with(|| fields(source));
        let fields = all.remove(id).unwrap_or_default();
        let state = taken.states.entry(id.parse().ok()?).or_default();
        for field in fields {
            if let Some(scalar) = source.take_scalar(id, &field) {
                state.scalars.push((field.clone(), scalar));
            }
            if let Some(tensor) = source.take_tensor(id, &field) {
                state.tensors.push((field, tensor));
            }
        }
        None
    }
}

impl DynOptimizer for Giver {
    never_steps!();

    fn state_flatten(&self, id: &str, _: &DynState, sink: &mut StateSink) {
        let state = id.parse().ok().and_then(|id: u64| lock(&self.0).remove(&id));
        let State { tensors, scalars } = state.unwrap_or_default();
        for (field, tensor) in tensors {
            sink.push_tensor(id, &field, tensor);
        }
        for (field, scalar) in scalars {
            sink.push_scalar(id, &field, scalar);
        }
    }

    fn state_unflatten(&self, rank: usize, _: &str, _: &mut StateSource, _: &Device) -> Option<DynState> {
        Some(DynState::create((), rank))
    }
}

/// The names in a source, by the parameters that they belong to. A source gives only what it is asked for by name, and
/// lists its names nowhere but in its debug output, which shows no more than three bytes of each tensor. A name that is
/// not understood is a tensor that is missed by [`take`].
fn fields(source: &StateSource) -> BTreeMap<String, BTreeSet<String>> {
    let text = format!("{source:?}");
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Something in a name that cannot stand between quotes as it is: no field of a Rust type is called so.
    if text.contains('\\') {
        return fields;
    }
    // Every second piece is what stands between quotes.
    for name in text.split('"').skip(1).step_by(2) {
        if let Some((id, field)) = name.split_once('.')
            && id.parse::<u64>().is_ok()
        {
            fields.entry(id.to_owned()).or_default().insert(field.to_owned());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{
        AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, GradientsParams, LambConfig, LionConfig,
        MuonConfig, RmsPropConfig,
    };
    use burn::store::burn_pack::Reader;
    use burn::tensor::Tensor;

    use super::*;
    use crate::parts;
    use crate::schema::Schema;

    #[derive(Module, Debug)]
    struct Net {
        first: Linear,
        last: Linear,
    }

    /// Each of Burn's optimizers after two steps, with the model.
    fn stepped() -> Vec<(&'static str, ModuleOptimizer, Net)> {
        let optimizers = [
            ("Adam", AdamConfig::new().init()),
            ("AMSGrad", AdamConfig::new().with_amsgrad(true).init()),
            ("AdamW", AdamWConfig::new().init()),
            (
                "SGD",
                SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init(),
            ),
            ("RmsProp", RmsPropConfig::new().init()),
            ("AdaGrad", AdaGradConfig::new().init()),
            ("Adan", AdanConfig::new().init()),
            ("LAMB", LambConfig::new().init()),
            ("Lion", LionConfig::new().init()),
            ("Adafactor", AdafactorConfig::new().init()),
            // Muon is for matrices.
            (
                "Muon",
                AdamConfig::new().init().with_group(
                    ParamGroup::from_predicate("weight"),
                    MuonConfig::new().build(),
                    None,
                ),
            ),
        ];
        let device = Device::flex().autodiff();
        let step = |(name, mut optimizer): (&'static str, ModuleOptimizer)| {
            let mut net = Net {
                first: LinearConfig::new(3, 5).init(&device),
                last: LinearConfig::new(5, 2).init(&device),
            };
            for _ in 0..2 {
                let output = net.last.forward(net.first.forward(Tensor::<2>::ones([4, 3], &device)));
                let gradients = GradientsParams::from_grads(output.mean().backward(), &net);
                net = optimizer.step(1e-3, net, gradients);
            }
            (name, optimizer, net)
        };
        optimizers.into_iter().map(step).collect()
    }

    /// What a record has: tensors by their names, then scalars, then paths.
    type Content = (
        BTreeMap<String, (Vec<usize>, Vec<u8>)>,
        BTreeMap<String, Scalar>,
        BTreeMap<String, String>,
    );

    /// What Burn's own serialization has of it.
    fn serialized(record: OptimizerRecord) -> Content {
        let reader = Reader::from_bytes(record.into_bytes().unwrap()).unwrap();
        let (scalars, paths) = (reader.scalars().clone(), reader.metadata().clone());
        let tensors = reader.into_tensors().unwrap().into_iter();
        let tensors = tensors.map(|tensor| {
            let content = (tensor.shape.to_vec(), tensor.to_bytes().unwrap().to_vec());
            (tensor.name, content)
        });
        (tensors.collect(), scalars, paths)
    }

    fn content(states: &States) -> Content {
        let (mut tensors, mut scalars) = (BTreeMap::new(), BTreeMap::new());
        for (id, state) in states {
            for (field, tensor) in &state.tensors {
                let content = (tensor.shape().to_vec(), tensor.as_bytes().to_vec());
                tensors.insert(format!("{id}.{field}"), content);
            }
            scalars.extend(
                state
                    .scalars
                    .iter()
                    .map(|(field, scalar)| (format!("{id}.{field}"), *scalar)),
            );
        }
        (tensors, scalars, BTreeMap::new())
    }

    #[test]
    fn what_is_taken_out_of_a_record_is_all_that_burn_would_have_serialized() {
        for (name, optimizer, net) in stepped() {
            let (tensors, scalars, _) = serialized(optimizer.to_record());
            let taken = content(&take(optimizer.to_record()).unwrap());
            assert_eq!((&taken.0, &taken.1), (&tensors, &scalars), "{name}");
            let in_parts = content(&parts::states(&optimizer, &Schema::of(&net)).unwrap());
            assert_eq!(in_parts, taken, "{name}");
        }
    }

    #[test]
    fn a_record_that_is_put_together_is_the_one_that_was_taken_apart() {
        for (name, optimizer, _) in stepped() {
            let whole = serialized(optimizer.to_record());
            let paths = whole.2.iter().map(|(id, path)| (id.parse().unwrap(), path.clone()));
            let again = record(take(optimizer.to_record()).unwrap(), &paths.collect()).unwrap();
            assert_eq!(serialized(again), whole, "{name}");
        }
    }

    #[test]
    fn tensors_are_moved_and_not_copied() {
        let (_, optimizer, _) = stepped().swap_remove(0);
        let addresses = |states: &States| -> BTreeSet<usize> {
            let tensors = states.values().flat_map(|state| &state.tensors);
            tensors.map(|(_, tensor)| tensor.as_bytes().as_ptr().addr()).collect()
        };
        let states = take(optimizer.to_record()).unwrap();
        let before = addresses(&states);
        let again = take(record(states, &BTreeMap::new()).unwrap()).unwrap();
        assert_eq!(addresses(&again), before);
    }

    #[test]
    fn the_state_of_parameters_that_a_model_does_not_have_is_left_out() {
        let (_, optimizer, net) = stepped().swap_remove(0);
        let states = parts::states(&optimizer, &Schema::of(&net.last)).unwrap();
        assert_eq!(states.len(), 2);
        assert_eq!(take(optimizer.to_record()).unwrap().len(), 4);
        let part = optimizer.clone().load_record(record(states, &BTreeMap::new()).unwrap());
        assert_eq!(part.to_record().len(), 4);
    }

    #[test]
    fn a_name_that_is_not_understood_is_an_error_and_no_loss() {
        let mut state = State::default();
        state.scalars.push((RANK.to_owned(), Scalar::UInt(1)));
        state
            .tensors
            .push(("what\"ever".to_owned(), TensorData::from([1.0f32])));
        let record = record(States::from([(7, state)]), &BTreeMap::new()).unwrap();
        assert!(matches!(take(record), Err(Error::IncompleteOptimizer { .. })));
    }
}
