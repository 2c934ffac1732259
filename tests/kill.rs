//! A process killed at any moment of a save leaves the last acknowledged checkpoint as the latest, whole.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tfckpt::{Checkpoint, Saver, Variable, latest_checkpoint};

/// Tells a copy of this test binary that it is the one to be killed, and where it saves.
const CHILD: &str = "TFCKPT_KILL_CHILD";

const KILLS: usize = 200;

/// Elements of each variable; together with their number enough for a save to take a while.
const ELEMENTS: usize = 64 * 1024;

fn save(saver: &mut Saver, step: i64) {
    let values = vec![step as f32; ELEMENTS];
    let names = ["a", "b", "c"];
    let saved = saver
        .save(names.map(|name| Variable::new(name, [ELEMENTS], &values)), step)
        .unwrap();
    assert!(saved.removal_errors.is_empty(), "{:?}", saved.removal_errors);
}

/// Not a test by itself: the process that [`no_kill_loses_an_acknowledged_checkpoint`] kills.
#[test]
fn the_child_saves_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut saver = Saver::new(&dir).max_to_keep(2);
    let start = saver
        .latest()
        .unwrap()
        .map_or(0, |latest| latest.global_step().unwrap().unwrap());
    for step in start + 1.. {
        save(&mut saver, step);
        println!("acknowledged {step}");
    }
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_child_saves_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn no_kill_loses_an_acknowledged_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = start(dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Let it save a few times, then kill it somewhere within the next save.
        let step_of = |line: String| {
            line.strip_prefix("acknowledged ")
                .and_then(|step| step.parse::<i64>().ok())
        };
        let saves = random.random_range(1..3);
        let seen = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(step_of)
            .take(saves)
            .last();
        acknowledged = seen.expect("the child saves");
        std::thread::sleep(Duration::from_micros(random.random_range(0..6000)));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines
            .map_while(Result::ok)
            .filter_map(step_of)
            .last()
            .unwrap_or(acknowledged);

        let latest = latest_checkpoint(dir.path())
            .unwrap()
            .unwrap_or_else(|| panic!("kill {kill}: nothing is left"));
        let checkpoint = Checkpoint::open(&latest).unwrap();
        let step = checkpoint.global_step().unwrap().unwrap();
        assert!(
            step == acknowledged || step == acknowledged + 1,
            "kill {kill}: {step} after {acknowledged}"
        );
        for name in ["a", "b", "c"] {
            let values = checkpoint
                .read::<f32>(name)
                .unwrap_or_else(|error| panic!("kill {kill}: {error}"));
            assert!(
                values.iter().all(|&value| value == step as f32),
                "kill {kill}: a mixture of two saves"
            );
        }
    }
    assert!(acknowledged > KILLS as i64, "every child got on");
}
