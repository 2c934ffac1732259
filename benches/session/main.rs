//! What running a graph costs beside the same network written by hand in Candle, and depthwise convolutions beside Candle's
//! grouped ones. `cargo bench --bench session --no-default-features --features candle`

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::{D, Device, Tensor};
use tfckpt_session::{Graph, Session, import_meta_graph};

/// The median of so many runs.
const RUNS: usize = 41;

fn main() -> Result<()> {
    // `cargo test` builds benches and calls them so.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    for batch in [1, 50, 297] {
        digits(batch)?;
    }
    for (channels, size) in [(64, 56), (256, 28), (512, 14)] {
        depthwise(channels, size)?;
    }
    Ok(())
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn median(mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    run()?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[RUNS / 2])
}

fn report(what: &str, other: &str, ours: Duration, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what}: session {ours:?}, {other} {theirs:?}, ratio {ratio:.3}");
}

/// The digits network, and the same by hand: NCHW, as Candle's layers are written.
fn digits(batch: usize) -> Result<()> {
    let prefix = repository("data/tf-digits/saver/model.ckpt-360");
    let session = Session::new(&import_meta_graph(format!("{}.meta", prefix.display()))?, &Device::Cpu)?;
    session.restore(&prefix)?;
    let images = Tensor::rand(0f32, 1.0, (batch, 8, 8, 1), &Device::Cpu)?;
    let ours = median(|| {
        session.run(&["dense/logits:0"], &[("image:0", &images)])?;
        Ok(())
    })?;

    let var = |name: &str| Ok::<_, anyhow::Error>(session.variable(name)?.as_detached_tensor());
    let kernel = |name: &str| Ok::<_, anyhow::Error>(var(name)?.permute((3, 2, 0, 1))?.contiguous()?);
    let (kernel1, kernel2) = (kernel("conv1/kernel")?, kernel("conv2/kernel")?);
    let bias = |name: &str| Ok::<_, anyhow::Error>(var(name)?.reshape((1, (), 1, 1))?);
    let (bias1, bias2) = (bias("conv1/bias")?, bias("conv2/bias")?);
    let (kernel3, bias3) = (var("dense/kernel")?, var("dense/bias")?);
    let channels_first = images.permute((0, 3, 1, 2))?.contiguous()?;
    let theirs = median(|| {
        let x = channels_first
            .conv2d(&kernel1, 1, 1, 1, 1)?
            .broadcast_add(&bias1)?
            .relu()?
            .max_pool2d(2)?;
        let x = x
            .conv2d(&kernel2, 1, 1, 1, 1)?
            .broadcast_add(&bias2)?
            .relu()?
            .max_pool2d(2)?;
        let x = x.permute((0, 2, 3, 1))?.contiguous()?.reshape((batch, ()))?;
        x.matmul(&kernel3)?.broadcast_add(&bias3)?;
        Ok(())
    })?;
    report(&format!("digits, batch {batch}"), "by hand", ours, theirs);
    Ok(())
}

/// A 3 x 3 depthwise convolution in TensorFlow's layout, and Candle's grouped one in its own.
fn depthwise(channels: usize, size: usize) -> Result<()> {
    let session = Session::new(&Graph::from(graph()?), &Device::Cpu)?;
    let images = Tensor::rand(-1f32, 1.0, (1, size, size, channels), &Device::Cpu)?;
    let filter = Tensor::rand(-1f32, 1.0, (3, 3, channels, 1), &Device::Cpu)?;
    let feeds: [(&str, &Tensor); 2] = [("x", &images), ("f", &filter)];
    let ours = median(|| {
        session.run(&["y"], &feeds)?;
        Ok(())
    })?;
    let channels_first = images.permute((0, 3, 1, 2))?.contiguous()?;
    let grouped = filter.permute((2, 3, 0, 1))?.contiguous()?;
    let theirs = median(|| {
        channels_first.conv2d(&grouped, 1, 1, 1, channels)?;
        Ok(())
    })?;
    let y = session.run(&["y"], &feeds)?.remove(0).permute((0, 3, 1, 2))?;
    let difference = (y - channels_first.conv2d(&grouped, 1, 1, 1, channels)?)?.abs()?;
    let largest = difference.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>()?;
    report(
        &format!("depthwise {channels} x {size} x {size}"),
        "grouped",
        ours,
        theirs,
    );
    println!("  largest difference {largest:e}");
    Ok(())
}

/// A graph of one depthwise convolution, by hand: protocol buffers are bytes.
fn graph() -> Result<tfckpt::MetaGraph> {
    let field = |number: u8, value: &[u8]| -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(value.len()).unwrap_or(u8::MAX)];
        out.extend_from_slice(value);
        out
    };
    let attr = |key: &str, value: &[u8]| field(5, &[field(1, key.as_bytes()), field(2, value)].concat());
    let node = |name: &str, op: &str, inputs: &[&str], attrs: &[Vec<u8>]| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(3, input.as_bytes())).collect();
        field(
            1,
            &[
                field(1, name.as_bytes()),
                field(2, op.as_bytes()),
                inputs,
                attrs.concat(),
            ]
            .concat(),
        )
    };
    // DT_FLOAT is 1; a list of four ones; "SAME".
    let float = [0x30, 1];
    let ones = [0x0a, 6, 0x1a, 4, 1, 1, 1, 1];
    let nodes = [
        node("x", "Placeholder", &[], &[attr("dtype", &float)]),
        node("f", "Placeholder", &[], &[attr("dtype", &float)]),
        node(
            "y",
            "DepthwiseConv2dNative",
            &["x", "f"],
            &[attr("strides", &ones), attr("padding", &field(2, b"SAME"))],
        ),
    ]
    .concat();
    let mut bytes = vec![0x12, (nodes.len() & 127) as u8 | 128, (nodes.len() >> 7) as u8];
    bytes.extend(nodes);
    Ok(tfckpt::MetaGraph::parse(bytes, &tfckpt::Limits::default())?)
}
