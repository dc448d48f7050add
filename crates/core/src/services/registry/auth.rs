//! A device signs in.

use std::net::IpAddr;

use serde_json::json;

use super::{AuthRefused, JoinMode, Registry, lock};
use crate::access::Actor;
use crate::acl::Standing;
use crate::device::{DeviceSettings, DeviceState};
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey};
use crate::location;
use crate::ports::{DeviceAccess, DeviceChange, DeviceWrites, NewDevice, Written};

/// Who a session belongs to; travels with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The device's key.
    pub key: DeviceKey,
    /// Its id.
    pub id: DeviceId,
    /// How it got in.
    pub standing: Standing,
}

/// What the index says to a name and password.
enum Judgement {
    Welcome(SessionIdentity),
    Refused(AuthRefused),
    /// The join key is right and the id unknown.
    Stranger,
}

impl Registry {
    /// Lets a device in by its credentials, or by the join key: an id that
    /// nobody knows is put into the inbox, or taken at once in the mode
    /// `open`. The key is never good for an id that has credentials, unless
    /// they were handed over and not used yet.
    ///
    /// # Errors
    /// Why it may not connect.
    pub async fn authenticate(
        &self,
        username: &str,
        password: &[u8],
        address: Option<IpAddr>,
    ) -> Result<SessionIdentity, AuthRefused> {
        let id = DeviceId::parse(username).map_err(|_| AuthRefused::BadCredentials)?;
        match self.judge(&id, password) {
            Judgement::Welcome(identity) => {
                self.note_address(&identity, address);
                Ok(identity)
            }
            Judgement::Refused(refused) => Err(refused),
            Judgement::Stranger => self.admit(id, address).await,
        }
    }

    fn judge(&self, id: &DeviceId, password: &[u8]) -> Judgement {
        let found = {
            let index = self.read();
            index.by_id(id).map(|entry| {
                let device = &entry.device;
                (device.key, device.state, entry.access.clone())
            })
        };
        let welcome = |key, standing| {
            Judgement::Welcome(SessionIdentity {
                key,
                id: id.clone(),
                standing,
            })
        };
        let Some((key, state, access)) = found else {
            return self.judge_join(password).unwrap_or(Judgement::Stranger);
        };
        match (access, state) {
            (DeviceAccess::Credentials(digest), DeviceState::Active) => {
                if digest.matches(password) {
                    welcome(key, Standing::Active)
                } else {
                    Judgement::Refused(AuthRefused::BadCredentials)
                }
            }
            (DeviceAccess::Joining(Some(digest)), DeviceState::Active)
                if digest.matches(password) =>
            {
                self.first_use(key, digest);
                welcome(key, Standing::Active)
            }
            (DeviceAccess::Joining(_), DeviceState::Active | DeviceState::Pending) => self
                .judge_join(password)
                .unwrap_or_else(|| welcome(key, Standing::Joining)),
            (DeviceAccess::Joining(_), DeviceState::Rejected) => self
                .judge_join(password)
                .unwrap_or(Judgement::Refused(AuthRefused::Rejected)),
            (DeviceAccess::None, _)
            | (DeviceAccess::Credentials(_), DeviceState::Pending | DeviceState::Rejected)
            | (_, DeviceState::Deleted) => Judgement::Refused(AuthRefused::BadCredentials),
        }
    }

    /// Why the join key does not let in with `password`; `None` where it does.
    fn judge_join(&self, password: &[u8]) -> Option<Judgement> {
        let join = self.join_settings();
        if !join.key.matches(password) {
            Some(Judgement::Refused(AuthRefused::BadCredentials))
        } else if join.mode == JoinMode::Closed {
            Some(Judgement::Refused(AuthRefused::Closed))
        } else {
            None
        }
    }

    /// The credentials handed over have arrived: the join key is over for
    /// this device.
    pub(super) fn first_use(&self, key: DeviceKey, digest: crate::secret::DeviceDigest) {
        if let Some(entry) = self.write().by_key_mut(key)
            && entry.access == DeviceAccess::Joining(Some(digest.clone()))
        {
            entry.access = DeviceAccess::Credentials(digest.clone());
        }
        lock(&self.dirty).joined.insert(key, digest);
    }

    /// Puts a stranger with the join key into the inbox, or takes it.
    async fn admit(
        &self,
        id: DeviceId,
        address: Option<IpAddr>,
    ) -> Result<SessionIdentity, AuthRefused> {
        let writing = self.writing.lock().await;
        let state = match self.join_settings().mode {
            JoinMode::Open => DeviceState::Active,
            JoinMode::Approve => DeviceState::Pending,
            JoinMode::Closed => return Err(AuthRefused::Closed),
        };
        if state == DeviceState::Pending && self.pending() >= self.parts.pending_max {
            return Err(AuthRefused::InboxFull);
        }
        let new = NewDevice {
            id: id.clone(),
            state,
            settings: DeviceSettings {
                location: location::suggest(id.as_str()).unwrap_or_default(),
                ..DeviceSettings::default()
            },
            access: DeviceAccess::Joining(None),
            created_at: self.parts.clock.now(),
        };
        let writes = DeviceWrites {
            insert: vec![new],
            swap: Vec::new(),
        };
        let stored = match self.parts.store.write(writes).await? {
            Written::All(stored) => stored,
            // Added by another process a moment ago; the device tries again.
            Written::Taken(_) | Written::Stale => return Err(AuthRefused::BadCredentials),
        };
        let mut identity = Err(AuthRefused::BadCredentials);
        for device in stored {
            identity = Ok(SessionIdentity {
                key: device.device.key,
                id: id.clone(),
                standing: Standing::Joining,
            });
            self.take_over(device, Some(DeviceChange::Added), &Origin::Device);
        }
        drop(writing);
        let identity = identity?;
        self.note_address(&identity, address);
        let actor = Actor {
            origin: Origin::Device,
            address,
        };
        let data = json!({ "state": state.as_str() });
        let target = format!("device:{id}");
        self.parts
            .audit
            .write(&actor, "device.join", target, data)
            .await?;
        Ok(identity)
    }

    fn note_address(&self, identity: &SessionIdentity, address: Option<IpAddr>) {
        let waits = identity.standing == Standing::Joining
            && self
                .by_key(identity.key)
                .is_some_and(|it| it.state == DeviceState::Pending);
        if waits {
            let mut knocks = lock(&self.knocks);
            if knocks.len() < self.parts.pending_max || knocks.contains_key(&identity.key) {
                knocks.entry(identity.key).or_default().address = address;
            }
        }
    }
}
