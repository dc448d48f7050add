mod discover;
mod walk;

use std::sync::Arc;

use super::*;
use crate::access::Actor;
use crate::acl::Standing;
use crate::clock::ManualClock;
use crate::device::{DeviceSettings, Reported, SettingsEdit};
use crate::memory::{MemoryAudit, MemoryDevices, MemorySettings};
use crate::ports::{AuditQuery, KickReason};
use crate::wire::EnrolBody;

/// Remembers whose sessions were closed, what was handed over, what changed.
#[derive(Debug, Default)]
struct Outside {
    kicked: Mutex<Vec<(DeviceId, KickReason)>>,
    handed_over: Mutex<Vec<EnrolBody>>,
    deaf: Mutex<bool>,
    changes: Mutex<Vec<(DeviceId, DeviceChange)>>,
}

impl SessionControl for Outside {
    fn kick(&self, device: &DeviceId, reason: KickReason) {
        lock(&self.kicked).push((device.clone(), reason));
    }
}

impl EnrolSink for Outside {
    fn hand_over(&self, _device: &DeviceId, credentials: &EnrolBody) -> bool {
        if *lock(&self.deaf) {
            return false;
        }
        lock(&self.handed_over).push(credentials.clone());
        true
    }
}

impl DeviceWatcher for Outside {
    fn changed(&self, device: &Device, change: DeviceChange, _by: &Origin) {
        lock(&self.changes).push((device.id.clone(), change));
    }
}

/// The stores that several processes share.
#[derive(Clone, Default)]
struct Stores {
    devices: Arc<MemoryDevices>,
    settings: Arc<MemorySettings>,
    audit: Arc<MemoryAudit>,
}

struct Node {
    registry: Registry,
    outside: Arc<Outside>,
    clock: Arc<ManualClock>,
}

impl Stores {
    async fn node(&self) -> Node {
        let clock = Arc::new(ManualClock::default());
        let outside = Arc::new(Outside::default());
        let registry = Registry::load(RegistryParts {
            store: self.devices.clone(),
            settings: self.settings.clone(),
            audit: Arc::new(AuditLog::new(self.audit.clone(), clock.clone())),
            sessions: outside.clone(),
            enrol: outside.clone(),
            watchers: vec![outside.clone()],
            clock: clock.clone(),
            join_mode: JoinMode::Approve,
            pending_max: 100,
        });
        Node {
            registry: registry.await.unwrap(),
            outside,
            clock,
        }
    }
}

