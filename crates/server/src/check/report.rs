//! What was found, for people and for scripts.

use std::fmt;

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Could not be tried.
    Skipped,
    /// Could be better, or could not be told.
    Warn,
    /// Not as it must be.
    Fail,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What scripts call it.
    pub id: &'static str,
    /// What must hold.
    pub title: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Everything that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The broker.
    pub broker: String,
    /// In the order tried.
    pub checks: Vec<Check>,
}

/// A check that is being made.
#[derive(Debug)]
pub(super) struct Open<'r> {
    report: &'r mut Report,
    id: &'static str,
    title: &'static str,
}

impl Report {
    pub(super) const fn new(broker: String) -> Self {
        Self {
            broker,
            checks: Vec::new(),
        }
    }

    /// Begins a check; `title` says what must hold.
    pub(super) const fn open(&mut self, id: &'static str, title: &'static str) -> Open<'_> {
        Open {
            report: self,
            id,
            title,
        }
    }

    /// How many ended like that.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|it| it.verdict == verdict)
            .count()
    }

    /// How the check `id` ended, if it was made.
    #[must_use]
    pub fn verdict(&self, id: &str) -> Option<Verdict> {
        let check = self.checks.iter().find(|it| it.id == id)?;
        Some(check.verdict)
    }
}

impl Open<'_> {
    pub(super) fn ok(self, found: impl Into<String>) {
        self.close(Verdict::Ok, found.into(), None);
    }

    pub(super) fn skip(self, found: impl Into<String>, remedy: impl Into<String>) {
        self.close(Verdict::Skipped, found.into(), Some(remedy.into()));
    }

    pub(super) fn warn(self, found: impl Into<String>, remedy: impl Into<String>) {
        self.close(Verdict::Warn, found.into(), Some(remedy.into()));
    }

    pub(super) fn fail(self, found: impl Into<String>, remedy: impl Into<String>) {
        self.close(Verdict::Fail, found.into(), Some(remedy.into()));
    }

    fn close(self, verdict: Verdict, found: String, remedy: Option<String>) {
        self.report.checks.push(Check {
            id: self.id,
            title: self.title,
            verdict,
            found,
            remedy,
        });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// A table with a remedy under each line that needs one.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.broker)?;
        let width = self.checks.iter().map(|it| it.id.len()).max().unwrap_or(0);
        for check in &self.checks {
            let Check {
                id,
                title,
                verdict,
                found,
                remedy,
            } = check;
            writeln!(f, "{verdict:<8} {id:<width$}  {title}: {found}")?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:<8} {:<width$}  → {remedy}", "", "")?;
            }
        }
        write!(
            f,
            "{} ok, {} failed, {} warnings, {} skipped",
            self.count(Verdict::Ok),
            self.count(Verdict::Fail),
            self.count(Verdict::Warn),
            self.count(Verdict::Skipped)
        )
    }
}
