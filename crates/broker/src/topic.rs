//! The grammar of topic names and topic filters.

/// The longest topic that MQTT can carry, in bytes.
const MAX_BYTES: usize = 65_535;

/// Why a topic name or filter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It is empty.
    #[error("a topic has at least one character")]
    Empty,
    /// It is longer than MQTT can carry.
    #[error("a topic has at most 65535 bytes")]
    TooLong,
    /// It holds a null character.
    #[error("a topic holds no null character")]
    Null,
    /// A topic name holds `+` or `#`.
    #[error("a topic name holds no wildcard")]
    Wildcard,
    /// A filter has `+` inside a level, or `#` elsewhere than as its last level.
    #[error("`+` stands for a whole level, `#` for all last ones")]
    MisplacedWildcard,
    /// `$share` without a group and a filter.
    #[error("a shared subscription is `$share/GROUP/FILTER`")]
    BadShare,
    /// It has more levels than the limit.
    #[error("a topic has at most {MAX_LEVELS} levels")]
    TooDeep,
}

/// How many levels a topic may have; bounds the work of matching.
pub(crate) const MAX_LEVELS: usize = 128;

/// Checks the name of a topic that is published to.
///
/// # Errors
/// [`TopicError`] with the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > MAX_BYTES {
        return Err(TopicError::TooLong);
    }
    let mut levels = 1;
    for byte in name.bytes() {
        match byte {
            0 => return Err(TopicError::Null),
            b'+' | b'#' => return Err(TopicError::Wildcard),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > MAX_LEVELS {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

/// A checked topic filter, with the group if it is a shared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    /// The group of `$share/GROUP/FILTER`.
    pub(crate) group: Option<&'a str>,
    /// What is matched.
    pub(crate) pattern: &'a str,
}

impl<'a> Filter<'a> {
    /// Parses a filter as clients send it.
    ///
    /// # Errors
    /// [`TopicError`] with the rule that it breaks.
    pub(crate) fn parse(text: &'a str) -> Result<Self, TopicError> {
        let (group, pattern) = match text.strip_prefix("$share/") {
            None if text == "$share" => return Err(TopicError::BadShare),
            None => (None, text),
            Some(rest) => {
                let (group, pattern) = rest.split_once('/').ok_or(TopicError::BadShare)?;
                if group.is_empty() || pattern.is_empty() || group.contains(['+', '#']) {
                    return Err(TopicError::BadShare);
                }
                (Some(group), pattern)
            }
        };
        check_pattern(pattern)?;
        Ok(Self { group, pattern })
    }
}

fn check_pattern(pattern: &str) -> Result<(), TopicError> {
    if pattern.is_empty() {
        return Err(TopicError::Empty);
    }
    if pattern.len() > MAX_BYTES {
        return Err(TopicError::TooLong);
    }
    if pattern.contains('\0') {
        return Err(TopicError::Null);
    }
    let mut levels = pattern.split('/').peekable();
    let mut count = 0;
    while let Some(level) = levels.next() {
        count += 1;
        let misplaced = match level {
            "#" => levels.peek().is_some(),
            "+" => false,
            other => other.contains(['+', '#']),
        };
        if misplaced {
            return Err(TopicError::MisplacedWildcard);
        }
    }
    if count > MAX_LEVELS {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

/// Whether a filter's pattern holds a wildcard.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['+', '#'])
}

/// Whether a filter's pattern matches a topic name: the plain definition, level
/// by level. Wildcards at the start do not reach topics that begin with `$`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in pattern.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            Some(_) | None => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_standard_says() {
        for (pattern, name, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/x",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("#", "/", true),
            ("+", "/finance", false),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("sport/tennis/+", "sport/tennis/a/b", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a/B", "a/b", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn bad_filters_name_the_rule_they_break() {
        for (filter, error) in [
            ("", TopicError::Empty),
            ("a/#/b", TopicError::MisplacedWildcard),
            ("a#", TopicError::MisplacedWildcard),
            ("a/b+", TopicError::MisplacedWildcard),
            ("$share/g", TopicError::BadShare),
            ("$share//a", TopicError::BadShare),
            ("$share/g/", TopicError::BadShare),
            ("$share/+/a", TopicError::BadShare),
            ("$share", TopicError::BadShare),
            ("a\0", TopicError::Null),
        ] {
            assert_eq!(Filter::parse(filter), Err(error), "{filter:?}");
        }
        let deep = "/".repeat(MAX_LEVELS);
        assert_eq!(Filter::parse(&deep), Err(TopicError::TooDeep));
        assert_eq!(check_name(&deep), Err(TopicError::TooDeep));
        assert_eq!(check_name("a/+"), Err(TopicError::Wildcard));
    }

    #[test]
    fn a_shared_filter_splits_into_group_and_pattern() {
        let filter = Filter::parse("$share/g/a/#").unwrap();
        assert_eq!(filter.group, Some("g"));
        assert_eq!(filter.pattern, "a/#");
    }
}
