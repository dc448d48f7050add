//! With a real Mosquitto that reads the files.

use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::device::{DeviceSettings, DeviceState};
use dormouse_core::health::{HealthRegistry, PartState, Serves};
use dormouse_core::memory::MemoryDevices;
use dormouse_core::ports::{DeviceAccess, DeviceWrites, NewDevice, StoredDevice, Written};
use dormouse_core::secret::{DeviceDigest, Secret};
use dormouse_testbed::mosquitto::{Mosquitto, Options};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::brokers::mosquitto::acl_file;
use crate::brokers::{Accounts, Rules};
use crate::check::{Target, TestLogin, TestProbe, Trust};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    broker: Mosquitto,
    devices: Arc<MemoryDevices>,
    files: Arc<MosquittoFiles>,
    health: Arc<HealthRegistry>,
    _worker: AbortOnDropHandle<()>,
}

fn rules() -> Rules {
    Rules {
        topics: Topics::default(),
        accounts: Accounts {
            nodes: "_dormouse".parse().unwrap(),
            check: "_check".parse().unwrap(),
        },
    }
}

impl Bench {
    fn start(reload: impl FnOnce(&Mosquitto) -> Reload) -> Self {
        let options = Options {
            users: vec![("_dormouse".to_owned(), "nodes".to_owned())],
            acl: Some(acl_file(&rules(), Some(&Credentials::new()))),
            settings: "pid_file {folder}/pid\n".to_owned(),
            ..Options::default()
        };
        let broker = Mosquitto::start(&options).unwrap();
        let settings = FilesSettings {
            password_file: broker.file("passwords"),
            acl_file: Some(broker.file("acl")),
            reload: reload(&broker),
        };
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let part = health.add("mosquitto", "mosquitto", Serves::Other, false);
        let devices = Arc::new(MemoryDevices::default());
        let store = Arc::clone(&devices) as Arc<dyn DeviceStore>;
        let (files, worker) = MosquittoFiles::new(settings, Topics::default(), store, part);
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        let worker = tokio::spawn(async move {
            worker.run(CancellationToken::new()).await.unwrap();
        });
        Self {
            broker,
            devices,
            files,
            health,
            _worker: AbortOnDropHandle::new(worker),
        }
    }

    fn target(&self) -> Target {
        let url = format!("mqtt://127.0.0.1:{}", self.broker.port());
        Target::parse(&url, Trust::default()).unwrap()
    }

    async fn add(&self, id: &str, password: &str) -> StoredDevice {
        let new = NewDevice {
            id: DeviceId::parse(id).unwrap(),
            state: DeviceState::Active,
            settings: DeviceSettings::default(),
            access: DeviceAccess::Credentials(DeviceDigest::of(&Secret::new(password))),
            created_at: Timestamp::from_millis(0),
        };
        let writes = DeviceWrites {
            insert: vec![new],
            swap: Vec::new(),
        };
        let stored = self.write(writes).await;
        self.files
            .changed(&stored.device, DeviceChange::Added, &Origin::Server);
        stored
    }

    /// Gives `stored` another access.
    async fn change(&self, mut stored: StoredDevice, access: DeviceAccess) {
        stored.device.version += 1;
        stored.access = access;
        let writes = DeviceWrites {
            insert: Vec::new(),
            swap: vec![stored.clone()],
        };
        self.write(writes).await;
        self.files.kick(&stored.device.id, KickReason::Revoked);
    }

    async fn write(&self, writes: DeviceWrites) -> StoredDevice {
        match self.devices.write(writes).await.unwrap() {
            Written::All(mut all) => all.remove(0),
            other @ (Written::Taken(_) | Written::Stale) => panic!("{other:?}"),
        }
    }

