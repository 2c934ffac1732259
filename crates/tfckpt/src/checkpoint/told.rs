//! Word from the file system that a directory changed.

#[cfg(not(feature = "notify"))]
pub(super) use asleep::Told;
#[cfg(feature = "notify")]
pub(super) use notified::Told;

#[cfg(feature = "notify")]
mod notified {
    use std::fs::Metadata;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
    use std::time::{Duration, SystemTime};

    use notify::event::{AccessKind, AccessMode};
    use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

    /// Waits for word that a file of a directory changed, where the file system gives any.
    #[derive(Debug)]
    pub(in crate::checkpoint) struct Told {
        directory: PathBuf,
        file: String,
        watch: Option<Watch>,
    }

    #[derive(Debug)]
    struct Watch {
        /// The directory may be removed, and made again: then this watches what is no longer there.
        identity: Option<Identity>,
        _watcher: RecommendedWatcher,
        word: Receiver<()>,
    }

    impl Told {
        pub(in crate::checkpoint) fn new(directory: &Path, file: &str) -> Self {
            // The system calls do not take an empty path for the current directory.
            let here = directory.as_os_str().is_empty();
            Told {
                directory: if here { PathBuf::from(".") } else { directory.to_owned() },
                file: file.to_owned(),
                watch: None,
            }
        }

        /// Watches from now on, if that can be done: whoever looks at the directory afterwards and then waits misses
        /// nothing.
        pub(in crate::checkpoint) fn watch(&mut self) {
            let identity = identity(&self.directory);
            if self.watch.as_ref().is_some_and(|watch| watch.identity == identity) {
                return;
            }
            // What cannot be watched, because it is not there or there are too many watches, is looked at only.
            self.watch = identity.and_then(|identity| self.start(identity).ok());
        }

        /// Waits for word, at most so long.
        pub(in crate::checkpoint) fn wait(&self, at_most: Duration) {
            let told = self.watch.as_ref().map(|watch| watch.word.recv_timeout(at_most));
            // The watcher may have gone, which must not make a busy loop of the waiting.
            if !matches!(told, Some(Ok(()) | Err(RecvTimeoutError::Timeout))) {
                std::thread::sleep(at_most);
            }
        }

        fn start(&self, identity: Identity) -> notify::Result<Watch> {
            let (sender, word) = sync_channel(1);
            let file = self.file.clone();
            let mut watcher = notify::recommended_watcher(move |event| tell(event, &file, &sender))?;
            watcher.watch(&self.directory, RecursiveMode::NonRecursive)?;
            Ok(Watch {
                identity: Some(identity),
                _watcher: watcher,
                word,
            })
        }
    }

    /// Passes on what means that the file changed. Our own reading of it makes events, too.
    fn tell(event: notify::Result<Event>, file: &str, sender: &SyncSender<()>) {
        let matters = match event {
            Ok(event) => {
                let changes = match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
                    EventKind::Access(_) => false,
                    _ => true,
                };
                let named = || {
                    event
                        .paths
                        .iter()
                        .any(|path| path.file_name().is_some_and(|name| name == file))
                };
                event.need_rescan() || (changes && named())
            }
            Err(_) => true,
        };
        if matters {
            // One word is enough for any number of changes.
            let _ = sender.try_send(());
        }
    }

    /// Device, number and birth: a directory that is made again may get the number of the one before.
    type Identity = (u64, u64, Option<SystemTime>);

    fn identity(directory: &Path) -> Option<Identity> {
        let metadata = directory.metadata().ok().filter(|metadata| metadata.is_dir())?;
        let (device, number) = numbers(&metadata);
        Some((device, number, metadata.created().ok()))
    }

    #[cfg(unix)]
    fn numbers(metadata: &Metadata) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    }

    #[cfg(not(unix))]
    fn numbers(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }

    #[cfg(test)]
    mod tests {
        use std::fs;
        use std::time::Instant;

        use super::*;

        const LONG: Duration = Duration::from_secs(60);
        const SHORT: Duration = Duration::from_millis(50);

        /// Whether there is word within so long.
        fn is_told(told: &Told, within: Duration) -> bool {
            let start = Instant::now();
            told.wait(within);
            start.elapsed() < within
        }

        #[test]
        #[cfg(target_os = "linux")]
        fn word_comes_of_the_file_and_of_nothing_else_also_in_a_directory_made_again() {
            let dir = tempfile::tempdir().unwrap();
            let run = dir.path().join("run");
            let mut told = Told::new(&run, "checkpoint");
            told.watch();
            for _ in 0..2 {
                fs::create_dir(&run).unwrap();
                told.watch();
                fs::write(run.join("other"), "x").unwrap();
                fs::write(run.join("new"), "x").unwrap();
                assert!(!is_told(&told, SHORT));
                fs::rename(run.join("new"), run.join("checkpoint")).unwrap();
                assert!(is_told(&told, LONG));
                // One change may be told more than once; our own look at the file is none.
                while is_told(&told, SHORT) {}
                fs::read(run.join("checkpoint")).unwrap();
                assert!(!is_told(&told, SHORT));
                fs::remove_dir_all(&run).unwrap();
                while is_told(&told, SHORT) {}
            }
        }
    }
}

#[cfg(not(feature = "notify"))]
mod asleep {
    use std::path::Path;
    use std::time::Duration;

    /// Sleeps: nobody gives any word.
    #[derive(Debug)]
    pub(in crate::checkpoint) struct Told;

    impl Told {
        pub(in crate::checkpoint) fn new(_: &Path, _: &str) -> Self {
            Told
        }

        pub(in crate::checkpoint) fn watch(&mut self) {}

        pub(in crate::checkpoint) fn wait(&self, at_most: Duration) {
            std::thread::sleep(at_most);
        }
    }
}
