//! Where an EMQX comes from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, ensure};

/// The variable that names an unpacked release.
pub const HOME: &str = "EMQX_HOME";
/// The image for container engines.
pub const IMAGE: &str = "emqx/emqx:5.8.9";
/// Programs that speak to a container engine.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// Where an EMQX comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An unpacked release.
    Release(PathBuf),
    /// The image, run by this program.
    Engine(String),
}

impl Source {
    /// The one at hand: the release that `EMQX_HOME` names, else a container
    /// engine that answers.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> anyhow::Result<Self> {
        Self::find_in(std::env::var_os(HOME), &ENGINES)
    }

    fn find_in(home: Option<OsString>, engines: &[&str]) -> anyhow::Result<Self> {
        if let Some(home) = home.filter(|it| !it.is_empty()) {
            return release(Path::new(&home)).map(Self::Release);
        }
        match engines.iter().find(|it| answers(it)) {
            Some(engine) => Ok(Self::Engine((*engine).to_owned())),
            None => bail!(
                "there is no EMQX here: set {HOME} to the folder of an unpacked EMQX 5.8 release \
                 (the .tar.gz), or start a container engine ({}) that can run {IMAGE}",
                engines.join(" or ")
            ),
        }
    }
}

fn release(home: &Path) -> anyhow::Result<PathBuf> {
    let home = home
        .canonicalize()
        .map_err(|error| anyhow::anyhow!("{HOME}: {}: {error}", home.display()))?;
    for needed in ["bin/emqx", "etc", "lib", "releases/emqx_vars"] {
        ensure!(
            home.join(needed).exists(),
            "{HOME}: {} is no unpacked EMQX release: it has no {needed}",
            home.display()
        );
    }
    let vars = std::fs::read_to_string(home.join("releases/emqx_vars"))?;
    // That of a .deb or .rpm looks for its files where the package puts them.
    ensure!(
        !vars
            .lines()
            .any(|it| it.starts_with("EMQX_ETC_DIR=\"/") || it.starts_with("RUNNER_ETC_DIR=\"/")),
        "{HOME}: {} was installed from a package; unpack the .tar.gz of the release instead",
        home.display()
    );
    Ok(home)
}

/// Whether an engine stands behind the program.
fn answers(program: &str) -> bool {
    Command::new(program)
        .arg("info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let nothing = Source::find_in(None, &["/nonexistent/engine"]).unwrap_err();
        let text = nothing.to_string();
        assert!(text.contains(HOME) && text.contains(IMAGE), "{text}");
        // `false` is a program that answers, but with no engine behind it.
        assert!(Source::find_in(None, &["false"]).is_err());
        assert_eq!(
            Source::find_in(Some(OsString::new()), &["true"]).unwrap(),
            Source::Engine("true".to_owned())
        );
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().as_os_str().to_owned();
        let text = Source::find_in(Some(home), &["true"])
            .unwrap_err()
            .to_string();
        assert!(text.contains("it has no bin/emqx"), "{text}");
    }
}
