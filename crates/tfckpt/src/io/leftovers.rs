//! Files that writers left behind: which ones they are, and which of them belong to nobody any more.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What TensorFlow puts behind the name of a file that is being written, so that whatever cleans up after TensorFlow
/// finds ours, too. Source: `tensor_bundle.cc`, `BundleWriter`.
const TENSORFLOW: &str = ".tempstate";

/// The mark of our own. TensorFlow's are never removed: it does not lock them, so that nobody can tell whether their
/// writer lives.
const OURS: &str = ".tfckpt";

/// A writer makes its file and locks it, one after the other. An empty file that is not older than this may be between.
const NEW: Duration = Duration::from_secs(10);

/// The name under which a file is written.
pub(super) fn temporary_name(name: &str, unique: u64) -> String {
    format!("{name}{TENSORFLOW}{unique}{OURS}")
}

/// Whether a file of this name is one that we write.
fn is_temporary(name: &str) -> bool {
    let digits = name.strip_suffix(OURS).and_then(|name| name.rsplit_once(TENSORFLOW));
    digits.is_some_and(|(target, digits)| {
        !target.is_empty() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Removes the files in `root` whose writers are dead, and says which. What cannot be looked at, or removed, stays.
pub(super) fn remove(root: &Path) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // A file, and never what a link points to.
        if !is_temporary(&name) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if is_abandoned(&entry.path()) && fs::remove_file(entry.path()).is_ok() {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Whether nobody holds the lock that a writer takes on its file.
fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let new = file.metadata().is_ok_and(|metadata| {
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        metadata.len() == 0 && age.is_none_or(|age| age < NEW)
    });
    !new && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{LocalDir, Storage};

    #[test]
    fn what_a_dead_writer_left_goes_and_what_a_live_one_writes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let storage = LocalDir::new(dir.path());
        let live = storage.create("m-2.index").unwrap();
        live.write_all_at(b"half", 0).unwrap();
        let dead = temporary_name("m-1.data-00000-of-00001", 77);
        let foreign = [
            "m-1.index.tempstate5",
            "m-1.index",
            "x.tempstate.tfckpt",
            ".tempstate5.tfckpt",
            "x.tfckpt",
        ];
        for name in foreign.iter().copied().chain([dead.as_str()]) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        // Perhaps made just now by a writer that has not locked it yet.
        fs::write(dir.path().join(temporary_name("new", 1)), "").unwrap();
        assert_eq!(storage.remove_leftovers().unwrap(), [dead]);
        assert_eq!(storage.list().unwrap().len(), foreign.len() + 2);
        live.publish(crate::io::Durability::Buffered).unwrap();
        assert!(storage.exists("m-2.index").unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "x").unwrap();
        let link = temporary_name("m-1.index", 3);
        std::os::unix::fs::symlink(&precious, dir.path().join(&link)).unwrap();
        assert!(LocalDir::new(dir.path()).remove_leftovers().unwrap().is_empty());
        assert!(precious.exists());
    }
}
