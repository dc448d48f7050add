//! Whether Redis works, and whether it lets us do what we must.

use std::fmt;

use dormouse_core::ports::PortError;
use redis::Cmd;

use super::server::explain;
use super::{OpenError, Redis};

/// How Redis does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How many commands it refused since the start, such as for want of memory.
    pub refused: u64,
    /// What it said of the last one since the probe before.
    pub refusal: Option<String>,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Some(text) => write!(f, "{} commands refused, the last: {text}", self.refused),
            None => write!(f, "{} commands refused", self.refused),
        }
    }
}

impl Redis {
    /// How Redis does, as known from what it was asked last, at most about a
    /// second ago.
    ///
    /// # Errors
    /// When it cannot be reached, or takes no writes.
    pub fn probe(&self) -> Result<Probe, PortError> {
        self.link.check()?;
        if let Some(why) = self.link.refusals().writes() {
            return Err(PortError::unavailable(format!("takes no writes: {why}")));
        }
        Ok(Probe {
            refused: self.link.refusals().commands(),
            refusal: self.link.refusals().take_last(),
        })
    }

    /// Does all that will be done, on keys of nobody.
    pub(super) async fn try_rights(&self) -> Result<(), OpenError> {
        let commands = self.everything();
        let answers = self.link.run(commands).await.map_err(|error| OpenError {
            setting: "hot.url".to_owned(),
            problem: format!("led to Redis, which then did not answer: {error:?}"),
        })?;
        let refused = answers.iter().find_map(|answer| answer.as_ref().err());
        refused.map_or(Ok(()), |error| Err(explain(&self.link.target, error)))
    }

    /// Every script and every command that is used.
    fn everything(&self) -> Vec<Cmd> {
        let keys = TRIED.map(|key| self.keys.name(key));
        let [ring, latest, seen, rate, list, last, set, log, hints] = &keys;
        let scripts = &self.scripts;
        let called = [
            (scripts.put.on(&[ring, latest]), "0 9 9 1 x 0 1"),
            (scripts.merge.on(&[ring]), "9 0 1 x y"),
            (scripts.seen.on(&[seen]), "1 9"),
            (scripts.admit.on(&[rate]), "1 1"),
            (scripts.show.on(&[list, last]), "~ pending 9 1 cmdId ~"),
            (scripts.log.on(&[log]), "1 1 ~"),
            (scripts.claim.on(&[set]), "2 1"),
        ];
        let plain = [
            ("GET", seen, ""),
            ("PEXPIRE", latest, "9"),
            ("HGET", latest, "key"),
            ("HSET", latest, "~ 1"),
            ("HSETNX", latest, "~ 1"),
            ("HGETALL", latest, ""),
            ("LPUSH", list, "~"),
            ("LRANGE", list, "0 -1"),
            ("LREM", list, "0 ~"),
            ("LTRIM", list, "1 0"),
            ("ZADD", set, "GT 1 ~"),
            ("ZRANGE", set, "0 -1 WITHSCORES"),
            ("ZREM", set, "~"),
            ("ZREMRANGEBYSCORE", set, "-inf 0"),
            ("XRANGE", log, "- + COUNT 1"),
            ("XREVRANGE", log, "+ - COUNT 1"),
            ("PUBLISH", hints, "~"),
        ];
        let plain = plain.map(|(name, key, arguments)| {
            let mut command = redis::cmd(name);
            command.arg(key);
            (command, arguments)
        });
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(1).arg("STREAMS").arg(log).arg("0");
        let with = |(mut command, arguments): (Cmd, &str)| {
            for argument in arguments.split_whitespace() {
                command.arg(argument);
            }
            command
        };
        let unlink = keys[..keys.len() - 1].iter().map(|key| {
            let mut command = redis::cmd("UNLINK");
            command.arg(key);
            command
        });
        let tried = called.into_iter().chain(plain).map(with);
        tried.chain([read]).chain(unlink).collect()
    }
}

/// The keys of nobody: no device's name has this sign.
const TRIED: [&str; 9] = [
    "ring:{~}",
    "latest:{~}",
    "lastSeen:{~}",
    "rate:{~}",
    "device:{~}:cmds",
    "lastCmd:{~}:0",
    "deadlines:{~}",
    "{~}:log",
    "{~}:hints",
];
