//! A map from topic filters to values that finds all filters matching a topic.
//!
//! Filters without wildcards, by far the most, sit in one hash map and cost one
//! look-up however many there are; the others form a tree, one level per node.

use std::collections::HashMap;

use crate::topic;

/// Values by topic filter.
#[derive(Debug)]
pub(crate) struct TopicMap<T> {
    exact: HashMap<Box<str>, T>,
    wild: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    /// The value of the filter that ends here.
    here: Option<T>,
    /// The value of the filter that ends here with `#` behind.
    rest: Option<T>,
    /// What follows any level (`+`).
    any: Option<Box<Self>>,
    /// What follows one particular level.
    named: HashMap<Box<str>, Self>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            here: None,
            rest: None,
            any: None,
            named: HashMap::new(),
        }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.any.is_none() && self.named.is_empty()
    }
}

impl<T> Default for TopicMap<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wild: Node::default(),
        }
    }
}

impl<T> TopicMap<T> {
    /// The value of a filter, if there is one.
    pub(crate) fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        if !topic::has_wildcard(pattern) {
            return self.exact.get_mut(pattern);
        }
        let mut node = &mut self.wild;
        for level in pattern.split('/') {
            node = match level {
                "#" => return node.rest.as_mut(),
                "+" => node.any.as_mut()?,
                name => node.named.get_mut(name)?,
            };
        }
        node.here.as_mut()
    }

    /// The value of a filter, made first if there is none.
    pub(crate) fn entry(&mut self, pattern: &str) -> &mut T
    where
        T: Default,
    {
        if !topic::has_wildcard(pattern) {
            return self.exact.entry(pattern.into()).or_default();
        }
        let mut node = &mut self.wild;
        for level in pattern.split('/') {
            node = match level {
                "#" => return node.rest.get_or_insert_default(),
                "+" => node.any.get_or_insert_default(),
                name => node.named.entry(name.into()).or_default(),
            };
        }
        node.here.get_or_insert_default()
    }

    /// Takes a filter out, with all nodes that served it alone.
    pub(crate) fn remove(&mut self, pattern: &str) {
        if topic::has_wildcard(pattern) {
            remove_below(&mut self.wild, pattern);
        } else {
            self.exact.remove(pattern);
        }
    }

    /// Calls `visit` with the value of each filter that matches `name`; stops
    /// and returns true as soon as `visit` does.
    pub(crate) fn any_match<'a>(
        &'a self,
        name: &str,
        visit: &mut impl FnMut(&'a T) -> bool,
    ) -> bool {
        if let Some(value) = self.exact.get(name)
            && visit(value)
        {
            return true;
        }
        if self.wild.is_empty() {
            return false;
        }
        if name.starts_with('$') {
            // Wildcards in the first level do not reach `$` topics.
            let (first, rest) = split_level(name);
            return self
                .wild
                .named
                .get(first)
                .is_some_and(|node| visit_below(node, rest, visit));
        }
        visit_below(&self.wild, Some(name), visit)
    }

    /// Calls `visit` with the value of each filter that matches `name`.
    pub(crate) fn for_each_match<'a>(&'a self, name: &str, mut visit: impl FnMut(&'a T)) {
        self.any_match(name, &mut |value| {
            visit(value);
            false
        });
    }
}

/// The first level, and what follows behind its slash.
fn split_level(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

/// `rest` is what of the topic is left below `node`, `None` at its end.
fn visit_below<'a, T>(
    node: &'a Node<T>,
    rest: Option<&str>,
    visit: &mut impl FnMut(&'a T) -> bool,
) -> bool {
    // `a/#` also matches `a`.
    if node.rest.as_ref().is_some_and(&mut *visit) {
        return true;
    }
    let Some(rest) = rest else {
        return node.here.as_ref().is_some_and(visit);
    };
    let (level, below) = split_level(rest);
    if let Some(child) = node.named.get(level)
        && visit_below(child, below, visit)
    {
        return true;
    }
    match &node.any {
        Some(child) => visit_below(child, below, visit),
        None => false,
    }
}

/// Removes a pattern and reports nothing; empty nodes on its path go with it.
fn remove_below<T>(node: &mut Node<T>, pattern: &str) {
    let (level, below) = split_level(pattern);
    match (level, below) {
        ("#", _) => node.rest = None,
        ("+", below) => {
            if let Some(child) = node.any.as_mut() {
                remove_step(child, below);
                if child.is_empty() {
                    node.any = None;
                }
            }
        }
        (name, below) => {
            if let Some(child) = node.named.get_mut(name) {
                remove_step(child, below);
                if child.is_empty() {
                    node.named.remove(name);
                }
            }
        }
    }
}

fn remove_step<T>(node: &mut Node<T>, below: Option<&str>) {
    match below {
        Some(pattern) => remove_below(node, pattern),
        None => node.here = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            4 => Just("a"),
            4 => Just("b"),
            2 => Just(""),
            1 => Just("$x"),
            3 => Just("+"),
        ]
    }

    fn pattern() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..5), any::<bool>()).prop_map(|(levels, rest)| {
            let mut text = levels.join("/");
            if rest {
                text.push_str("/#");
            }
            text
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("c")],
            1..6,
        )
        .prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn finds_what_the_plain_definition_finds(
            steps in prop::collection::vec((any::<bool>(), pattern()), 1..40),
            names in prop::collection::vec(name(), 1..10),
        ) {
            let mut map = TopicMap::<BTreeSet<String>>::default();
            let mut kept = BTreeSet::new();
            for (add, pattern) in steps {
                if add {
                    map.entry(&pattern).insert(pattern.clone());
                    kept.insert(pattern);
                } else {
                    map.remove(&pattern);
                    kept.remove(&pattern);
                }
            }
            for name in names.iter().chain(["#".to_owned()].iter()) {
                let mut found = Vec::new();
                map.for_each_match(name, |set| found.extend(set.iter().cloned()));
                found.sort();
                let expected: Vec<_> = kept
                    .iter()
                    .filter(|pattern| topic::matches(pattern, name))
                    .cloned()
                    .collect();
                prop_assert_eq!(found, expected, "on {}", name);
            }
        }

        #[test]
        fn nothing_is_left_behind(patterns in prop::collection::vec(pattern(), 1..40)) {
            let mut map = TopicMap::<()>::default();
            for pattern in &patterns {
                map.entry(pattern);
                prop_assert!(map.get_mut(pattern).is_some());
            }
            for pattern in &patterns {
                map.remove(pattern);
                prop_assert!(map.get_mut(pattern).is_none());
            }
            prop_assert!(map.exact.is_empty() && map.wild.is_empty());
        }
    }
}
