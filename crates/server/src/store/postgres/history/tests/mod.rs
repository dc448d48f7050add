//! What history in PostgreSQL and TimescaleDB must do beyond the contract.

mod engines;
mod intake;
mod nodes;
mod people;
mod story;

use dormouse_core::contract::history_store;
use dormouse_core::site::SiteZone;

use super::super::DORMOUSE;
use super::super::testing::open;
use super::*;

/// An empty history on plain PostgreSQL.
async fn plain(zone: SiteZone) -> PostgresHistory {
    let database = dormouse_testbed::postgres::Postgres::shared()
        .database()
        .unwrap();
    let db = open(database.url, &[DORMOUSE, HISTORY]).await;
    PostgresHistory::open(db, zone).await.unwrap()
}

/// An empty history on TimescaleDB.
async fn timescale(zone: SiteZone) -> PostgresHistory {
    let url = dormouse_testbed::timescale::Timescale::shared()
        .schema()
        .unwrap();
    let db = open(url, &[DORMOUSE, HISTORY]).await;
    PostgresHistory::open(db, zone).await.unwrap()
}

#[tokio::test]
async fn keeps_the_history_contract_on_plain_postgresql() {
    history_store(plain).await;
}

#[tokio::test]
async fn keeps_the_history_contract_on_timescaledb() {
    history_store(timescale).await;
}
