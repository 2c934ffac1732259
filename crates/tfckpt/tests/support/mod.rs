//! Directories of checkpoints, and what happens to them.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared between test binaries, which use different parts of it"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tfckpt::{Saver, Variable};

/// A path below `tests/fixtures` of the workspace.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(path)
}

/// Saves these steps, none of which is removed.
pub fn save(dir: &Path, steps: impl IntoIterator<Item = i64>) {
    let mut saver = Saver::new(dir)
        .max_to_keep(1000)
        .durability(tfckpt::io::Durability::Buffered);
    steps.into_iter().for_each(|step| save_with(&mut saver, step));
}

pub fn save_with(saver: &mut Saver, step: i64) {
    let values = [step as f32; 4];
    saver.save([Variable::new("v", [2, 2], &values)], step).unwrap();
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The steps whose index files are there.
pub fn steps(dir: &Path) -> Vec<i64> {
    let names = names(dir);
    let step = |name: &String| name.strip_prefix("model.ckpt-")?.strip_suffix(".index")?.parse().ok();
    let mut steps: Vec<i64> = names.iter().filter_map(step).collect();
    steps.sort_unstable();
    steps
}

/// Copies the files of a directory.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// The path of the only data file.
pub fn data(prefix: &Path) -> PathBuf {
    format!("{}.data-00000-of-00001", prefix.display()).into()
}

pub fn index(prefix: &Path) -> PathBuf {
    format!("{}.index", prefix.display()).into()
}

/// Flips a byte of the data.
pub fn flip(prefix: &Path) {
    let mut bytes = fs::read(data(prefix)).unwrap();
    bytes[0] ^= 1;
    fs::write(data(prefix), bytes).unwrap();
}

fn truncate(path: &Path, by: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - by]).unwrap();
}

type Damage = fn(&Path);

/// What can happen to a checkpoint.
pub const DAMAGES: [(&str, Damage); 7] = [
    ("the index truncated", |prefix| truncate(&index(prefix), 20)),
    ("the index empty", |prefix| fs::write(index(prefix), "").unwrap()),
    ("the index gone", |prefix| fs::remove_file(index(prefix)).unwrap()),
    ("a byte of the data flipped", flip),
    ("the data truncated", |prefix| truncate(&data(prefix), 1)),
    ("the data empty", |prefix| fs::write(data(prefix), "").unwrap()),
    ("the data gone", |prefix| fs::remove_file(data(prefix)).unwrap()),
];

/// Makes a file so many seconds old.
pub fn set_age(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

/// Makes all files so old that nobody can be at work on them.
pub fn settle(dir: &Path) {
    names(dir)
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| path.is_file() && !path.is_symlink())
        .for_each(|path| set_age(&path, 3600));
}
