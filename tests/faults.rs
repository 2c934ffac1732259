//! Every operation of every save fails, is interrupted by a kill or by a power cut, and nothing that was acknowledged is
//! lost. `tests/faults/run.sh` prints the counts, and does the same to real processes.

#[path = "faults/disk.rs"]
mod disk;

use std::collections::BTreeMap;
use std::sync::Arc;

use disk::{Disk, Fault};
use tfckpt::io::{Durability, Storage};
use tfckpt::{Checkpoint, Saver, Variable};

/// What a run saves: steps, some of them twice.
const STEPS: [i64; 8] = [1, 2, 3, 3, 4, 5, 5, 6];
const KEEP: usize = 2;

/// Different draws of what a power cut leaves.
const CUTS: u64 = 12;

/// What a process has done so far.
#[derive(Debug, Default)]
struct Log {
    /// The number of the last save that was acknowledged.
    acknowledged: Option<u32>,
    /// The number of the save that was last begun.
    begun: u32,
}

fn saver(disk: &Disk, durability: Durability) -> Saver {
    Saver::on(Arc::new(disk.clone()))
        .max_to_keep(KEEP)
        .overwrite(true)
        .max_shard_bytes(600)
        .durability(durability)
}

/// Saves all steps; one that fails is left out, as a training would. Ends early if the process dies.
fn run(disk: &Disk, durability: Durability, log: &mut Log) {
    let mut saver = saver(disk, durability);
    for step in STEPS {
        log.begun += 1;
        let values = [log.begun as f32; 100];
        let variables = ["v", "w"].map(|name| Variable::new(name, [100], &values));
        match saver.save(variables, step) {
            Ok(_) => log.acknowledged = Some(log.begun),
            Err(_) if disk.is_dead() => return,
            Err(_) => check_latest(&saver, log),
        }
    }
}

/// The latest checkpoint is whole, and no older than the last that was acknowledged.
fn check_latest(saver: &Saver, log: &Log) {
    let Some(checkpoint) = saver.latest().unwrap() else {
        assert_eq!(log.acknowledged, None, "an acknowledged save is gone");
        return;
    };
    let saved = number_of(&checkpoint);
    assert!(
        Some(saved) >= log.acknowledged && saved <= log.begun,
        "found save {saved}, {log:?}"
    );
}

/// The number of the save that a checkpoint holds, whole.
fn number_of(checkpoint: &Checkpoint) -> u32 {
    checkpoint
        .verify_all(&checkpoint.variables().collect::<Vec<_>>())
        .unwrap();
    let [v, w] = ["v", "w"].map(|name| checkpoint.read::<f32>(name).unwrap());
    assert!(v == w && v.iter().all(|&value| value == v[0]), "of two saves");
    v[0] as u32
}

/// What the next process finds: the latest checkpoint, a directory that it can go on with, and nothing left over.
fn check_next_process(disk: &Disk, durability: Durability, log: &Log) {
    let mut saver = saver(disk, durability);
    check_latest(&saver, log);
    let next = 1000;
    let values = [next as f32; 100];
    let variables = ["v", "w"].map(|name| Variable::new(name, [100], &values));
    let saved = saver.save(variables, next).unwrap();
    assert!(saved.removal_errors.is_empty());
    assert_eq!(number_of(&saver.latest().unwrap().unwrap()), next as u32);
    let kept = saver.last_checkpoints().unwrap();
    for prefix in &kept {
        let name = prefix.file_name().unwrap().to_str().unwrap();
        let bundle = tfckpt::Bundle::open(Arc::new(disk.clone()), name, &tfckpt::Limits::default()).unwrap();
        number_of(&bundle.into());
    }
    drop(saver);
    let mut names = disk.list().unwrap();
    names.retain(|name| {
        let of_checkpoint = name.starts_with("model.ckpt-");
        let whole = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with('.'));
        let indexed: Vec<String> = disk.list().unwrap();
        let prefixes: Vec<&str> = indexed.iter().filter_map(|name| name.strip_suffix(".index")).collect();
        name != "checkpoint" && !(of_checkpoint && prefixes.iter().any(whole))
    });
    assert!(names.is_empty(), "left over: {names:?}");
}

/// One kind of fault, at every operation. The number of points.
fn at_every_operation(durability: Durability, fault: impl Fn(u64) -> Fault) -> u64 {
    for at in 0.. {
        let (disk, mut log) = (Disk::default(), Log::default());
        disk.set_fault(at, fault(at));
        let point = format!("{:?} at operation {at}", fault(at));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&disk, durability, &mut log);
            if !disk.has_failed() {
                return false;
            }
            disk.reboot();
            check_next_process(&disk, durability, &log);
            true
        }));
        match result {
            Ok(true) => {}
            Ok(false) => return at,
            Err(panic) => {
                eprintln!("{point}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    0
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_at_whichever_operation() {
    let mut counts = BTreeMap::new();
    for durability in [Durability::Synced, Durability::Buffered] {
        for fault in [
            Fault::Error,
            Fault::Full,
            Fault::Gone,
            Fault::KillBefore,
            Fault::KillAfter,
            Fault::KillWithin,
        ] {
            let points = at_every_operation(durability, |_| fault);
            counts.insert(format!("{fault:?}, {durability:?}"), points);
        }
    }
    let cuts = (0..CUTS).map(|cut| at_every_operation(Durability::Synced, |at| Fault::PowerCut(at * CUTS + cut)));
    counts.insert("PowerCut, Synced".to_owned(), cuts.sum());
    let total: u64 = counts.values().sum();
    for (what, points) in &counts {
        println!("{what}: {points} points");
    }
    println!("in process: {total} passed, 0 failed");
    assert!(total > 1000, "{total} points");
}
