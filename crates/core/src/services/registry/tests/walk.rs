//! Any walk of devices, administrators and two processes over one store.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Something that happens to one of a few devices, at one of two processes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Administer(Deed),
    Join,
    HandOver,
    UseHandedOver,
    Flush,
    Restart,
}

/// What an administrator does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Add,
    Rotate,
    Revoke,
    Delete,
    Rename(u8),
    Approve { listens: bool },
    Reject,
}

fn steps() -> impl Strategy<Value = Vec<(bool, u8, Step)>> {
    let deed = prop_oneof![
        Just(Deed::Add),
        Just(Deed::Rotate),
        Just(Deed::Revoke),
        Just(Deed::Delete),
        any::<u8>().prop_map(Deed::Rename),
        any::<bool>().prop_map(|listens| Deed::Approve { listens }),
        Just(Deed::Reject),
    ];
    let step = prop_oneof![
        6 => deed.prop_map(Step::Administer),
        2 => Just(Step::Join),
        1 => Just(Step::HandOver),
        2 => Just(Step::UseHandedOver),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec((any::<bool>(), 0..3_u8, step), 1..60)
}

/// What must hold of one device: the only password that lets it in, and
/// whether the join key does.
#[derive(Debug, Default, Clone)]
struct Model {
    password: Option<String>,
    handed_over: Option<String>,
    joins: bool,
}

impl Model {
    fn with_password(password: &str) -> Self {
        Self {
            password: Some(password.to_owned()),
            ..Self::default()
        }
    }

    fn stranger() -> Self {
        Self {
            joins: true,
            ..Self::default()
        }
    }
}

/// What an administrator does.
async fn administer(node: &Node, name: &str, deed: Deed, model: &mut Model) {
    let (actor, id) = (Actor::server(), id(name));
    let registry = &node.registry;
    match deed {
        Deed::Add => {
            if let Ok((_, password)) = registry.add(&actor, &id, named("")).await {
                *model = Model::with_password(password.expose());
            }
        }
        Deed::Rotate => {
            if let Ok(password) = registry.rotate(&actor, &id).await {
                *model = Model::with_password(password.expose());
            }
        }
        Deed::Revoke => {
            if registry.revoke(&actor, &id).await.is_ok() {
                *model = Model::default();
            }
        }
        Deed::Delete => {
            if registry.delete(&actor, &id, None).await.is_ok() {
                *model = Model::stranger();
            }
        }
        Deed::Rename(to) => {
            let edit = SettingsEdit {
                name: Some(to.to_string()),
                ..SettingsEdit::default()
            };
            registry.edit(&actor, &id, None, edit).await.ok();
        }
        Deed::Approve { listens } => {
            *lock(&node.outside.deaf) = !listens;
            let edit = SettingsEdit::default();
            if let Ok((_, handed)) = registry.approve(&actor, &id, edit).await {
                model.joins = true;
                if handed == HandOver::Delivered {
                    model.handed_over = last_handed(node);
                }
            }
        }
        Deed::Reject => {
            if registry.reject(&actor, &id).await.is_ok() {
                model.joins = false;
            }
        }
    }
}

/// What a device does, and the process itself.
async fn take(node: &mut Node, stores: &Stores, name: &str, step: Step, model: &mut Model) {
    let registry = &node.registry;
    match step {
        Step::Join => {
            let joined = node.standing(name, &node.join_key()).await;
            assert_eq!(joined.is_some(), model.joins, "{name}: {model:?}");
        }
        Step::HandOver => {
            *lock(&node.outside.deaf) = false;
            if registry.hand_over(&id(name)).await.unwrap() == HandOver::Delivered {
                model.handed_over = last_handed(node);
            }
        }
        Step::UseHandedOver => {
            if let Some(password) = model.handed_over.take() {
                let standing = node.standing(name, &password).await;
                assert_eq!(standing, Some(Standing::Active), "{name}");
                *model = Model::with_password(&password);
                registry.flush().await.unwrap();
            }
        }
        Step::Flush => registry.flush().await.unwrap(),
        Step::Restart => {
            registry.flush().await.unwrap();
            *node = stores.node().await;
        }
        Step::Administer(deed) => administer(node, name, deed, model).await,
    }
}

fn last_handed(node: &Node) -> Option<String> {
    let handed = lock(&node.outside.handed_over);
    handed.last().map(|it| it.password.clone())
}

async fn agrees(node: &Node, models: &BTreeMap<String, Model>) {
    for (name, model) in models {
        if let Some(password) = &model.password {
            let standing = node.standing(name, password).await;
            assert_eq!(standing, Some(Standing::Active), "{name}");
            let by_key = node.standing(name, &node.join_key()).await;
            assert_eq!(by_key, None, "{name}: the key, beside credentials");
        }
        assert_eq!(node.standing(name, "guess").await, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn index_and_store_agree_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stores = Stores::default();
            let mut nodes = [stores.node().await, stores.node().await];
            let mut models: BTreeMap<String, Model> = (0..3)
                .map(|n| (format!("d{n}"), Model::stranger()))
                .collect();
            for (which, device, step) in steps {
                let name = format!("d{device}");
                let model = models.get_mut(&name).unwrap();
                let node = &mut nodes[usize::from(which)];
                take(node, &stores, &name, step, model).await;
                // Another process reads every change before it acts; hand-overs
                // are for the one that has the session.
                let other = &nodes[usize::from(!which)];
                *lock(&other.outside.deaf) = true;
                other.registry.refresh().await.unwrap();
            }
            let fresh = stores.node().await;
            for node in &nodes {
                node.registry.flush().await.unwrap();
                agrees(node, &models).await;
                for state in [DeviceState::Active, DeviceState::Pending, DeviceState::Rejected] {
                    assert_eq!(node.registry.all(state), fresh.registry.all(state));
                }
                assert_eq!(node.registry.pending(), fresh.registry.pending());
            }
        });
    }
}
