//! The record of a module, out of Burn's hands without being serialized on the way.
//!
//! Burn shows a record only as the bytes of a file, which is one more copy of the weights. But it gives its tensors to
//! any module that has parameters of their paths and shapes: one of ours has nothing else.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::store::ModuleRecord;
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor, TensorData};

use crate::error::{Error, Result};
use crate::inert::inert;
use crate::schema::{Parameter, Schema};

/// Takes a record of the module of this schema apart: one tensor for each parameter, as the record has it, in the order
/// of the schema. They are moved, not copied.
///
/// # Errors
/// [`Error::RecordBytes`], which names them, if the record has other parameters or shapes than the schema;
/// [`Error::UnsupportedDtype`] for quantized ones.
pub(crate) fn take(record: ModuleRecord, schema: &Schema) -> Result<Vec<TensorData>> {
    for parameter in &schema.parameters {
        parameter.stored_dtype()?;
        if parameter.shape.len() > MAX_RANK {
            return Err(Error::TooManyAxes {
                path: parameter.path.clone(),
                rank: parameter.shape.len(),
            });
        }
    }
    let receiver = Receiver {
        parameters: schema.parameters.clone(),
        tensors: Vec::new(),
    };
    Ok(receiver.try_load_record(record)?.tensors)
}

/// The most axes of a parameter. Burn has types for tensors of each number of axes, and none for all.
const MAX_RANK: usize = 10;

/// A module without values, which keeps those that it is given.
#[derive(Debug, Clone)]
struct Receiver {
    parameters: Vec<Parameter>,
    tensors: Vec<TensorData>,
}

impl Module for Receiver {
    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        let tensor = |parameter| receive(parameter, mapper);
        self.tensors = self.parameters.iter().filter_map(tensor).collect();
        self
    }

    inert!();
}

/// What the mapper has for a parameter; nothing if it has nothing, which it keeps account of.
fn receive(parameter: &Parameter, mapper: &mut impl ModuleMapper) -> Option<TensorData> {
    // The mapper puts names together with dots: the path may come as one.
    mapper.enter_module(&parameter.path, "");
    let tensor = match parameter.shape.len() {
        1 => of_rank::<1>(parameter, mapper),
        2 => of_rank::<2>(parameter, mapper),
        3 => of_rank::<3>(parameter, mapper),
        4 => of_rank::<4>(parameter, mapper),
        5 => of_rank::<5>(parameter, mapper),
        6 => of_rank::<6>(parameter, mapper),
        7 => of_rank::<7>(parameter, mapper),
        8 => of_rank::<8>(parameter, mapper),
        9 => of_rank::<9>(parameter, mapper),
        MAX_RANK => of_rank::<MAX_RANK>(parameter, mapper),
        _ => None,
    };
    mapper.exit_module(&parameter.path, "");
    tensor
}

fn of_rank<const D: usize>(parameter: &Parameter, mapper: &mut impl ModuleMapper) -> Option<TensorData> {
    /// A parameter that waits for its first use, which does not come.
    macro_rules! received {
        ($method:ident, $kind:ty) => {{
            let never = |device: &Device, _| Tensor::<D, $kind>::zeros([0; D], device);
            let shape = Shape::from(parameter.record_shape());
            let empty = Param::uninitialized(ParamId::new(), never, Device::flex(), false, shape);
            let param: Param<Tensor<D, $kind>> = mapper.$method(empty);
            param.is_initialized().then(|| host(param.into_value()))
        }};
    }
    match parameter.dtype {
        DType::Bool(_) => received!(map_bool, Bool),
        dtype if dtype.is_int() || dtype.is_uint() => received!(map_int, Int),
        _ => received!(map_float, burn::tensor::Float),
    }
}

