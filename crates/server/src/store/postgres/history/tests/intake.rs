//! Messages straight into the database, from one node and from several.

use std::sync::Arc;

use dormouse_core::contract::{IntakeStores, intake_store, intake_store_of_nodes};
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
use dormouse_core::ports::intake::{IntakeBatch, IntakeStore};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;
use dormouse_testbed::postgres::Postgres as Server;

use super::super::super::testing::{Engine, on_every_engine, open};
use super::super::super::{DORMOUSE, PostgresDevices, PostgresEvents, PostgresIntake};
use super::story::hour;
use super::{HISTORY, PostgresHistory, history};

fn stores(history: PostgresHistory) -> IntakeStores {
    let history = Arc::new(history);
    IntakeStores {
        intake: Arc::new(PostgresIntake::new(Arc::clone(&history))),
        events: Arc::new(PostgresEvents::new(history.db.clone())),
        devices: Arc::new(PostgresDevices::new(history.db.clone())),
        history,
    }
}

async fn keeps_the_contract(engine: Engine) {
    let open = async || stores(history(engine, SiteZone::UTC).await);
    intake_store(open).await;
    // That one has a single backend for all.
    if engine != Engine::Timescale {
        intake_store_of_nodes(open).await;
    }
}
on_every_engine!(keeps_the_contract);

/// How many messages each node takes in.
const MESSAGES: i64 = 25;
const NODES: i64 = 4;

/// One node: counts the messages of two devices in their inboxes, as it knows
/// them from its cache, or from whoever had the last one.
async fn count(url: &str) {
    let db = open(url, &[DORMOUSE, HISTORY]).await;
    let history = PostgresHistory::open(db, SiteZone::UTC).await.unwrap();
    let intake = PostgresIntake::new(Arc::new(history));
    let mut known = [1, 2].map(|key| (DeviceKey(key), 0_i64, 0_i64));
    for _ in 0..MESSAGES {
        let devices = known.map(|(device, version, _)| (device, version));
        let mut transaction = intake.begin(&devices).await.unwrap();
        for changed in transaction.changed() {
            let own = known.iter_mut().find(|it| it.0 == changed.device).unwrap();
            own.1 = changed.version;
            own.2 = i64::from_be_bytes(changed.bytes[..].try_into().unwrap());
        }
        let mut batch = IntakeBatch::default();
        for (device, version, count) in &mut known {
            (*version, *count) = (*version + 1, *count + 1);
            batch.inboxes.push((*device, count.to_be_bytes().into()));
            let values = Values {
                power_dw: i32::try_from(*count).ok(),
                ..Values::default()
            };
            let sample = Sample {
                socket: SocketId::STRIP,
                ts: hour(*count),
                values,
            };
            batch.samples.push(DeviceSample {
                device: *device,
                sample,
            });
        }
        transaction.commit(batch).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_judge_one_after_another() {
    let url = Server::shared().database().unwrap().url;
    futures_util::future::join_all((0..NODES).map(|_| count(&url))).await;
    let db = open(&url, &[DORMOUSE, HISTORY]).await;
    let history = PostgresHistory::open(db, SiteZone::UTC).await.unwrap();
    for device in [1, 2].map(DeviceKey) {
        let series = SeriesId {
            device,
            socket: SocketId::STRIP,
        };
        let samples = history
            .samples(series, EARLIEST..LATEST, 999)
            .await
            .unwrap();
        let counts: Vec<_> = samples.iter().filter_map(|it| it.values.power_dw).collect();
        let expected: Vec<_> = (1..=100).collect();
        assert_eq!(counts, expected);
    }
}
