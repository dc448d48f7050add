//! A server process that ends when its owner drops it, and also when the
//! whole test process dies without dropping anything.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Starts the command given as its arguments and waits for a word: the signal
/// to send it. The end of the input is no word: then nobody owns the server
/// any more, and its folder goes too. (What a shell starts in the background
/// may ignore QUIT, hence TERM too.)
const GUARD: &str = r#"
dir=$1; log=$2; shift 2
"$@" >>"$log" 2>&1 </dev/null &
server=$!
read -r word
kill -s "${word:-QUIT}" "$server" 2>/dev/null
[ -n "$word" ] || kill -s TERM "$server" 2>/dev/null
wait "$server"
[ -n "$word" ] || rm -rf "$dir"
"#;

/// A server under a guard: a shell that ends the server and removes its folder
/// once nothing holds the other end of its input.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
}

impl Guarded {
    /// Starts `command` (a program and its arguments), its output appended to
    /// `log`; `folder` is removed when the server is dropped.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn spawn<S: AsRef<OsStr>>(
        folder: &Path,
        log: &Path,
        command: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Self> {
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .arg(log)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { guard })
    }

    /// Sends the server `signal` (such as `TERM`) and waits for its end; the
    /// folder stays.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn end(mut self, signal: &str) -> anyhow::Result<()> {
        let mut input = self.guard.stdin.take().context("the guard has no input")?;
        writeln!(input, "{signal}").context("the guard is gone")?;
        self.guard.wait().context("cannot wait for the guard")?;
        Ok(())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Asks `ready` until it says yes.
///
/// # Errors
/// When it never did within `patience`: with the end of `log`.
pub(crate) fn wait_until(
    what: &str,
    patience: Duration,
    log: &Path,
    mut ready: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    while !ready() {
        ensure!(
            Instant::now() < deadline,
            "{what} was not ready within {patience:?}; its log:\n{}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
