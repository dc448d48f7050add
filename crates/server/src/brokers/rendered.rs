//! A file that was rendered and not yet written.

use std::fmt;

/// A file of a broker's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its path under the folder rendered into.
    pub path: &'static str,
    /// Its text.
    pub text: String,
    /// Whether it holds a secret: readable by its owner alone, never shown.
    pub secret: bool,
}

impl Rendered {
    /// A file for everybody.
    #[must_use]
    pub const fn open(path: &'static str, text: String) -> Self {
        Self {
            path,
            text,
            secret: false,
        }
    }

    /// A file with a secret in it.
    #[must_use]
    pub const fn secret(path: &'static str, text: String) -> Self {
        Self {
            path,
            text,
            secret: true,
        }
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.secret { "***" } else { &self.text };
        f.debug_struct("Rendered")
            .field("path", &self.path)
            .field("text", &text)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_not_shown() {
        let shown = format!("{:?}", Rendered::secret("key", "hunter2".to_owned()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
