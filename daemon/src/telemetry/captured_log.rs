//! The log of a test.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::dispatcher::{DefaultGuard, Dispatch, set_default};
use tracing::subscriber::NoSubscriber;

/// What the current thread logs until this is dropped.
pub(crate) struct CapturedLog {
    buffer: Buffer,
    _guard: DefaultGuard,
    /// With a single subscriber, tracing caches the interest of the thread that reaches an event
    /// first, and the threads of other tests have no subscriber.
    _second: Dispatch,
}

impl CapturedLog {
    pub(crate) fn start() -> Self {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            buffer,
            _second: Dispatch::new(NoSubscriber::new()),
            _guard: set_default(&Dispatch::new(subscriber)),
        }
    }

    /// The lines so far.
    pub(crate) fn text(&self) -> String {
        let bytes = self.buffer.0.lock().expect("log").clone();
        String::from_utf8(bytes).expect("text")
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("log").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
