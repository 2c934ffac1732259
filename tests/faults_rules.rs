//! Every operation of every save fails, as in `faults.rs`: of a manager, and of a saver with rules, which loses neither the
//! best checkpoint nor a pinned one.

#[path = "faults/disk.rs"]
mod disk;

use std::sync::Arc;

use disk::{Disk, Fault};
use tfckpt::io::{Durability, Storage};
use tfckpt::{Bundle, Checkpoint, CheckpointManager, DType, Error, Goal, Limits, Retention, SaveAt, Saver, Variable};

const FAULTS: [Fault; 6] = [
    Fault::Error,
    Fault::Full,
    Fault::Gone,
    Fault::KillBefore,
    Fault::KillAfter,
    Fault::KillWithin,
];

/// Different draws of what a power cut leaves.
const CUTS: u64 = 6;

/// What a process has done so far: the numbers of its saves.
#[derive(Debug, Default)]
struct Log {
    acknowledged: Vec<u32>,
    begun: u32,
    /// Whether the third was pinned.
    pinned: bool,
    /// Whether the history of the last save could not be written, as that save said.
    unwritten: bool,
}

fn variables(number: u32) -> [Variable<'static>; 1] {
    let bytes = (number as f32).to_le_bytes().repeat(50);
    [Variable::from_bytes("v", DType::Float32, [50], bytes)]
}

/// The number of the save that a checkpoint holds, whole.
fn number_of(checkpoint: &Checkpoint) -> u32 {
    let values = checkpoint.read::<f32>("v").unwrap();
    assert!(values.iter().all(|&value| value == values[0]), "of two saves");
    values[0] as u32
}

fn open(disk: &Disk, name: &str) -> Option<Checkpoint> {
    let bundle = Bundle::open(Arc::new(disk.clone()), name, &Limits::default());
    bundle.ok().map(Into::into)
}

/// Where a check failed.
struct Point(String);

