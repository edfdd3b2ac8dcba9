//! What a person sees while a run goes on: a bar for each account on a terminal, lines elsewhere.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::LazyLock,
    time::Duration,
};

use charging_sessions::AccountId;
use charging_sessions_store::Slice;
use charging_sessions_sync::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::text;

/// All bars of the program, which share the terminal with its messages.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error, without tearing bars that are being drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All at once: half a message would be torn by the next frame.
        BARS.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Messages {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// One line on standard error.
pub(crate) fn tell(line: &str) {
    // Who has closed standard error does not want to know.
    let _ = Messages.write(format!("{line}\n").as_bytes());
}

/// Writes to standard output, without tearing bars that are being drawn.
pub(crate) fn print(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    BARS.suspend(write)
}

/// What becomes of one account.
#[derive(Debug)]
pub(crate) struct Progress {
    account: AccountId,
    /// On a terminal only.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing is shown until the first event.
    pub(crate) fn of(account: AccountId) -> Self {
        Self { account, bar: io::stderr().is_terminal().then(ProgressBar::hidden) }
    }

    /// Shows what has happened. `requests` were sent so far.
    pub(crate) fn show(&self, event: &Event<'_>, requests: u64) {
        match &self.bar {
            Some(bar) => self.draw(bar, event, requests),
            None => self.write(event),
        }
    }

    fn draw(&self, bar: &ProgressBar, event: &Event<'_>, requests: u64) {
        match event {
            Event::Planned { slices, skipped } => {
                BARS.add(bar.clone());
                // The template is ours and does not depend on what is read.
                if let Ok(style) = ProgressStyle::with_template(
                    "{prefix:>16.bold} {bar:24} {pos}/{len} parts, {msg} {elapsed:.dim}",
                ) {
                    bar.set_style(style);
                }
                bar.set_prefix(self.account.to_string());
                bar.set_length(*slices);
                bar.set_message(format!("{skipped} settled"));
                bar.enable_steady_tick(Duration::from_millis(250));
            }
            Event::PageCommitted { .. } => bar.set_message(format!("{requests} requests")),
            Event::SliceCompleted { .. } => bar.inc(1),
            Event::SliceFailed { .. } => {
                bar.inc(1);
                self.write(event);
            }
            _ => {}
        }
    }

    /// One line for what a person waits for.
    fn write(&self, event: &Event<'_>) {
        let account = &self.account;
        match event {
            Event::Planned { slices, skipped } => {
                tell(&format!("{account}: {slices} parts to read, {skipped} are settled"));
            }
            Event::SliceBegun { slice, resumed: true } => {
                tell(&format!("{account}: goes on in {}", part(slice)));
            }
            Event::SliceCompleted { slice } => tell(&format!("{account}: has read {}", part(slice))),
            Event::SliceFailed { slice, error } => {
                let error = error.to_string();
                tell(&format!("{account}: {} failed: {}", part(slice), text::visible(&error)));
            }
            _ => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn part(slice: &Slice) -> String {
    let asset = slice.asset.as_ref().map(|asset| text::visible(&asset.to_string()).into_owned());
    let of = asset.map(|asset| format!(" of {asset}")).unwrap_or_default();
    match slice.window {
        Some(window) => format!("{} to {}{of}", window.from(), window.until()),
        None => format!("everything{of}"),
    }
}
