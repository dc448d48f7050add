//! Hooks that can be told what to do and remember what they heard.

use std::collections::HashSet;
use std::sync::Mutex;

use async_trait::async_trait;
use dormouse_broker::{
    Ack, Attempt, ConnectRefused, ConnectRequest, Disconnect, Hooks, Identity, IdentityConflict,
    Inbound, Origin, PublishVerdict, QoS, Refusal, Routing, Session,
};
use tokio::sync::Notify;

/// What the hooks do with a publication.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Acknowledge at once.
    #[default]
    AtOnce,
    /// Keep the acknowledgements for the test to resolve.
    Hold,
    /// Acknowledge at once, pass on to nobody.
    Swallow,
}

/// Hooks for tests. `device-…` names are exclusive identities; the password of
/// everyone who gives a name is `secret`.
#[derive(Default)]
pub(crate) struct TestHooks {
    pub(crate) commit: Mutex<Commit>,
    pub(crate) acks: Mutex<Vec<Ack>>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) denied: Mutex<HashSet<String>>,
    /// Lets one client with the name `slow` be authenticated.
    pub(crate) gate: Notify,
}

impl TestHooks {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    pub(crate) fn set_commit(&self, commit: Commit) {
        *self.commit.lock().unwrap() = commit;
    }

    pub(crate) fn deny(&self, topic: &str) {
        self.denied.lock().unwrap().insert(topic.into());
    }

    pub(crate) fn take_acks(&self) -> Vec<Ack> {
        std::mem::take(&mut self.acks.lock().unwrap())
    }

    pub(crate) fn heard(&self, line: &str) -> bool {
        self.log.lock().unwrap().iter().any(|other| other == line)
    }

    pub(crate) fn count(&self, start: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.starts_with(start)).count()
    }
}

#[async_trait]
impl Hooks for TestHooks {
    async fn authenticate(&self, request: &ConnectRequest<'_>) -> Result<Identity, ConnectRefused> {
        if request.username == Some("slow") {
            self.note("authenticating slow".into());
            self.gate.notified().await;
        }
        match (request.username, request.password) {
            (None, _) => Ok(Identity::shared("anonymous")),
            (Some(name), Some(b"secret")) if name.starts_with("device-") => {
                Ok(Identity::exclusive(name))
            }
            (Some(name), Some(b"secret")) => Ok(Identity::shared(name)),
            (Some(_), _) => Err(ConnectRefused::BadCredentials),
        }
    }

    fn authorize_publish(&self, _: &Session, topic: &str, _: bool, _: QoS) -> PublishVerdict {
        if self.denied.lock().unwrap().contains(topic) {
            PublishVerdict::Deny
        } else {
            PublishVerdict::Allow
        }
    }

    fn authorize_subscribe(&self, _: &Session, filter: &str) -> bool {
        !self.denied.lock().unwrap().contains(filter)
    }

    fn publish(&self, session: &Session, message: &Inbound<'_>, ack: Ack) -> Routing {
        assert!(!message.payload.starts_with(b"panic"), "asked to panic");
        let kind = match message.origin {
            Origin::Client => "publish",
            Origin::Will => "will",
        };
        let payload = String::from_utf8_lossy(message.payload);
        self.note(format!(
            "{kind} {} {} {payload}",
            session.client_id(),
            message.topic
        ));
        let commit = *self.commit.lock().unwrap();
        match commit {
            Commit::Hold if ack.is_awaited() => self.acks.lock().unwrap().push(ack),
            Commit::AtOnce | Commit::Hold | Commit::Swallow => ack.done(),
        }
        match commit {
            Commit::AtOnce | Commit::Hold => Routing::Subscribers,
            Commit::Swallow => Routing::Nobody,
        }
    }

    fn subscribed(&self, session: &Session, filter: &str) {
        self.note(format!("subscribed {} {filter}", session.client_id()));
    }

    fn connected(&self, session: &Session) {
        self.note(format!("connected {}", session.client_id()));
    }

    fn disconnected(&self, session: &Session, reason: &Disconnect) {
        self.note(format!("disconnected {}: {reason}", session.client_id()));
        assert!(!session.client_id().starts_with("panic"), "asked to panic");
    }

    fn refused(&self, _: &Attempt<'_>, reason: &Refusal) {
        self.note(format!("refused: {reason}"));
    }

    fn identity_conflict(&self, conflict: &IdentityConflict<'_>) {
        self.note(format!("conflict {} {}", conflict.identity, conflict.swaps));
    }
}
