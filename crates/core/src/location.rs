//! Places in the building: `building/floor/room`, and what an id suggests.

/// The deepest a location goes: building, floor, room.
const LEVELS: usize = 3;
/// The longest level, in characters.
const LEVEL_MAX: usize = 32;

/// A text that is not a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a location is up to three levels 'building/floor/room', each 1 to 32 characters without spaces at its ends or control characters"
)]
pub struct InvalidLocation;

/// Checks that `text` is a location, or empty for "unknown".
///
/// # Errors
/// When it is neither.
pub fn check(text: &str) -> Result<(), InvalidLocation> {
    let level_ok = |level: &str| {
        (1..=LEVEL_MAX).contains(&level.chars().count())
            && level.trim() == level
            && !level.contains(char::is_control)
    };
    let ok =
        text.is_empty() || (text.split('/').count() <= LEVELS && text.split('/').all(level_ok));
    if ok { Ok(()) } else { Err(InvalidLocation) }
}

/// Whether `location` is `place` or lies inside it; every place lies inside
/// the empty one.
#[must_use]
pub fn is_inside(location: &str, place: &str) -> bool {
    place.is_empty()
        || location
            .strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The place that an id like `A-302-strip01` suggests: building A, floor 3,
/// room 302. The floor is the room's number without its last two digits.
#[must_use]
pub fn suggest(id: &str) -> Option<String> {
    let mut parts = id.split(['-', '_']);
    let (building, room, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let building_ok = (1..=4).contains(&building.len())
        && building.starts_with(|c: char| c.is_ascii_alphabetic())
        && building.bytes().all(|b| b.is_ascii_alphanumeric());
    let room_ok = matches!(room.len(), 3 | 4)
        && room.bytes().all(|b| b.is_ascii_digit())
        && !room.starts_with('0');
    if building_ok && room_ok && !rest.is_empty() {
        let floor = &room[..room.len() - 2];
        Some(format!("{building}/{floor}/{room}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_building_and_room_suggest_a_place() {
        for (id, place) in [
            ("A-302-strip01", Some("A/3/302")),
            ("B2-1105-strip9", Some("B2/11/1105")),
            ("c_101_x", Some("c/1/101")),
            ("strip01", None),
            ("A-302", None),
            ("A-02-strip", None),
            ("A-302-", None),
            ("302-A-strip", None),
            ("A-012-strip", None),
            ("LONGNAME-302-s", None),
        ] {
            assert_eq!(suggest(id).as_deref(), place, "{id}");
        }
    }

    #[test]
    fn what_is_suggested_is_a_location() {
        assert_eq!(check(&suggest("A-302-strip01").unwrap()), Ok(()));
    }

    #[test]
    fn a_location_has_at_most_three_plain_levels() {
        for good in [
            "",
            "A",
            "A/3",
            "A/3/302",
            "Nordflügel/EG/Küche 2",
            "北楼/3/302",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "/",
            "A/",
            "/A",
            "A//3",
            "A/3/302/1",
            " A",
            "A\n",
            &"x".repeat(33),
        ] {
            assert_eq!(check(bad), Err(InvalidLocation), "{bad:?}");
        }
    }

    #[test]
    fn a_place_holds_whole_levels_only() {
        assert!(is_inside("A/3/302", ""));
        assert!(is_inside("A/3/302", "A/3"));
        assert!(is_inside("A/3", "A/3"));
        assert!(!is_inside("A/30", "A/3"));
        assert!(!is_inside("", "A"));
    }
}