impl Drop for Point {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Runs `run` with each fault at each of its operations, and `check` after a restart. The number of points.
fn at_every_operation(run: impl Fn(&Disk, &mut Log), check: impl Fn(&Disk, &Log)) -> u64 {
    let mut points = 0;
    let cuts = (0..CUTS).map(|cut| move |at| Fault::PowerCut(at * CUTS + cut));
    let faults = FAULTS.map(|fault| Box::new(move |_| fault) as Box<dyn Fn(u64) -> Fault>);
    let cuts = cuts.map(|cut| Box::new(cut) as Box<dyn Fn(u64) -> Fault>);
    for fault in faults.into_iter().chain(cuts) {
        for at in 0.. {
            let (disk, mut log) = (Disk::default(), Log::default());
            disk.set_fault(at, fault(at));
            run(&disk, &mut log);
            if !disk.has_failed() {
                break;
            }
            disk.reboot();
            let _point = Point(format!("{:?} at operation {at}: {log:?}", fault(at)));
            check(&disk, &log);
            points += 1;
        }
    }
    points
}

fn manager(disk: &Disk) -> CheckpointManager {
    CheckpointManager::on(Arc::new(disk.clone()), 2).overwrite(true)
}

/// The number of the newest save of a manager.
fn restored(manager: &mut CheckpointManager) -> Option<u32> {
    let mut number = None;
    let restored = manager.restore_or_initialize(|checkpoint| {
        number = checkpoint.map(number_of);
        Ok::<_, Error>(())
    });
    restored.unwrap();
    number
}

#[test]
fn a_manager_loses_nothing_that_was_acknowledged() {
    let run = |disk: &Disk, log: &mut Log| {
        let mut manager = manager(disk);
        // Some numbers are given, and some are taken already.
        for number in [None, None, Some(2), None, Some(9), Some(9), Some(1)] {
            log.begun += 1;
            let at = SaveAt::step(log.begun.into()).checkpoint_number(number);
            match manager.save(variables(log.begun), at) {
                Ok(_) => log.acknowledged.push(log.begun),
                Err(_) if disk.is_dead() => return,
                Err(_) => {}
            }
        }
    };
    let check = |disk: &Disk, log: &Log| {
        let mut manager = manager(disk);
        let found = restored(&mut manager);
        assert!(
            found >= log.acknowledged.last().copied() && found <= Some(log.begun),
            "found {found:?}"
        );
        let saved = manager.save(variables(1000), 1000).unwrap().unwrap();
        assert!(saved.removal_errors.is_empty());
        assert_eq!(restored(&mut manager), Some(1000));
        for prefix in manager.checkpoints().unwrap() {
            number_of(&open(disk, prefix.file_name().unwrap().to_str().unwrap()).unwrap());
        }
    };
    let points = at_every_operation(run, check);
    println!("in process: a manager, {points} passed, 0 failed");
    assert!(points > 500, "{points} points");
}

/// The losses of the saves of a saver with rules: the second is the best, and the third is pinned.
const LOSSES: [f64; 7] = [0.9, 0.1, 0.8, f64::NAN, 0.7, 0.6, 0.5];

fn saver(disk: &Disk) -> Saver {
    let retention = Retention::default().latest(2).best("loss", Goal::Min, 1);
    Saver::on(Arc::new(disk.clone())).retention(retention)
}

#[test]
fn a_saver_with_rules_loses_neither_the_best_nor_what_is_pinned() {
    let run = |disk: &Disk, log: &mut Log| {
        let mut saver = saver(disk);
        for loss in LOSSES {
            log.begun += 1;
            let number = log.begun;
            match saver.save_measured(variables(number), number.into(), [("loss", loss)]) {
                Ok(saved) => {
                    log.acknowledged.push(number);
                    log.unwritten = !saved.removal_errors.is_empty();
                }
                Err(_) if disk.is_dead() => return,
                Err(_) => {}
            }
            if number == 3 && log.acknowledged.last() == Some(&3) {
                log.pinned = saver.pin(3).is_ok();
            }
        }
    };
    let check = |disk: &Disk, log: &Log| {
        let mut saver = saver(disk);
        let latest = saver.latest().unwrap().map(|checkpoint| number_of(&checkpoint));
        assert!(
            latest >= log.acknowledged.last().copied() && latest <= Some(log.begun),
            "found {latest:?}"
        );
        saver.save(variables(1000), 1000).unwrap();
        saver.save(variables(1001), 1001).unwrap();
        let is_there = |number: u32| open(disk, &format!("model.ckpt-{number}")).map(|c| number_of(&c)) == Some(number);
        assert!(is_there(1000) && is_there(1001));
        assert!(
            !log.acknowledged.contains(&2) || log.unwritten || is_there(2),
            "the best is gone"
        );
        assert!(!log.pinned || log.unwritten || is_there(3), "the pinned one is gone");
        let left: Vec<String> = disk
            .list()
            .unwrap()
            .into_iter()
            .filter(|name| name.contains("tempstate"))
            .collect();
        assert!(left.is_empty(), "left over: {left:?}");
    };
    let points = at_every_operation(run, check);
    println!("in process: a saver with rules, {points} passed, 0 failed");
    assert!(points > 500, "{points} points");
}

#[test]
fn a_power_cut_between_saves_keeps_metrics_and_pins() {
    let disk = Disk::default();
    let mut first = saver(&disk);
    for number in 1..=3 {
        first
            .save_measured(
                variables(number),
                number.into(),
                [("loss", LOSSES[number as usize - 1])],
            )
            .unwrap();
    }
    first.pin(1).unwrap_err();
    first.pin(3).unwrap();
    drop(first);
    disk.set_fault(0, Fault::PowerCut(1));
    let _ = disk.sync();
    disk.reboot();
    let mut again = saver(&disk).durability(Durability::Synced);
    let history = again.history().unwrap();
    assert_eq!(history.best("loss", Goal::Min).unwrap().global_step, 2);
    assert!(
        history
            .records()
            .iter()
            .any(|record| record.global_step == 3 && record.pinned)
    );
}
