//! The presets of whole networks: small networks that TensorFlow built under the original names, see
//! `fixtures/make/models.py`, compute in Candle and Burn what they compute in TensorFlow, and are saved as they were.
#![cfg(feature = "candle")]

#[path = "models/albert.rs"]
mod albert;
#[path = "models/bert.rs"]
mod bert;
#[cfg(feature = "burn")]
#[path = "models/burn.rs"]
mod burn;
#[cfg(feature = "burn")]
#[path = "models/networks/burn.rs"]
mod burn_networks;
#[path = "models/compare.rs"]
mod compare;
#[path = "models/efficientnet.rs"]
mod efficientnet;
#[path = "models/electra.rs"]
mod electra;
#[path = "models/gpt2.rs"]
mod gpt2;
#[path = "models/mobilebert.rs"]
mod mobilebert;
#[path = "models/mobilenet.rs"]
mod mobilenet;
#[path = "models/networks/mod.rs"]
mod networks;
#[path = "models/resnet.rs"]
mod resnet;
#[path = "models/t5.rs"]
mod t5;
