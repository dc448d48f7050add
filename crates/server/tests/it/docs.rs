//! The documents lead somewhere and name the settings that there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dormouse::config::DEFAULT_TOML;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// Every document of the project.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            let others = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !path.is_symlink() && !others {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// A document's lines outside its blocks of code.
fn prose(document: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut in_code = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    });
    outside.map(str::to_owned).collect()
}

/// What a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_matches(['#', ' ']).chars();
    kept.filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
        .map(|it| if it == ' ' { '-' } else { it })
        .flat_map(char::to_lowercase)
        .collect()
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        document.to_owned()
    } else {
        document.with_file_name(path)
    };
    if heading.is_empty() || target.extension().is_none_or(|it| it != "md") {
        return target.exists();
    }
    target.is_file()
        && prose(&target)
            .iter()
            .any(|line| line.starts_with('#') && anchor(line) == heading)
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 20, "the documents are found");
    let mut dead = Vec::new();
    for document in documents {
        for line in prose(&document) {
            let links = line
                .split("](")
                .skip(1)
                .filter_map(|it| it.split(')').next());
            let ours = links.filter(|it| !it.contains("://"));
            let missing = ours.filter(|it| !leads_somewhere(&document, it));
            dead.extend(missing.map(|it| format!("{}: {it}", document.display())));
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_page_of_settings_names_those_that_there_are() {
    let defaults: toml::Table = toml::from_str(DEFAULT_TOML).unwrap();
    let keys = |section: &str, values: &toml::Value| {
        let names = values.as_table().unwrap().keys();
        names
            .map(|it| format!("{section}.{it}"))
            .collect::<Vec<_>>()
    };
    let settings: BTreeSet<String> = defaults.iter().flat_map(|(s, v)| keys(s, v)).collect();
    let page = prose(&root().join("docs/settings.md")).join("\n");
    let in_code = page.split('`').skip(1).step_by(2);
    let is_setting = |it: &&str| {
        it.split_once('.')
            .is_some_and(|it| defaults.contains_key(it.0))
    };
    let named: BTreeSet<String> = in_code.filter(is_setting).map(str::to_owned).collect();
    assert_eq!(named, settings);
}
