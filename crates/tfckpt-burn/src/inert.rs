//! Modules that stand in for others before Burn, and are nowhere.

/// The methods of a `Module` that has no device, no mode and no parameters to visit: all but `map`.
macro_rules! inert {
    () => {
        fn visit<V: burn::module::ModuleVisitor>(&self, _: &mut V) {}

        fn collect_devices(&self, devices: burn::module::Devices) -> burn::module::Devices {
            devices
        }

        fn fork(self, _: &burn::tensor::Device) -> Self {
            self
        }

        fn to_device(self, _: &burn::tensor::Device) -> Self {
            self
        }

        fn train(self) -> Self {
            self
        }

        fn valid(&self) -> Self {
            self.clone()
        }

        fn materialize(self) -> Self {
            self
        }
    };
}

pub(crate) use inert;
