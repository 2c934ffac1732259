//! A TensorFlow checkpoint as one of burn-store's stores.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::store::burn_pack::{self, Tensor};
use burn::store::{ApplyResult, ModuleSnapshot, ModuleStore};
use burn::tensor::Bytes;
use tfckpt::io::LocalDir;
use tfckpt::map::{Conversion, LoadReport, NameMap};
use tfckpt::{BundleWriter, Checkpoint, Variable};

use crate::dtype::{burn_dtype, held_in};
use crate::error::Result;
use crate::module;
use crate::schema::Schema;

/// A TensorFlow checkpoint that modules are loaded from and saved into, in the manner of burn-store's own stores.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::store::ModuleSnapshot;
/// use burn::tensor::Device;
/// use tfckpt_burn::TfCheckpointStore;
///
/// let mut linear: Linear = LinearConfig::new(64, 10).init(&Device::flex());
/// linear.load_from(&mut TfCheckpointStore::from_file("run/model.ckpt-100"))?;
/// linear.save_into(&mut TfCheckpointStore::from_file("copy/model.ckpt"))?;
/// # Ok(())
/// # }
/// ```
///
/// Loading looks at every parameter before anything is read, and reads everything before the module is touched: after
/// an error the module is as it was. Variables that no parameter asks for are reported, not refused.
///
/// A parameter that two fields share is saved under both names, and loaded into both.
#[derive(Debug)]
pub struct TfCheckpointStore {
    path: PathBuf,
    names: NameMap,
    allow_partial: bool,
    overwrite: bool,
    report: Option<LoadReport>,
    open: Option<Open>,
}

/// The checkpoint, and its variables as burn-store's lazy tensors.
#[derive(Debug)]
struct Open {
    checkpoint: Arc<Checkpoint>,
    tensors: BTreeMap<String, Tensor>,
}

impl TfCheckpointStore {
    /// For loading: a prefix, one of a checkpoint's files, a directory (the latest in it) or a SavedModel. For saving:
    /// a prefix. Nothing is opened yet.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        TfCheckpointStore {
            path: path.into(),
            names: NameMap::keras(),
            allow_partial: false,
            overwrite: false,
            report: None,
            open: None,
        }
    }

    /// Names and layouts. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(mut self, names: NameMap) -> Self {
        self.names = names;
        self
    }

    /// Whether parameters that are missing or do not fit are left as they are and reported. Default: false, and then
    /// loading fails.
    #[must_use]
    pub fn allow_partial(mut self, allow: bool) -> Self {
        self.allow_partial = allow;
        self
    }

    /// Whether a checkpoint of the same prefix is replaced. Default: false.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// What the last load did, in full: names, transposes, near misses.
    pub fn report(&self) -> Option<&LoadReport> {
        self.report.as_ref()
    }

    fn open(&mut self) -> Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let checkpoint = Arc::new(Checkpoint::open(&self.path)?);
                let tensors = checkpoint.variables().filter_map(|info| lazy(&checkpoint, info.key()));
                Open {
                    tensors: tensors.map(|tensor| (tensor.name.clone(), tensor)).collect(),
                    checkpoint,
                }
            }
        };
        Ok(self.open.insert(open))
    }
}

impl ModuleStore for TfCheckpointStore {
    type Error = crate::Error;

    fn collect_from<M: ModuleSnapshot>(&mut self, module: &M) -> Result<()> {
        let schema = Schema::of(module);
        let restored_from = self.report.iter().flat_map(module::lacking);
        let names = module::with_stored(&self.names, restored_from);
        let mut variables = module::variables(module, &schema, &names)?;
        variables.sort_by(|a, b| a.key().cmp(b.key()));
        write(&self.path, variables, self.overwrite)?;
        self.open = None;
        Ok(())
    }

    fn apply_to<M: ModuleSnapshot>(&mut self, module: &mut M) -> Result<ApplyResult> {
        let checkpoint = Checkpoint::open(&self.path)?;
        let report = module::load(module, &checkpoint, &self.names, self.allow_partial)?;
        let missing = report
            .missing
            .iter()
            .map(|missing| (missing.path.clone(), String::new()));
        let misfits = report.mismatched.iter().map(|wrong| wrong.path.clone());
        let result = ApplyResult {
            applied: report.loaded.iter().map(|loaded| loaded.path.clone()).collect(),
            skipped: misfits.collect(),
            missing: missing.collect(),
            unused: report.unused.clone(),
            errors: Vec::new(),
        };
        self.report = Some(report);
        Ok(result)
    }

    fn get_tensor(&mut self, name: &str) -> Result<Option<&Tensor>> {
        Ok(self.open()?.tensors.get(name))
    }

    fn get_all_tensors(&mut self) -> Result<&BTreeMap<String, Tensor>> {
        Ok(&self.open()?.tensors)
    }

    fn keys(&mut self) -> Result<Vec<String>> {
        let open = self.open()?;
        Ok(open
            .checkpoint
            .variables()
            .map(|info| info.name().into_owned())
            .collect())
    }
}

/// A variable that is read when its bytes are asked for; `None` if Burn has no such dtype.
fn lazy(checkpoint: &Arc<Checkpoint>, key: &[u8]) -> Option<Tensor> {
    let info = checkpoint.get(key)?;
    let held = held_in(info.dtype())?;
    let conversion = Conversion::new(info.dtype(), held)?;
    let dtype = burn_dtype(held)?;
    let elements = usize::try_from(info.shape().element_count()?).ok()?;
    let size = elements.checked_mul(held.size()?)?;
    let (checkpoint, key) = (checkpoint.clone(), key.to_vec());
    let read = move || {
        let bytes = checkpoint.read_bytes(&key);
        let bytes = match conversion.from() == conversion.to() {
            true => bytes,
            false => bytes.and_then(|bytes| conversion.converted(&String::from_utf8_lossy(&key), true, &bytes)),
        };
        match bytes {
            Ok(bytes) => Ok(Bytes::from_bytes_vec(bytes)),
            Err(error) => Err(burn_pack::Error::IoError(error.to_string())),
        }
    };
    Some(Tensor::deferred(
        info.name().into_owned(),
        dtype,
        info.shape().dims().to_vec(),
        None,
        size,
        read,
    ))
}

/// Writes one checkpoint, outside of any directory of checkpoints.
fn write(prefix: &Path, variables: Vec<Variable<'_>>, overwrite: bool) -> Result<()> {
    let invalid = || tfckpt::Error::InvalidArgument {
        what: format!("`{}` is no prefix to save under", prefix.display()),
    };
    let name = prefix.file_name().and_then(OsStr::to_str).ok_or_else(invalid)?;
    let mut index = prefix.as_os_str().to_owned();
    index.push(".index");
    if !overwrite && Path::new(&index).exists() {
        return Err(tfckpt::Error::AlreadyExists {
            prefix: prefix.to_owned(),
        }
        .into());
    }
    let directory = prefix.parent().unwrap_or(Path::new(""));
    let create = |source| tfckpt::Error::Io {
        action: "create",
        path: directory.to_owned(),
        source,
    };
    let storage = if directory.as_os_str().is_empty() {
        Ok(LocalDir::new(""))
    } else {
        LocalDir::create(directory)
    };
    let mut writer = BundleWriter::create(Arc::new(storage.map_err(create)?), name)?;
    variables.into_iter().try_for_each(|variable| writer.add(variable))?;
    writer.finish()?;
    Ok(())
}
