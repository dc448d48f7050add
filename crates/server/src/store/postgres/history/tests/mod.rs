//! What history in PostgreSQL and TimescaleDB must do beyond the contract.

mod engines;
mod intake;
mod nodes;
mod people;
mod story;

use dormouse_core::contract::history_store;
use dormouse_core::site::SiteZone;
use dormouse_testbed::postgres::Postgres as Server;

use super::super::DORMOUSE;
use super::super::testing::{Engine, on_every_engine, open};
use super::*;

/// An empty history.
async fn history(engine: Engine, zone: SiteZone) -> PostgresHistory {
    let db = open(engine.url(), &[DORMOUSE, HISTORY]).await;
    PostgresHistory::open(db, zone).await.unwrap()
}

/// An empty history on plain PostgreSQL.
async fn plain(zone: SiteZone) -> PostgresHistory {
    let url = Server::shared().database().unwrap().url;
    let db = open(url, &[DORMOUSE, HISTORY]).await;
    PostgresHistory::open(db, zone).await.unwrap()
}

/// An empty history on TimescaleDB.
async fn timescale(zone: SiteZone) -> PostgresHistory {
    history(Engine::Timescale, zone).await
}

async fn keeps_the_contract(engine: Engine) {
    history_store(async |zone| history(engine, zone).await).await;
}
on_every_engine!(keeps_the_contract);
