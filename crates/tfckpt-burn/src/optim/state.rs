//! What an optimizer keeps for each parameter, in the form that Burn's records want.

use burn::optim::{StateSink, StateSource};
use burn::store::burn_pack::Scalar;
use burn::tensor::{Device, Tensor};

/// A part of a state: a slot, one that may not be there, or a number.
pub(super) trait Part: Sized {
    fn write_to(&self, prefix: &str, name: &str, sink: &mut StateSink);
    fn read_from(prefix: &str, name: &str, source: &mut StateSource, device: &Device) -> Option<Self>;
    fn on_device(self, device: &Device) -> Self;
}

impl<const D: usize> Part for Tensor<D> {
    fn write_to(&self, prefix: &str, name: &str, sink: &mut StateSink) {
        sink.push_tensor(prefix, name, self.clone().into_data());
    }

    fn read_from(prefix: &str, name: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let data = source.take_tensor(prefix, name)?;
        // As precise as it was saved, whatever the device prefers.
        let dtype = data.dtype();
        (data.rank() == D).then(|| Tensor::from_data(data, (device, dtype)))
    }

    fn on_device(self, device: &Device) -> Self {
        self.to_device(device)
    }
}

impl<const D: usize> Part for Option<Tensor<D>> {
    fn write_to(&self, prefix: &str, name: &str, sink: &mut StateSink) {
        if let Some(tensor) = self {
            tensor.write_to(prefix, name, sink);
        }
    }

    fn read_from(prefix: &str, name: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Tensor::read_from(prefix, name, source, device))
    }

    fn on_device(self, device: &Device) -> Self {
        self.map(|tensor| tensor.to_device(device))
    }
}

/// Numbers are where they are needed.
macro_rules! number {
    ($($type:ty),*) => {$(
        impl Part for $type {
            fn write_to(&self, prefix: &str, name: &str, sink: &mut StateSink) {
                sink.push_scalar(prefix, name, Scalar::from(*self));
            }

            fn read_from(prefix: &str, name: &str, source: &mut StateSource, _: &Device) -> Option<Self> {
                source.take_scalar(prefix, name)?.try_into().ok()
            }

            fn on_device(self, _: &Device) -> Self {
                self
            }
        }

        impl Part for Option<$type> {
            fn write_to(&self, prefix: &str, name: &str, sink: &mut StateSink) {
                if let Some(number) = self {
                    number.write_to(prefix, name, sink);
                }
            }

            fn read_from(prefix: &str, name: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
                Some(<$type>::read_from(prefix, name, source, device))
            }

            fn on_device(self, _: &Device) -> Self {
                self
            }
        }
    )*};
}

number!(u64, f64);

/// Defines a state. Its parts are called `OPTIMIZER.PART` in Burn's records, which tells the states of different
/// optimizers apart: Burn's own begin with small letters.
macro_rules! state {
    ($(#[$doc:meta])* $name:ident of $optimizer:literal { $($(#[$part_doc:meta])* $part:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name<const D: usize> {
            $($(#[$part_doc])* pub $part: $type,)*
            /// That of the last step, which Keras keeps beside the slots. Nothing is computed from it.
            pub learning_rate: Option<f64>,
        }

        impl<const D: usize> burn::optim::RecordState for $name<D> {
            fn state_flatten(&self, prefix: &str, out: &mut burn::optim::StateSink) {
                use $crate::optim::state::Part;
                $(self.$part.write_to(prefix, concat!($optimizer, ".", stringify!($part)), out);)*
                self.learning_rate.write_to(prefix, concat!($optimizer, ".learning_rate"), out);
            }

            fn state_unflatten(
                prefix: &str,
                src: &mut burn::optim::StateSource,
                device: &burn::tensor::Device,
            ) -> Option<Self> {
                use $crate::optim::state::Part;
                Some($name {
                    $($part: Part::read_from(prefix, concat!($optimizer, ".", stringify!($part)), src, device)?,)*
                    learning_rate: Part::read_from(prefix, concat!($optimizer, ".learning_rate"), src, device)?,
                })
            }
        }

        impl<const D: usize> $name<D> {
            fn on_device(self, device: &burn::tensor::Device) -> Self {
                use $crate::optim::state::Part;
                $name {
                    $($part: self.$part.on_device(device),)*
                    learning_rate: self.learning_rate,
                }
            }
        }
    };
}

/// What all optimizers have in common besides their step: `init`, and setters, each with its documentation.
macro_rules! settings {
    ($name:ident { $($(#[$doc:meta])* $setter:ident($setting:ident: $type:ty);)* }) => {
        impl $name {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $setter(mut self, $setting: $type) -> Self {
                    self.$setting = $setting;
                    self
                }
            )*

            /// An optimizer for a whole module.
            pub fn init(&self) -> burn::optim::ModuleOptimizer {
                self.clone().into()
            }
        }
    };
}

pub(super) use {settings, state};
