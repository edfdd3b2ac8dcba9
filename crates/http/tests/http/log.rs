//! What was logged, test by test.

use std::{cell::RefCell, io, sync::Once};

use tracing_subscriber::fmt::format::FmtSpan;

thread_local! {
    // A test runs on one thread, and so does its runtime.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ToThread;

impl io::Write for ToThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to log, for all tests: what is logged before somebody listens may never be heard.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(|| ToThread)
            .init();
    });
}

/// What this test has logged so far.
pub(crate) fn taken() -> String {
    String::from_utf8(LOG.take()).unwrap()
}
