//! `tfckpt convert`: the same bytes both ways, nothing overwritten unasked, nothing left behind.

mod support;

use std::fs;

use tempfile::TempDir;

use support::{fixture, in_dir, names_in, tfckpt};

#[test]
fn there_and_back_again_gives_the_same_bytes() {
    for (case, name) in [("simple_float", "a"), ("tf1_adam_keep2", "model.ckpt-3")] {
        let dir = tempfile::tempdir().unwrap();
        let (middle, back) = (in_dir(&dir, "m.safetensors"), in_dir(&dir, name));
        let source = fixture(&format!("{case}/{name}"));
        for (from, to) in [(&source, &middle), (&middle, &back)] {
            let run = tfckpt(&["convert", from, to]).exits(0);
            assert_eq!(
                (run.stdout.as_str(), run.stderr.as_str()),
                ("", ""),
                "no terminal, no words"
            );
        }
        let data = format!("{name}.data-00000-of-00001");
        let index = format!("{name}.index");
        assert_eq!(names_in(dir.path()).len(), 3, "nothing else is left");
        for file in [data, index] {
            let original = fs::read(fixture(&format!("{case}/{file}"))).unwrap();
            assert!(fs::read(dir.path().join(&file)).unwrap() == original, "{case}/{file}");
        }
    }
}

#[test]
fn the_safetensors_crate_reads_what_convert_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = in_dir(&dir, "m.safetensors");
    let source = fixture("all_dtypes/a");
    tfckpt(&["convert", &source, &path, "--skip-unsupported"]).exits(0);
    let file = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.len(), 18);
    let checkpoint = tfckpt::Checkpoint::open(&source).unwrap();
    for (name, tensor) in tensors.iter() {
        let info = checkpoint.variable(name).unwrap();
        assert_eq!(tensor.shape(), info.shape().dims(), "{name}");
        assert!(tensor.data() == checkpoint.read_bytes(name).unwrap(), "{name}");
    }
    // Byte for byte what the crate itself would have written.
    assert!(safetensors::serialize(tensors.iter(), None).unwrap() == file);
}

#[test]
fn big_endian_and_sharded_checkpoints_convert_to_little_endian_files() {
    for source in ["crafted_big_endian/a", "sharded3/m"] {
        let dir = tempfile::tempdir().unwrap();
        let path = in_dir(&dir, "m.safetensors");
        let source = fixture(source);
        tfckpt(&["convert", &source, &path, "--skip-unsupported"]).exits(0);
        let file = fs::read(&path).unwrap();
        let checkpoint = tfckpt::Checkpoint::open(&source).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert!(!tensors.is_empty());
        for (name, tensor) in tensors.iter() {
            assert!(tensor.data() == checkpoint.read_bytes(name).unwrap(), "{name}");
        }
    }
}

#[test]
fn convert_overwrites_only_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (file, prefix) = (in_dir(&dir, "m.safetensors"), in_dir(&dir, "m"));
    let source = fixture("simple_float/a");

    fs::write(&file, "mine").unwrap();
    tfckpt(&["convert", &source, &file])
        .exits(2)
        .says(&["exists", "--force"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    tfckpt(&["convert", &source, &file, "--force"]).exits(0);

    // Either file of a checkpoint is in the way.
    for name in ["m.index", "m.data-00001-of-00003"] {
        fs::write(dir.path().join(name), "mine").unwrap();
        tfckpt(&["convert", &file, &prefix])
            .exits(2)
            .says(&[name, "exists", "--force"]);
        assert_eq!(names_in(dir.path()), [name, "m.safetensors"]);
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"mine");
        fs::remove_file(dir.path().join(name)).unwrap();
    }

    // Data files of the old checkpoint go with it; neighbours stay.
    for name in [
        "m.index",
        "m.data-00001-of-00003",
        "m.data-00001-of-00003.bak",
        "m2.index",
    ] {
        fs::write(dir.path().join(name), "mine").unwrap();
    }
    tfckpt(&["convert", &file, &prefix, "--force"]).exits(0);
    tfckpt(&["verify", &prefix]).exits(0);
    let left = [
        "m.data-00000-of-00001",
        "m.data-00001-of-00003.bak",
        "m.index",
        "m.safetensors",
        "m2.index",
    ];
    assert_eq!(names_in(dir.path()), left);
}

