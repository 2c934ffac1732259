//! Where a conversion goes, checked before anything is written.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tfckpt::io::{LocalDir, Storage};

use crate::failure::{Exit, Failure};

/// A file or prefix that may be written: its directory is there, and nothing is in the way.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) name: String,
    /// Data files of the checkpoint that is to be replaced.
    old_shards: Vec<String>,
}

impl Target {
    /// A single file.
    pub(super) fn file(path: &Path, force: bool) -> Result<Self, Failure> {
        let target = Self::locate(path)?;
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => Err(Failure::new(
                Exit::Usage,
                format!("`{}` is a directory", path.display()),
            )),
            Ok(_) if !force => Err(exists(path)),
            _ => Ok(target),
        }
    }

    /// The prefix of a checkpoint.
    pub(super) fn prefix(path: &Path, force: bool) -> Result<Self, Failure> {
        let mut target = Self::locate(path)?;
        let usage = |text| Err(Failure::new(Exit::Usage, text));
        if path.is_dir() {
            return usage(format!(
                "`{}` is a directory: name a prefix in it, such as `{}`",
                path.display(),
                path.join("model.ckpt").display()
            ));
        }
        if let Some(prefix) = target.name.strip_suffix(".index") {
            return usage(format!(
                "a checkpoint is named by its prefix: `{}` instead of `{}`",
                path.with_file_name(prefix).display(),
                path.display()
            ));
        }
        let index = format!("{}.index", target.name);
        let names = target.storage.list();
        let names = names.map_err(|error| Failure::io("list", &target.storage.path(""), error))?;
        let mut in_the_way = names
            .iter()
            .filter(|name| **name == index || is_shard(name, &target.name));
        if let Some(name) = in_the_way.next().filter(|_| !force) {
            return Err(exists(&target.storage.path(name)));
        }
        target.old_shards = names.into_iter().filter(|name| is_shard(name, &target.name)).collect();
        Ok(target)
    }

    /// Removes data files of the replaced checkpoint that the new one has not overwritten. They belong to nothing.
    pub(super) fn remove_old_shards(&self, num_shards: u32) -> Result<(), Failure> {
        let written = format!("-of-{num_shards:05}");
        for name in self.old_shards.iter().filter(|name| !name.ends_with(&written)) {
            match self.storage.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::io("remove", &self.storage.path(name), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn locate(path: &Path) -> Result<Self, Failure> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let text = format!(
                "`{}` cannot be written: the destination needs a name in UTF-8",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, text));
        };
        let storage = LocalDir::new(path.parent().unwrap_or(Path::new("")));
        if !storage.root().is_dir() {
            let text = format!("there is no directory `{}`", storage.root().display());
            return Err(Failure::new(Exit::NotFound, text));
        }
        Ok(Target {
            storage: Arc::new(storage),
            name: name.to_owned(),
            old_shards: Vec::new(),
        })
    }
}

fn exists(path: &Path) -> Failure {
    let text = format!("`{}` exists: `--force` replaces it", path.display());
    Failure::new(Exit::Usage, text)
}

/// Whether `name` is a data file of `prefix`: `PREFIX.data-00000-of-00001`. What looks only similar is not ours.
fn is_shard(name: &str, prefix: &str) -> bool {
    let numbers = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix(".data-"))
        .and_then(|rest| rest.split_once("-of-"));
    let plain = |digits: &str| digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(shard, of)| plain(shard) && plain(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_files_of_the_very_prefix_are_shards() {
        assert!(is_shard("m.data-00000-of-00001", "m"));
        assert!(is_shard("m.data-00002-of-00003", "m"));
        for other in [
            "m.data-00000-of-00001.bak",
            "m2.data-00000-of-00001",
            "m.data-0-of-1",
            "m.index",
            "m",
        ] {
            assert!(!is_shard(other, "m"), "{other}");
        }
    }
}
