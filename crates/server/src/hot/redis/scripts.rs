//! The scripts: each works on the keys of one device, or on one shard.

use redis::{Cmd, Script, ToRedisArgs};

/// Room for the arguments of most calls, and for their bytes.
const ARGUMENTS: usize = 16;
const BYTES: usize = 256;

/// A script by its digest, as it is called.
#[derive(Debug)]
pub(super) struct Call(Script);

impl Call {
    fn new(body: &str) -> Self {
        Self(Script::new(body))
    }

    /// The command that runs it on `keys`; further arguments follow.
    pub(super) fn on(&self, keys: &[impl ToRedisArgs]) -> Cmd {
        let mut command = Cmd::with_capacity(ARGUMENTS, BYTES);
        command.arg("EVALSHA");
        command.arg(self.0.get_hash()).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put: Call,
    pub(super) merge: Call,
    pub(super) seen: Call,
    pub(super) admit: Call,
    pub(super) claim: Call,
    pub(super) show: Call,
    pub(super) log: Call,
}

const BODIES: [&str; 7] = [
    include_str!("scripts/put.lua"),
    include_str!("scripts/merge.lua"),
    include_str!("scripts/seen.lua"),
    include_str!("scripts/admit.lua"),
    include_str!("scripts/claim.lua"),
    include_str!("scripts/show.lua"),
    include_str!("scripts/log.lua"),
];

impl Scripts {
    pub(super) fn new() -> Self {
        let [put, merge, seen, admit, claim, show, log] = BODIES.map(Call::new);
        Self {
            put,
            merge,
            seen,
            admit,
            claim,
            show,
            log,
        }
    }

    /// The commands that make a server know them.
    pub(super) fn load() -> Vec<Cmd> {
        let load = |body: &str| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(body);
            command
        };
        BODIES.map(load).into()
    }
}