    /// Signs in as soon as the broker knows the device.
    async fn sign_in(&self, id: &str, password: &str) -> TestProbe {
        let login = TestLogin {
            will: Some((format!("dorm/{id}/status"), "a will".to_owned())),
            ..TestLogin::new(id, &Secret::new(password))
        };
        let all = async {
            loop {
                if let Ok(probe) = TestProbe::connect(&self.target(), &login).await {
                    return probe;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap()
    }

    /// Waits until the broker ends the session.
    async fn ends(&self, mut probe: TestProbe, topic: &str) {
        let all = async { while probe.publish(topic, "x", false).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
    }
}

fn by_pid(broker: &Mosquitto) -> Reload {
    Reload::PidFile(broker.file("pid"))
}

#[tokio::test]
async fn devices_come_and_go_with_the_files() {
    let bench = Bench::start(by_pid);
    let (stays, goes) = (bench.add("A-1", "one").await, bench.add("A-2", "two").await);
    let mut staying = bench.sign_in("A-1", "one").await;
    let going = bench.sign_in("A-2", "two").await;
    let mut nodes = bench.sign_in("_dormouse", "nodes").await;
    nodes.subscribe("dorm/+/status").await.unwrap();

    bench.change(goes, DeviceAccess::None).await;
    bench.ends(going, "dorm/A-2/telemetry").await;
    let login = TestLogin::new("A-2", &Secret::new("two"));
    assert!(TestProbe::connect(&bench.target(), &login).await.is_err());

    // The other one's session did not notice, and there was no will.
    staying
        .publish("dorm/A-1/status", "still here", false)
        .await
        .unwrap();
    assert!(nodes.sees("still here", PATIENCE).await);
    let all = nodes.everything(Duration::from_millis(100)).await;
    assert_eq!(all.len(), 1, "{all:?}");

    // New credentials end the session with the old ones.
    let digest = DeviceDigest::of(&Secret::new("another"));
    bench.change(stays, DeviceAccess::Credentials(digest)).await;
    bench.ends(staying, "dorm/A-1/telemetry").await;
    bench.sign_in("A-1", "another").await.close().await;
    assert_eq!(bench.health.all()["mosquitto"].state, PartState::Up);
}

#[tokio::test]
async fn a_command_reloads_too() {
    let bench = Bench::start(|broker| {
        let pid = broker.file("pid");
        Reload::Command(format!("kill -HUP $(cat '{}')", pid.display()))
    });
    bench.add("A-1", "one").await;
    bench.sign_in("A-1", "one").await.close().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_names_the_setting() {
    let broken = |reload: Reload, acl: &str| {
        let folder = tempfile::tempdir().unwrap();
        let passwords = folder.path().join("passwords");
        let acl_path = folder.path().join("acl");
        std::fs::write(&passwords, "").unwrap();
        std::fs::write(&acl_path, acl).unwrap();
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let settings = FilesSettings {
            password_file: passwords,
            acl_file: Some(acl_path),
            reload,
        };
        let devices = Arc::new(MemoryDevices::default());
        let part = health.add("mosquitto", "mosquitto", Serves::Other, false);
        let (_, worker) = MosquittoFiles::new(settings, Topics::default(), devices, part);
        (folder, worker)
    };
    let ours = acl_file(&rules(), None);
    let true_command = || Reload::Command("true".to_owned());
    let (_folder, fine) = broken(true_command(), &ours);
    fine.update().await.unwrap();
    let no_pid = Reload::PidFile("/nowhere/pid".into());
    for (reload, acl, expected) in [
        (no_pid, ours.as_str(), "mosquitto.pid_file: /nowhere/pid"),
        (
            Reload::Command("exit 3".to_owned()),
            ours.as_str(),
            "mosquitto.reload_command: ended with exit status: 3",
        ),
        (
            true_command(),
            "topic readwrite #\n",
            "mosquitto.acl_file: ",
        ),
    ] {
        let (_folder, worker) = broken(reload, acl);
        let error = worker.update().await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let (folder, gone) = broken(true_command(), &ours);
    drop(folder);
    let error = gone.update().await.unwrap_err().to_string();
    assert!(error.starts_with("mosquitto.password_file: "), "{error}");
}
