//! How long work tells people how far it has come, and is asked to stop.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two lines of one piece of work where nobody sits at a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two updates of the line at a terminal.
const UPDATE_EVERY: Duration = Duration::from_millis(200);
const MIB: f64 = 1_048_576.0;

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as MiB.
    Bytes,
    /// Rows of tables.
    Rows,
}

/// The work was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// Hears how far work has come.
pub trait Watch {
    /// `done` of `total` of the piece of work called `what`. Called often:
    /// cheap.
    ///
    /// # Errors
    /// When the work should stop.
    fn at(&mut self, what: &str, done: u64, total: u64, unit: Unit) -> Result<(), Stopped>;
}

/// Tells nobody and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {
    fn at(&mut self, _: &str, _: u64, _: u64, _: Unit) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Tells the person at the terminal, on standard error.
#[derive(Debug)]
pub struct Teller {
    stop: CancellationToken,
    terminal: bool,
    what: String,
    started: Instant,
    /// What was done already when this piece of work began here.
    from: u64,
    /// When the next line is due.
    next: Instant,
    finished: bool,
}

impl Teller {
    /// Tells until `stop` is cancelled, which stops the work.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            terminal: std::io::stderr().is_terminal(),
            what: String::new(),
            started: Instant::now(),
            from: 0,
            next: Instant::now(),
            finished: true,
        }
    }

    fn begin(&mut self, what: &str, done: u64) {
        what.clone_into(&mut self.what);
        self.started = Instant::now();
        self.from = done;
        self.finished = false;
        // Where lines stay, one that says nothing yet is noise.
        self.next = if self.terminal {
            self.started
        } else {
            self.started + LINE_EVERY
        };
    }

    fn write(&self, line: &str, last: bool) {
        let mut out = std::io::stderr().lock();
        let end = if last || !self.terminal { "\n" } else { "" };
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        // Somebody who closed standard error does not want to know.
        write!(out, "{start}{line}{end}")
            .and_then(|()| out.flush())
            .ok();
    }
}

impl Watch for Teller {
    fn at(&mut self, what: &str, done: u64, total: u64, unit: Unit) -> Result<(), Stopped> {
        if self.stop.is_cancelled() {
            return Err(Stopped);
        }
        if self.what != what {
            self.begin(what, done);
        }
        let last = done >= total;
        let now = Instant::now();
        if !self.finished && (last || now >= self.next) {
            let here = done.saturating_sub(self.from);
            let elapsed = now.duration_since(self.started);
            self.write(&line(what, done, total, unit, here, elapsed), last);
            let every = if self.terminal {
                UPDATE_EVERY
            } else {
                LINE_EVERY
            };
            self.next = now + every;
            self.finished = last;
        }
        Ok(())
    }
}

/// One line: how far, how fast, and how long still.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people, three digits are enough"
)]
fn line(what: &str, done: u64, total: u64, unit: Unit, here: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 {
        here as f64 / seconds
    } else {
        0.0
    };
    let amounts = match unit {
        Unit::Bytes => format!(
            "{:.1} of {:.1} MiB, {:.0} MiB/s",
            done as f64 / MIB,
            total as f64 / MIB,
            rate / MIB
        ),
        Unit::Rows => format!("{done} of {total}, {rate:.0}/s"),
    };
    let left = if done >= total {
        format!("done in {seconds:.1} s")
    } else if rate > 0.0 {
        format!("{:.0} s left", total.saturating_sub(done) as f64 / rate)
    } else {
        "…".to_owned()
    };
    format!("{what}: {amounts}, {left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let two = Duration::from_secs(2);
        assert_eq!(
            line("samples", 3_000, 9_000, Unit::Rows, 2_000, two),
            "samples: 3000 of 9000, 1000/s, 6 s left"
        );
        assert_eq!(
            line("history.db", 4 << 20, 4 << 20, Unit::Bytes, 4 << 20, two),
            "history.db: 4.0 of 4.0 MiB, 2 MiB/s, done in 2.0 s"
        );
        assert_eq!(
            line("events", 0, 5, Unit::Rows, 0, Duration::ZERO),
            "events: 0 of 5, 0/s, …"
        );
    }

    #[test]
    fn who_was_asked_to_stop_stops() {
        let stop = CancellationToken::new();
        let mut teller = Teller::new(stop.clone());
        assert_eq!(teller.at("x", 1, 2, Unit::Rows), Ok(()));
        stop.cancel();
        assert_eq!(teller.at("x", 2, 2, Unit::Rows), Err(Stopped));
    }
}
