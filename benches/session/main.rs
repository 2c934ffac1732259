//! What running a graph costs beside the same network written by hand in Candle. `benches/session/run.sh` compares both with
//! TensorFlow and writes `benches/SESSION.md`; alone, this measures the digits network:
//! `cargo bench --bench session --no-default-features --features candle`.

mod by_hand;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tfckpt::Checkpoint;
use tfckpt_session::{Session, import_meta_graph};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--serve") {
        return serve();
    }
    // `cargo test` builds benches and calls them so.
    if has("--test") {
        return Ok(());
    }
    for batch in [1, 50, 297] {
        let prefix = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tf-digits/saver/model.ckpt-360");
        let images = Tensor::rand(0f32, 1.0, (batch, 8, 8, 1), &Device::Cpu)?;
        let case = Case::new("digits", &prefix, BTreeMap::from([("image".to_owned(), images)]))?;
        let (session, by_hand) = (median(0.5, || case.session())?, median(0.5, || case.by_hand())?);
        let ratio = by_hand / session;
        println!("digits, batch {batch}: session {session:.2e} s, by hand {by_hand:.2e} s, ratio {ratio:.2}");
    }
    Ok(())
}

/// A network, and what is fed.
struct Case {
    session: Session,
    output: &'static str,
    feeds: BTreeMap<String, Tensor>,
    by_hand: by_hand::Network,
    /// The feeds in Candle's layout.
    given: BTreeMap<String, Tensor>,
}

impl Case {
    fn new(kind: &str, prefix: &Path, feeds: BTreeMap<String, Tensor>) -> Result<Self> {
        let session = Session::new(&import_meta_graph(format!("{}.meta", prefix.display()))?, &Device::Cpu)?;
        session.restore(prefix)?;
        let given = feeds
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), by_hand::given(tensor)?)));
        Ok(Case {
            session,
            output: match kind {
                "digits" => "dense/logits:0",
                "bert" => "sequence_output:0",
                "mobilenet" | "resnet" => "logits:0",
                _ => "output:0",
            },
            given: given.collect::<Result<_>>()?,
            feeds,
            by_hand: by_hand::network(kind, Checkpoint::open(prefix)?)?,
        })
    }

    fn session(&self) -> Result<Tensor> {
        let feeds: Vec<(&str, &Tensor)> = self
            .feeds
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        Ok(self.session.run(&[self.output], &feeds)?.remove(0))
    }

    fn by_hand(&self) -> Result<Tensor> {
        (self.by_hand)(&self.given)
    }
}

/// The median of runs that take so many seconds together, of three at least.
fn median(seconds: f64, run: impl Fn() -> Result<Tensor>) -> Result<f64> {
    let mut times = Vec::new();
    while times.len() < 3 || times.iter().sum::<f64>() < seconds {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Answers commands, one a line: `open` a network with its directory, `run` one side of it.
fn serve() -> Result<()> {
    let mut case = None;
    for line in std::io::stdin().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let text = |key: &str| command[key].as_str();
        let answer = if let Some(name) = text("open") {
            let directory = PathBuf::from(text("directory").context("a directory")?);
            let (opened, expected) = open(name, &directory, text("prefix").context("a prefix")?)?;
            let differences = json!({
                "session": difference(&opened.session()?, &expected)?,
                "by_hand": difference(&opened.by_hand()?, &expected)?,
            });
            case = Some(opened);
            differences
        } else {
            let case = case.as_ref().context("nothing is open")?;
            let seconds = command["seconds"].as_f64().context("seconds")?;
            let seconds = match text("run") {
                Some("session") => median(seconds, || case.session())?,
                _ => median(seconds, || case.by_hand())?,
            };
            json!({ "median": seconds })
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A network, and what TensorFlow computed.
fn open(name: &str, directory: &Path, digits: &str) -> Result<(Case, Tensor)> {
    let kept = Checkpoint::open(directory.join("case"))?;
    let read = |name: &str| -> Result<Tensor> {
        let info = kept.variable(name)?;
        let dims = info.shape().dims().to_vec();
        Ok(match info.dtype() {
            tfckpt::DType::Int32 => {
                let values: Vec<u32> = kept.read::<i32>(name)?.iter().map(|id| *id as u32).collect();
                Tensor::from_vec(values, dims, &Device::Cpu)?
            }
            _ => Tensor::from_vec(kept.read::<f32>(name)?, dims, &Device::Cpu)?,
        })
    };
    let mut feeds = BTreeMap::new();
    for info in kept.variables() {
        if let Some(feed) = info.name().strip_prefix("feed/") {
            feeds.insert(feed.to_owned(), read(&info.name())?);
        }
    }
    let kind = name.split('-').next().unwrap_or(name);
    let prefix = match kind {
        "digits" => PathBuf::from(digits),
        _ => directory.join("model"),
    };
    Ok((Case::new(kind, &prefix, feeds)?, read("output")?))
}

/// The largest difference, relative to the largest element.
fn difference(ours: &Tensor, theirs: &Tensor) -> Result<f64> {
    let largest =
        |x: &Tensor| -> Result<f64> { Ok(x.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar()?) };
    Ok(largest(&(ours - theirs)?)? / largest(theirs)?)
}
