use dormouse_core::clock::Timestamp;
use dormouse_core::contract;
use dormouse_core::device::{DeviceSettings, DeviceState};
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{DeviceAccess, NewDevice};
use dormouse_core::secret::Secret;

use super::super::testing::{Engine, on_every_engine, plain};
use super::*;

async fn keeps_the_contract(engine: Engine) {
    contract::device_store(&PostgresDevices::new(engine.open().await)).await;
}
on_every_engine!(keeps_the_contract);

fn new(id: &str, state: DeviceState, access: DeviceAccess) -> NewDevice {
    NewDevice {
        id: DeviceId::parse(id).unwrap(),
        state,
        settings: DeviceSettings::default(),
        access,
        created_at: Timestamp::from_millis(1),
    }
}

async fn insert(store: &PostgresDevices, insert: Vec<NewDevice>) {
    let swap = Vec::new();
    let written = store.write(DeviceWrites { insert, swap }).await.unwrap();
    assert!(matches!(written, Written::All(_)), "{written:?}");
}

/// Whoever has seen a revision has seen all before it, whoever writes.
#[tokio::test]
async fn writers_at_once_leave_no_hole_behind_a_reader() {
    let store = PostgresDevices::new(plain().await);
    let write = async |writer: u32| {
        for count in 0..25 {
            let id = format!("strip-{writer}-{count}");
            insert(
                &store,
                vec![new(&id, DeviceState::Active, DeviceAccess::None)],
            )
            .await;
        }
    };
    let read = async {
        let (mut seen, mut last) = (0, 0);
        while seen < 100 {
            for device in store.changed_since(last).await.unwrap() {
                seen += 1;
                assert_eq!(device.revision, last + 1);
                last = device.revision;
            }
        }
    };
    tokio::join!(write(1), write(2), write(3), write(4), read);
}

async fn brokers_see_who_may_sign_in(engine: Engine) {
    let database = engine.open().await;
    let store = PostgresDevices::new(database.clone());
    let digest = || DeviceDigest::of(&Secret::new("hunter2"));
    let (active, pending) = (DeviceState::Active, DeviceState::Pending);
    insert(
        &store,
        vec![
            new("own", active, DeviceAccess::Credentials(digest())),
            new("handed", active, DeviceAccess::Joining(Some(digest()))),
            new("knocks", pending, DeviceAccess::Joining(None)),
            new("revoked", active, DeviceAccess::None),
            new("waits", pending, DeviceAccess::Credentials(digest())),
            new("no", DeviceState::Rejected, DeviceAccess::Joining(None)),
        ],
    )
    .await;
    let settings = "INSERT INTO settings VALUES ('join-key', 'sesame')";
    database.execute(settings, &[]).await.unwrap();
    // What a broker does with the row: SHA-512 of password and salt.
    let who = async |password: &str| -> Vec<String> {
        let sql = "SELECT username FROM mqtt_credentials WHERE NOT is_superuser
            AND password_hash = encode(sha512(convert_to($1 || salt, 'UTF8')), 'hex')
            ORDER BY username";
        let rows = database.query(sql, &[&password]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(who("hunter2").await, ["handed", "own"]);
    assert_eq!(who("sesame").await, ["knocks"]);
    let closed = "INSERT INTO settings VALUES ('join-mode', 'closed')";
    database.execute(closed, &[]).await.unwrap();
    assert_eq!(who("sesame").await, Vec::<String>::new());
}
on_every_engine!(brokers_see_who_may_sign_in);