async fn lone_node() -> Node {
    Stores::default().node().await
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn named(name: &str) -> DeviceSettings {
    DeviceSettings {
        name: name.to_owned(),
        ..DeviceSettings::default()
    }
}

impl Node {
    async fn add(&self, name: &str) -> String {
        let (actor, id) = (Actor::server(), id(name));
        let added = self.registry.add(&actor, &id, named("")).await;
        added.unwrap().1.expose().to_owned()
    }

    async fn standing(&self, name: &str, password: &str) -> Option<Standing> {
        let outcome = self.registry.authenticate(name, password.as_bytes(), None);
        outcome.await.ok().map(|it| it.standing)
    }

    fn join_key(&self) -> String {
        self.registry.join_settings().key.expose().to_owned()
    }
}

#[tokio::test]
async fn a_report_is_there_at_once_and_stored_at_the_next_flush() {
    let stores = Stores::default();
    let node = stores.node().await;
    node.add("a").await;
    let key = node.registry.by_id(&id("a")).unwrap().key;
    let report = Reported {
        firmware: Some("1.4.0".to_owned()),
        ..Reported::default()
    };
    let updated = node.registry.update_report(key, |_| Some(report.clone()));
    assert_eq!(updated.unwrap().0.reported, None);
    let shown = node.registry.by_key(key).unwrap();
    assert_eq!(shown.reported.as_deref(), Some(&report));
    let edit = SettingsEdit {
        name: Some("Desk".to_owned()),
        ..SettingsEdit::default()
    };
    let edited = node
        .registry
        .edit(&Actor::server(), &id("a"), Some(1), edit)
        .await;
    edited.unwrap();
    node.registry.refresh().await.unwrap();
    let shown = node.registry.by_key(key).unwrap();
    assert_eq!(shown.reported.as_deref(), Some(&report), "edits keep it");
    node.registry.flush().await.unwrap();
    let again = stores.node().await.registry.by_key(key).unwrap();
    assert_eq!(again.reported.as_deref(), Some(&report));
    assert!(
        node.registry
            .update_report(DeviceKey(99), |_| Some(report))
            .is_none()
    );
}

#[tokio::test]
async fn a_report_that_its_caller_stores_is_shown_and_left_alone_by_flushes() {
    let stores = Stores::default();
    let node = stores.node().await;
    node.add("a").await;
    let key = node.registry.by_id(&id("a")).unwrap().key;
    let report = Reported::default();
    let shown = node.registry.show_report(key, |_| Some(report.clone()));
    assert_eq!(shown.unwrap().1.reported.as_deref(), Some(&report));
    let device = node.registry.by_key(key).unwrap();
    assert_eq!(device.reported.as_deref(), Some(&report));
    node.registry.flush().await.unwrap();
    let again = stores.node().await.registry.by_key(key).unwrap();
    assert_eq!(again.reported, None);
}

#[tokio::test]
async fn what_another_process_changed_is_taken_over_and_kicked() {
    let stores = Stores::default();
    let (server, shell) = (stores.node().await, stores.node().await);
    let first = shell.add("a").await;
    assert_eq!(server.standing("a", &first).await, None);
    server.registry.refresh().await.unwrap();
    assert_eq!(server.standing("a", &first).await, Some(Standing::Active));

    // Its change comes before ours and must not be missed for that.
    let rotated = shell
        .registry
        .rotate(&Actor::server(), &id("a"))
        .await
        .unwrap();
    server.add("b").await;
    server.registry.refresh().await.unwrap();
    assert_eq!(server.standing("a", &first).await, None);
    assert_eq!(
        server.standing("a", rotated.expose()).await,
        Some(Standing::Active)
    );
    let kicked = lock(&server.outside.kicked).clone();
    assert_eq!(kicked, [(id("a"), KickReason::CredentialsChanged)]);

    shell.registry.refresh().await.unwrap();
    let deleted = shell
        .registry
        .delete(&Actor::server(), &id("b"), None)
        .await;
    deleted.unwrap();
    server.registry.refresh().await.unwrap();
    assert_eq!(server.registry.by_id(&id("b")), None);
    let last = lock(&server.outside.changes).last().cloned();
    assert_eq!(last, Some((id("b"), DeviceChange::Deleted)));
}

#[tokio::test]
async fn a_change_made_on_old_knowledge_is_refused() {
    let stores = Stores::default();
    let (server, shell) = (stores.node().await, stores.node().await);
    server.add("a").await;
    shell.registry.refresh().await.unwrap();
    server
        .registry
        .rotate(&Actor::server(), &id("a"))
        .await
        .unwrap();
    let late = shell.registry.rotate(&Actor::server(), &id("a")).await;
    assert!(matches!(late, Err(RegistryError::Contended)));
    shell.registry.refresh().await.unwrap();
    shell
        .registry
        .rotate(&Actor::server(), &id("a"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_approval_by_another_process_hands_over_here() {
    let stores = Stores::default();
    let (server, shell) = (stores.node().await, stores.node().await);
    let key = server.join_key();
    assert_eq!(server.standing("a", &key).await, Some(Standing::Joining));
    shell.registry.refresh().await.unwrap();
    *lock(&shell.outside.deaf) = true;
    let edit = SettingsEdit::default();
    let approved = shell
        .registry
        .approve(&Actor::server(), &id("a"), edit)
        .await;
    assert_eq!(approved.unwrap().1, HandOver::NotListening);
    server.registry.refresh().await.unwrap();
    let handed = lock(&server.outside.handed_over).pop().unwrap();
    assert_eq!(
        server.standing("a", &handed.password).await,
        Some(Standing::Active)
    );
}

#[tokio::test]
async fn credentials_nobody_took_are_worth_nothing() {
    let node = lone_node().await;
    let key = node.join_key();
    node.standing("a", &key).await.unwrap();
    let edit = SettingsEdit::default();
    *lock(&node.outside.deaf) = true;
    let approved = node
        .registry
        .approve(&Actor::server(), &id("a"), edit)
        .await;
    assert_eq!(approved.unwrap().1, HandOver::NotListening);
    assert!(
        !node
            .registry
            .has_credentials(node.registry.by_id(&id("a")).unwrap().key)
    );
    *lock(&node.outside.deaf) = false;
    let handed = node.registry.hand_over(&id("a")).await.unwrap();
    assert_eq!(handed, HandOver::Delivered);
    let again = node.registry.hand_over(&id("a")).await.unwrap();
    assert_eq!(again, HandOver::Delivered, "until they are used");
    let newest = lock(&node.outside.handed_over).pop().unwrap();
    assert_eq!(
        node.standing("a", &newest.password).await,
        Some(Standing::Active)
    );
    let done = node.registry.hand_over(&id("a")).await.unwrap();
    assert_eq!(done, HandOver::NotDue);
    let unknown = node.registry.hand_over(&id("z")).await.unwrap();
    assert_eq!(unknown, HandOver::NotDue);
}

#[tokio::test]
async fn every_join_and_change_is_in_the_audit_log() {
    let stores = Stores::default();
    let node = stores.node().await;
    let address = "10.0.0.9".parse().ok();
    let key = node.join_key();
    let joined = node
        .registry
        .authenticate("a", key.as_bytes(), address)
        .await;
    joined.unwrap();
    node.clock.advance(std::time::Duration::from_millis(5));
    node.registry
        .reject(&Actor::server(), &id("a"))
        .await
        .unwrap();
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let entries = node.registry.parts.audit.query(query).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|it| it.action.as_ref()).collect();
    assert_eq!(actions, ["device.reject", "device.join"]);
    assert_eq!(entries[1].actor.address, address);
    assert!(!format!("{entries:?}").contains(&key));
}

#[test]
fn ten_thousand_devices_reconnect_without_a_slow_hash() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let node = lone_node().await;
        let rows = (0..10_000).map(|n| ImportRow {
            line: n + 2,
            content: Ok((id(&format!("s-{n}")), SettingsEdit::default())),
        });
        let everything = crate::access::Grant {
            role: crate::access::Role::Admin,
            scope: crate::access::Scope::site(),
        };
        let (actor, rows) = (Actor::server(), rows.collect());
        let import = node
            .registry
            .import(&actor, &everything, rows, ImportMode::Refuse, false)
            .await;
        let (outcomes, _) = import.unwrap();
        let mut welcome = 0;
        for outcome in outcomes {
            if let RowOutcome::Added(id, Some(password)) = outcome {
                let standing = node.standing(id.as_str(), password.expose()).await;
                welcome += usize::from(standing == Some(Standing::Active));
            }
        }
        assert_eq!(welcome, 10_000);
    });
}