#[test]
fn all_variables_that_safetensors_lacks_are_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = in_dir(&dir, "m.safetensors");
    let lacking = [
        "c128: there is no dtype complex128",
        "f8/float4_e2m1fn: there is no dtype float4_e2m1fn",
        "f8/float8_e4m3b11fnuz: there is no dtype float8_e4m3b11fnuz",
        "n/int2: there is no dtype int2",
        "n/int4: there is no dtype int4",
        "n/uint2: there is no dtype uint2",
        "n/uint4: there is no dtype uint4",
        "q/qint16: there is no dtype qint16",
        "q/qint32: there is no dtype qint32",
        "q/qint8: there is no dtype qint8",
        "q/quint16: there is no dtype quint16",
        "q/quint8: there is no dtype quint8",
        "string: there is no dtype string",
    ];
    let run = tfckpt(&["convert", &fixture("all_dtypes/a"), &path]).exits(6);
    run.says(&lacking).says(&["13 variables", "--skip-unsupported"]);
    assert!(names_in(dir.path()).is_empty());
    let run = tfckpt(&["convert", &fixture("all_dtypes/a"), &path, "--skip-unsupported"]).exits(0);
    run.says(&lacking).says(&["tfckpt: note: "]);
}

#[test]
fn all_tensors_that_tensorflow_lacks_are_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"b":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[1,2]},"c":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}"#;
    let path = safetensors_file(&dir, header, &[1, 2, 3]);
    let prefix = in_dir(&dir, "m");
    tfckpt(&["convert", &path, &prefix])
        .exits(6)
        .says(&["a: there is no dtype F4", "b: there is no dtype F8_E8M0"]);
    assert_eq!(names_in(dir.path()), ["m.safetensors"]);
    tfckpt(&["convert", &path, &prefix, "--skip-unsupported"]).exits(0);
    let checkpoint = tfckpt::Checkpoint::open(&prefix).unwrap();
    assert_eq!(checkpoint.read::<u8>("c").unwrap(), [3]);
    assert_eq!(checkpoint.variables().len(), 1);
}

#[test]
fn metadata_is_left_out_with_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"__metadata__":{"format":"pt"},"c":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#;
    let path = safetensors_file(&dir, header, &[3]);
    tfckpt(&["convert", &path, &in_dir(&dir, "m")])
        .exits(0)
        .says(&["note: `__metadata__`", "format"]);
}

