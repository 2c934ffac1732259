//! Recurrent layers in training: two biases where TensorFlow has one, their moments, and runs that go on with them.

#[cfg(feature = "burn")]
#[path = "recurrent/burn.rs"]
mod burn;
#[cfg(feature = "burn")]
#[path = "recurrent/burn_net.rs"]
mod burn_net;
#[cfg(feature = "candle")]
#[path = "recurrent/candle.rs"]
mod candle;
#[cfg(feature = "candle")]
#[path = "recurrent/candle_net.rs"]
mod candle_net;
