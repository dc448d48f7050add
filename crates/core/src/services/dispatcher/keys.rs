//! Idempotency keys: asking twice is harmless.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::door::Dispatcher;
use super::request::{BatchRequest, BatchStarted, KEY_LIFE, KEY_MAX, SendError, SendRequest, Sent};
use crate::ports::{IdempotencyKey, Made, PortError, Remembered};

impl Dispatcher {
    pub(super) fn key(
        &self,
        caller: &Arc<str>,
        key: &str,
        fingerprint: [u8; 32],
    ) -> Result<IdempotencyKey, SendError> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > KEY_MAX || !visible {
            return Err(SendError::InvalidKey);
        }
        let now = self.clock.now();
        Ok(IdempotencyKey {
            caller: Arc::clone(caller),
            key: key.to_owned(),
            fingerprint,
            used_at: now,
            since: now - KEY_LIFE,
        })
    }

    pub(super) async fn remembered(
        &self,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Remembered>, SendError> {
        let Some(key) = key else { return Ok(None) };
        let found = self
            .store
            .remembered(&key.caller, &key.key, key.since)
            .await?;
        Ok(found)
    }

    pub(super) async fn replay_command(
        &self,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Sent>, SendError> {
        match self.remembered(key).await? {
            Some(found) => self.replayed(key, found).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn replayed(
        &self,
        key: Option<&IdempotencyKey>,
        found: Remembered,
    ) -> Result<Sent, SendError> {
        let same = key.is_some_and(|key| key.fingerprint == found.fingerprint);
        let Made::Command(id) = found.made else {
            return Err(SendError::KeyReused);
        };
        if !same {
            return Err(SendError::KeyReused);
        }
        let missing = || PortError::Corrupt(format!("the key's command {id} is missing"));
        let command = self.store.get(&[id]).await?.pop().ok_or_else(missing)?;
        Ok(Sent {
            command: Arc::new(command),
            replayed: true,
        })
    }
}

pub(super) fn replayed_batch(
    key: Option<&IdempotencyKey>,
    found: Remembered,
) -> Result<BatchStarted, SendError> {
    match found.made {
        Made::Batch(id) if key.is_some_and(|key| key.fingerprint == found.fingerprint) => {
            Ok(BatchStarted { id, replayed: true })
        }
        Made::Batch(_) | Made::Command(_) => Err(SendError::KeyReused),
    }
}

pub(super) fn fingerprint_of_command(request: &SendRequest) -> [u8; 32] {
    let SendRequest {
        device,
        socket,
        order,
        on_pending,
        send_offline,
        origin: _,
        key: _,
    } = request;
    digest(&format!(
        "command {device} {socket} {order:?} {on_pending:?} {send_offline}"
    ))
}

pub(super) fn fingerprint_of_batch(request: &BatchRequest) -> [u8; 32] {
    let BatchRequest {
        targets,
        location,
        order,
        on_pending,
        send_offline,
        origin: _,
        key: _,
    } = request;
    digest(&format!(
        "batch {targets:?} {location:?} {order:?} {on_pending:?} {send_offline}"
    ))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
