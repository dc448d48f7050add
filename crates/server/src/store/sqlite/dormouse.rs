//! The schema of `dormouse.db`: devices, people, events, audit.

use super::Migration;

/// The steps, oldest first.
pub const DORMOUSE: &[Migration] = &[
    Migration {
        name: "0001_devices",
        sql: include_str!("../../../migrations/sqlite/dormouse/0001_devices.sql"),
    },
    Migration {
        name: "0002_people",
        sql: include_str!("../../../migrations/sqlite/dormouse/0002_people.sql"),
    },
    Migration {
        name: "0003_events",
        sql: include_str!("../../../migrations/sqlite/dormouse/0003_events.sql"),
    },
];
