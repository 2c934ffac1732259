//! Saving in the background gives what saving gives, and loses nothing.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tfckpt::map::Layout;
use tfckpt::{BackgroundSaver, Checkpoint, DType, Error, Saver, Sink, Submitted, Variable, WhenBusy};

/// A save that tells when it has begun, and waits until it is let go.
fn gated(
    begun: mpsc::Sender<()>,
    gate: mpsc::Receiver<()>,
) -> impl FnOnce(&mut Saver) -> tfckpt::Result<tfckpt::Saved> + Send + 'static {
    move |saver| {
        let _ = begun.send(());
        // Also when the other end is gone.
        let _ = gate.recv();
        saver.save([Variable::new("x", [1], &[1.0f32])], 1)
    }
}

fn value(dir: &std::path::Path, step: i64) -> Option<Vec<f32>> {
    let checkpoint = Checkpoint::open(dir.join(format!("model.ckpt-{step}"))).ok()?;
    Some(checkpoint.read("x").unwrap())
}

#[test]
fn what_is_saved_is_the_state_of_that_moment() {
    let (foreground, background) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut saver = BackgroundSaver::new(Saver::new(background.path()).max_to_keep(0));
    let mut reference = Saver::new(foreground.path()).max_to_keep(0);
    let mut weights: Vec<f32> = (0..3000u16).cycle().take(3_000_000).map(f32::from).collect();
    let model = [1000, 3000];
    let layout = Layout::Permuted(&[1, 0]);
    for step in 1..=4 {
        let state = |weights: &'static [f32]| {
            let bytes: &'static [u8] = bytemuck::cast_slice(weights);
            let lend = move |sink: &mut Sink<'_>| sink(bytes);
            vec![
                Variable::new("borrowed", [weights.len()], weights).non_trainable(),
                Variable::lent("lent", DType::Float32, [3000, 1000], lend).laid_out(layout.to_stored(&model).unwrap()),
                Variable::deferred("deferred", DType::Uint8, [bytes.len()], move |sink| {
                    bytes.chunks(100_001).try_for_each(sink)
                }),
                Variable::strings("strings", [2], [format!("step {step}").into_bytes(), vec![]]),
                Variable::scalar("scalar", step),
                Variable::new("empty", [0], &[0.0f32; 0]),
                Variable::new("half", [1, 2], &[1.0f32, 2.0]).slice_of([2, 2], tfckpt::Slice::new([Some(0..1), None])),
            ]
        };
        // The state is borrowed for as long as the calls take; a leak makes that easy to say here.
        let now: &'static [f32] = Vec::leak(weights.clone());
        assert!(matches!(saver.save(state(now), step).unwrap(), Submitted::Started));
        reference.save(state(now), step).unwrap();
        weights.iter_mut().for_each(|weight| *weight += 1.0);
    }
    let saved = saver.wait().unwrap();
    assert_eq!(
        saved.iter().map(|saved| saved.global_step).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    // And with the locks: what is compared are checkpoints.
    drop((saver, reference));
    let mut names: Vec<_> = std::fs::read_dir(foreground.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 13);
    for name in names {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(&name)).unwrap();
        assert!(read(&foreground) == read(&background), "{name:?} differs");
    }
}

#[test]
fn a_second_save_waits_is_left_out_or_takes_the_place_of_the_next() {
    for choice in [WhenBusy::Wait, WhenBusy::Skip, WhenBusy::Replace] {
        let dir = tempfile::tempdir().unwrap();
        let mut saver = BackgroundSaver::new(Saver::new(dir.path()).max_to_keep(0)).when_busy(choice);
        let ((open, gate), (begun, has_begun)) = (mpsc::channel(), mpsc::channel());
        saver.save_with(1, gated(begun, gate)).unwrap();
        has_begun.recv().unwrap();
        let opener = match choice {
            WhenBusy::Wait => Some(thread::spawn(move || {
                thread::sleep(Duration::from_millis(200));
                drop(open);
                None
            })),
            _ => Some(thread::spawn(move || Some(open))),
        };
        let mut save = |step: i64| {
            let x = [f32::from(u8::try_from(step).unwrap())];
            saver.save([Variable::new("x", [1], &x)], step).unwrap()
        };
        let (second, third) = (save(2), save(3));
        drop(opener.map(|opener| opener.join().unwrap()));
        saver.wait().unwrap();
        let values = [1, 2, 3].map(|step| value(dir.path(), step).map(|x| x[0]));
        match choice {
            WhenBusy::Wait => {
                assert!(matches!((second, third), (Submitted::Started, Submitted::Started)));
                assert_eq!(values, [Some(1.0), Some(2.0), Some(3.0)]);
            }
            WhenBusy::Skip => {
                assert!(matches!((second, third), (Submitted::Skipped, Submitted::Skipped)));
                assert_eq!(values, [Some(1.0), None, None]);
            }
            WhenBusy::Replace => {
                assert!(matches!(second, Submitted::Started));
                assert!(matches!(third, Submitted::Replaced { global_step: 2 }), "{third:?}");
                assert_eq!(values, [Some(1.0), None, Some(3.0)]);
            }
        }
    }
}

#[test]
fn a_state_larger_than_the_budget_is_saved_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = BackgroundSaver::new(Saver::new(dir.path())).memory_budget(1000);
    let small = [1.0f32; 100];
    assert!(matches!(
        saver.save([Variable::new("x", [100], &small)], 1).unwrap(),
        Submitted::Started
    ));
    let large = [2.0f32; 300];
    let submitted = saver.save([Variable::new("x", [300], &large)], 2).unwrap();
    assert!(
        matches!(&submitted, Submitted::InForeground(saved) if saved.global_step == 2),
        "{submitted:?}"
    );
    assert_eq!(value(dir.path(), 2).unwrap(), large);
    assert_eq!(saver.wait().unwrap().len(), 1);
    assert_eq!(value(dir.path(), 1).unwrap(), small);
}

#[test]
fn an_error_in_the_background_is_told_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = BackgroundSaver::new(Saver::new(dir.path()));
    let x = [1.0f32];
    saver.save([Variable::new("x", [1], &x)], 1).unwrap();
    saver.wait().unwrap();
    // Twice the same step, which is refused.
    saver.save([Variable::new("x", [1], &x)], 1).unwrap();
    let error = saver.wait().unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert!(saver.wait().unwrap().is_empty());
    // A panic is an error, too, and the saver goes on.
    saver.save_with(2, |_| panic!("a framework gave up")).unwrap();
    assert!(saver.wait().is_err());
    let fails = Variable::deferred("x", DType::Float32, [1], |_| Err("the device is gone".into()));
    assert!(matches!(saver.save([fails], 2), Err(Error::Source { .. })));
    saver.save([Variable::new("x", [1], &[2.0f32])], 3).unwrap();
    let saver = saver.into_saver().unwrap();
    assert_eq!(saver.directory(), dir.path());
    assert_eq!(value(dir.path(), 3).unwrap(), [2.0]);
    assert_eq!(
        tfckpt::latest_checkpoint(dir.path()).unwrap(),
        Some(dir.path().join("model.ckpt-3"))
    );
}

#[test]
fn dropping_waits_for_what_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = BackgroundSaver::new(Saver::new(dir.path()));
    let x = vec![3.0f32; 1 << 20];
    saver.save([Variable::new("x", [1 << 20], &x)], 7).unwrap();
    drop(saver);
    assert_eq!(value(dir.path(), 7).unwrap(), x);
}
