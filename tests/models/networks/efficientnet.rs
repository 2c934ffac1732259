//! EfficientNet, with the network of candle-transformers: its first two stages.

use candle_core::{Module, Result};
use candle_nn::VarBuilder;
use candle_transformers::models::efficientnet::{EfficientNet, MBConvConfig};
use tfckpt::map::NameMap;

use super::{Kept, Network, Outputs};

pub(crate) fn names() -> NameMap {
    NameMap::efficientnet("efficientnet-b0", &[1, 2])
}

pub(crate) struct Efficient(EfficientNet);

impl Efficient {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let stages = MBConvConfig::b0().into_iter().take(2).collect();
        Ok(Efficient(EfficientNet::new(vb.clone(), stages, 5)?))
    }
}

impl Network for Efficient {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        Ok(vec![("logits", self.0.forward(&kept.images())?)])
    }
}
