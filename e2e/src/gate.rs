//! Synchronisation with a scripted plugin, without sleeping.

use std::fs::File;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Step;

/// How long a plugin may take to arrive.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A place where a plugin waits: a named pipe that the plugin reads and the test writes. Opening
/// either end blocks until the other end is opened, so the test knows when the plugin has arrived.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
}

/// A plugin that waits at a [`Gate`]. Dropping this releases the plugin.
#[derive(Debug)]
pub struct Held {
    _pipe: File,
}

impl Gate {
    pub(crate) fn new(path: PathBuf) -> Self {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// The step of a script that waits here.
    pub fn step(&self) -> Step {
        Step::Gate(self.path.clone())
    }

    /// Waits until a plugin has arrived.
    pub fn wait(&self) -> Held {
        let (path, (sender, receiver)) = (self.path.clone(), mpsc::channel());
        thread::spawn(move || sender.send(OpenOptions::new().write(true).open(path)));
        let pipe = receiver
            .recv_timeout(TIMEOUT)
            .unwrap_or_else(|_| {
                panic!(
                    "no plugin arrived at {} in {TIMEOUT:?}",
                    self.path.display()
                )
            })
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        Held { _pipe: pipe }
    }
}

impl Held {
    /// Releases the plugin.
    pub fn release(self) {}
}