#[test]
fn broken_safetensors_files_are_errors_and_leave_nothing_behind() {
    let tensor = |offsets: &str| format!(r#"{{"c":{{"dtype":"U8","shape":[2],"data_offsets":{offsets}}}}}"#);
    let deep = "[".repeat(100_000);
    let headers = [
        "",
        "{",
        "[]",
        "\u{0}",
        "{}trailing",
        &deep,
        r#"{"c":{"dtype":"X8","shape":[2],"data_offsets":[0,2]}}"#,
        r#"{"c":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}"#,
        r#"{"c":{"dtype":"U64","shape":[4294967296,4294967296],"data_offsets":[0,2]}}"#,
        &tensor("[0,3]"),
        &tensor("[1,3]"),
        &tensor("[2,0]"),
        &tensor("[0,18446744073709551615]"),
    ];
    for header in headers {
        let dir = tempfile::tempdir().unwrap();
        let path = safetensors_file(&dir, header, &[1, 2]);
        let run = tfckpt(&["convert", &path, &in_dir(&dir, "m")]).exits(4);
        run.says(&["no readable safetensors file"]);
        assert_eq!(names_in(dir.path()), ["m.safetensors"]);
    }
    let sound = tensor("[0,2]");
    for (length, data) in [
        (u64::MAX, &[1u8, 2][..]),
        (1 << 40, &[1, 2]),
        (sound.len() as u64, &[1]),
        (sound.len() as u64, &[1, 2, 3]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = in_dir(&dir, "m.safetensors");
        fs::write(&path, [&length.to_le_bytes(), sound.as_bytes(), data].concat()).unwrap();
        tfckpt(&["convert", &path, &in_dir(&dir, "m")]).exits(4);
        fs::write(&path, [0; 7]).unwrap();
        tfckpt(&["convert", &path, &in_dir(&dir, "m")]).exits(4);
        assert_eq!(names_in(dir.path()), ["m.safetensors"]);
    }
}

#[test]
fn a_failed_convert_leaves_no_files_behind() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_dir(&dir, "m.safetensors");
    for case in [
        "data_flip",
        "data_missing",
        "data_truncated",
        "magic_flip",
        "entry_garbage",
    ] {
        let source = fixture(&format!("corrupt/{case}/m"));
        tfckpt(&["convert", &source, &file, "--skip-unsupported"]).exits(4);
        assert!(names_in(dir.path()).is_empty(), "{case}");
    }
    tfckpt(&["convert", &in_dir(&dir, "none"), &file]).exits(3);
    tfckpt(&["convert", &file, &in_dir(&dir, "m")])
        .exits(3)
        .says(&["cannot open"]);
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn a_failed_convert_leaves_the_old_destination_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_dir(&dir, "m.safetensors");
    fs::write(&file, "mine").unwrap();
    let source = fixture("corrupt/data_flip/m");
    tfckpt(&["convert", &source, &file, "--skip-unsupported", "--force"]).exits(4);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(names_in(dir.path()), ["m.safetensors"]);
}

#[test]
fn a_destination_that_cannot_be_a_checkpoint_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let file = in_dir(&dir, "m.safetensors");
    let source = fixture("simple_float/a");
    tfckpt(&["convert", &source, &file]).exits(0);
    let path = dir.path().to_str().unwrap();
    tfckpt(&["convert", &file, path])
        .exits(2)
        .says(&["is a directory", "model.ckpt"]);
    tfckpt(&["convert", &file, &in_dir(&dir, "x.index")])
        .exits(2)
        .says(&["named by its prefix"]);
    let nowhere = dir.path().join("no/where");
    tfckpt(&["convert", &file, nowhere.to_str().unwrap()])
        .exits(3)
        .says(&["no directory"]);
    assert_eq!(names_in(dir.path()), ["m.safetensors"]);
}

/// A safetensors file with this header, and these bytes behind it.
fn safetensors_file(dir: &TempDir, header: &str, data: &[u8]) -> String {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    let path = in_dir(dir, "m.safetensors");
    fs::write(&path, file).unwrap();
    path
}

#[test]
fn old_files_and_slices_become_whole_variables_of_the_format_of_today() {
    for source in [
        "v1/model.ckpt-12",
        "v1_sharded",
        "sliced_2d/a",
        "tf2_misc_trackables/c-1",
        "crafted_big_endian/a",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (source, path) = (fixture(source), in_dir(&dir, "m"));
        let theirs = tfckpt::Checkpoint::open(&source).unwrap();
        tfckpt(&["convert", &source, &path, "--max-shard-bytes", "64"]).exits(0);
        let ours = tfckpt::Checkpoint::open(&path).unwrap();
        assert_eq!(ours.format(), tfckpt::Format::V2);
        assert_eq!(ours.variables().len(), theirs.variables().len(), "{source}");
        for info in theirs.variables() {
            let copy = ours.variable(info.key()).unwrap();
            assert_eq!(
                (copy.dtype(), copy.shape(), copy.slices().len()),
                (info.dtype(), info.shape(), 0)
            );
            let bytes = theirs.read_bytes(info.key()).unwrap();
            assert!(
                ours.read_bytes(info.key()).unwrap() == bytes,
                "{source}: {}",
                info.name()
            );
        }
        // What is replaced leaves no data files behind.
        tfckpt(&["convert", &source, &path]).exits(2).says(&["--force"]);
        tfckpt(&["convert", &source, &path, "--force"]).exits(0);
        assert_eq!(names_in(dir.path()), ["m.data-00000-of-00001", "m.index"], "{source}");
    }
}
