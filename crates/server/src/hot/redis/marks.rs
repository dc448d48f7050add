//! Marks on the servers: who finds another one than before has lost what was
//! there.

use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use redis::{Cmd, RedisResult, Value};

use super::connect::{Conn, pipeline};
use super::keys::{Keys, MARKS};

/// The marks as they were last. The first node to come sets them.
pub(super) struct Marks {
    keys: Keys,
    known: Mutex<Vec<Option<String>>>,
}

/// The command that reads the mark `key`, and leaves `fresh` where there is none.
pub(super) fn mark(key: &str, fresh: &str) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(fresh).arg("NX").arg("GET");
    command
}

/// A mark that nobody made before.
pub(super) fn fresh() -> String {
    let bits: u64 = rand::rng().random();
    format!("{bits:016x}")
}

impl Marks {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            keys: keys.clone(),
            known: Mutex::new(vec![None; MARKS.into()]),
        }
    }

    /// Whether marks that were there are gone, or others' now.
    pub(super) async fn compare(&self, conn: &mut Conn) -> RedisResult<bool> {
        let fresh = fresh();
        let commands = (0..MARKS).map(|number| mark(&self.keys.mark(number), &fresh));
        let commands = pipeline(commands);
        let answers: RedisResult<Vec<Value>> = conn.send(&commands).await?.into_iter().collect();
        let mut lost = false;
        let mut marks = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (known, answer) in marks.iter_mut().zip(answers?) {
            let there: Option<String> = redis::from_redis_value(answer)?;
            let now = there.unwrap_or_else(|| fresh.clone());
            lost |= known.as_ref().is_some_and(|known| *known != now);
            *known = Some(now);
        }
        Ok(lost)
    }
}