/// A tensor that is in memory already, and nobody else's.
fn host<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> TensorData {
    tensor.into_data()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::nn::conv::{Conv3d, Conv3dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, LinearLayout};
    use burn::store::burn_pack::Reader;

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        turned: Linear,
        layers: Vec<Linear>,
        volume: Conv3d,
        norm: BatchNorm,
        table: Param<Tensor<2, Int>>,
        mask: Param<Tensor<3, Bool>>,
        half: Param<Tensor<1>>,
    }

    fn net() -> Net {
        let device = Device::flex().autodiff();
        let plain = Device::flex();
        let half = Tensor::<1>::from_floats([0.5, -1.5], &device).cast(burn::tensor::FloatDType::BF16);
        let net = Net {
            turned: LinearConfig::new(3, 5).with_layout(LinearLayout::Col).init(&device),
            layers: (1..4).map(|n| LinearConfig::new(n, 2).init(&device)).collect(),
            volume: Conv3dConfig::new([2, 3], [1, 2, 3]).init(&device),
            norm: BatchNormConfig::new(4).init(&device),
            table: Param::initialized(ParamId::new(), Tensor::from_ints([[1, 2, 3], [-4, 5, 6]], &plain)),
            mask: Param::initialized(
                ParamId::new(),
                Tensor::<3, Int>::from_ints([[[1, 0]], [[0, 1]]], &plain).bool(),
            ),
            half: Param::from_tensor(half),
        };
        let _ = net.clone().into_record();
        net
    }

    /// Dtype, shape and bytes by path.
    type Content = BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>;

    fn serialized(record: ModuleRecord) -> Content {
        let tensors = Reader::from_bytes(record.into_bytes().unwrap()).unwrap();
        let content = |tensor: burn::store::burn_pack::Tensor| {
            let (path, dtype, shape, _, bytes) = tensor.into_parts().unwrap();
            (path, (dtype, shape.to_vec(), bytes.to_vec()))
        };
        tensors.into_tensors().unwrap().into_iter().map(content).collect()
    }

    #[test]
    fn what_is_taken_out_of_a_record_is_all_that_burn_would_have_serialized() {
        let net = net();
        let schema = Schema::of(&net);
        let taken = take(net.clone().into_record(), &schema).unwrap();
        let content = schema.parameters.iter().zip(taken).map(|(parameter, tensor)| {
            let content = (tensor.dtype(), tensor.shape().to_vec(), tensor.as_bytes().to_vec());
            (parameter.path.clone(), content)
        });
        assert_eq!(content.collect::<Content>(), serialized(net.into_record()));
    }

    #[test]
    fn tensors_are_moved_and_not_copied() {
        /// Gives what it is asked for, and remembers where that was.
        struct Addresses(Vec<usize>);
        impl ModuleMapper for Addresses {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let count = param.lazy_shape().num_elements();
                let data = TensorData::new(vec![1.0f32; count], param.lazy_shape());
                self.0.push(data.as_bytes().as_ptr().addr());
                let id = param.id;
                param.transform_for_load(Tensor::from_data(data, &Device::flex()), id)
            }
        }
        let device = Device::flex();
        let parameters = Schema::of(&LinearConfig::new(64, 32).init(&device)).parameters;
        let mut mapper = Addresses(Vec::new());
        let tensors = Receiver {
            parameters,
            tensors: Vec::new(),
        };
        let tensors = tensors.map(&mut mapper).tensors;
        let after: Vec<usize> = tensors.iter().map(|tensor| tensor.as_bytes().as_ptr().addr()).collect();
        assert_eq!(after.len(), 2);
        assert_eq!(after, mapper.0);
    }

    #[test]
    fn a_record_of_another_model_is_an_error_that_names_the_parameter() {
        let device = Device::flex();
        let (small, large) = (
            LinearConfig::new(2, 3).init(&device),
            LinearConfig::new(2, 4).init(&device),
        );
        let error = take(small.clone().into_record(), &Schema::of(&large)).unwrap_err();
        assert!(error.chain().contains("weight"), "{}", error.chain());
        let without_bias = LinearConfig::new(2, 3).with_bias(false).init(&device);
        for (record, schema) in [(&small, &without_bias), (&without_bias, &small)] {
            let error = take(record.clone().into_record(), &Schema::of(schema)).unwrap_err();
            assert!(error.chain().contains("bias"), "{}", error.chain());
        }
    }
}
