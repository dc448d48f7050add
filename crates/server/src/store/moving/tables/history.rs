//! What `history.db` holds: series and time are packed into one number.

use super::{Column, I2, I4, I8, Rows, Table, c, same, table};
use crate::store::moving::kind::Kind::{Bytes, Day, Moment};
use crate::store::sqlite::Database;

pub(super) const TABLES: &[Table] = &[
    table(
        "periods",
        Database::History,
        "periods",
        &["device", "since"],
        &[same("device", I4), same("since", I8), same("period_ms", I8)],
    ),
    table(
        "intake",
        Database::History,
        "inboxes",
        &["device"],
        &[
            same("device", I4),
            c("version", "1", I8),
            c("inbox", "state", Bytes),
        ],
    ),
    table(
        "days",
        Database::History,
        "days",
        &["at"],
        &rollup(
            c("day", "at >> 23", Day),
            c("device", "(at & 8388607) / 33", I4),
            c("socket", "(at & 8388607) % 33", I2),
        ),
    ),
    Table {
        by_time: Some(0),
        ..table(
            "quarters",
            Database::History,
            "quarters",
            &["at"],
            &QUARTERS,
        )
    },
    Table {
        by_time: Some(0),
        ..table(
            "minutes",
            Database::History,
            "minutes",
            &["at"],
            &rollup(
                c("ts", "(at & 67108863) * 60000 + 1577836800000", Moment),
                c("device", "(at >> 26) / 33", I4),
                c("socket", "(at >> 26) % 33", I2),
            ),
        )
    },
    Table {
        rows: Rows::BeforeFloor,
        ..table("remnants", Database::History, "samples", &["at"], &SAMPLES)
    },
    Table {
        rows: Rows::FromFloor,
        by_time: Some(0),
        ..table("samples", Database::History, "samples", &["at"], &SAMPLES)
    },
];

/// A quarter-hour is an hour and a number from 0 to 3.
const QUARTERS: [Column; 15] = {
    let rest = rollup(
        c(
            "hour",
            "((at & 67108863) / 4) * 3600000 + 1577836800000",
            Moment,
        ),
        c("device", "(at >> 26) / 33", I4),
        c("socket", "(at >> 26) % 33", I2),
    );
    let mut all = [c("quarter", "(at & 67108863) % 4", I2); 15];
    let mut at = 0;
    while at < rest.len() {
        all[at] = rest[at];
        at += 1;
    }
    all
};

const SAMPLES: [Column; 8] = [
    c("ts", "(at & 2199023255551) + 1577836800000", Moment),
    c("device", "((at >> 41) & 8388607) / 33", I4),
    c("socket", "((at >> 41) & 8388607) % 33", I2),
    same("power_dw", I4),
    c("voltage_dv", "voltage_off_dv + 2300", I2),
    same("current_ma", I4),
    same("energy_dwh", I8),
    same("power_factor_centi", I2),
];

/// The columns of a rollup behind its key.
const fn rollup(at: Column, device: Column, socket: Column) -> [Column; 14] {
    [
        at,
        device,
        socket,
        same("count", I4),
        same("covered_ms", I4),
        same("power_dwms", I8),
        same("power_min_dw", I4),
        same("power_max_dw", I4),
        same("metered_dwh", I8),
        same("bridged_dwh", I8),
        same("reset_dwh", I8),
        same("rolled_back_dwh", I8),
        same("implausible_dwh", I8),
        same("integrated_dwms", I8),
    ]
}
