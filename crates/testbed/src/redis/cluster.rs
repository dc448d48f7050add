//! Clusters: three masters, one of which may have a replica, and slots that
//! move.

use anyhow::Context as _;

use super::{Options, PATIENCE, Redis};
use crate::child::wait_until;

/// Where a cluster's 16,384 slots are divided among three masters.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
/// After how long a silent server counts as failed, ms.
const FAILED_MS: u32 = 2_000;

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    replica: Option<Redis>,
}

/// A server of a cluster, and the port where it speaks with the others.
fn node() -> anyhow::Result<(Redis, String)> {
    let bus = crate::free_port()?;
    let node = Redis::with(Options {
        settings: format!(
            "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout {FAILED_MS}\n\
             cluster-replica-validity-factor 0\nrepl-diskless-sync-delay 0\n"
        ),
        ..Options::default()
    })?;
    Ok((node, bus.to_string()))
}

impl RedisCluster {
    /// Starts a cluster without replicas.
    ///
    /// # Errors
    /// When Redis is not installed or the cluster does not come up.
    pub fn start() -> anyhow::Result<Self> {
        let made: anyhow::Result<Vec<_>> = SLOTS.iter().map(|_| node()).collect();
        let (nodes, buses): (Vec<_>, Vec<_>) = made?.into_iter().unzip();
        for (epoch, (node, (from, to))) in (1_u32..).zip(nodes.iter().zip(SLOTS)) {
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
            let (from, to) = (from.to_string(), to.to_string());
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
        }
        for (other, bus) in nodes.iter().zip(&buses).skip(1) {
            let port = other.port.to_string();
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])?;
        }
        let cluster = Self {
            nodes,
            replica: None,
        };
        cluster.settle(SLOTS.len())?;
        Ok(cluster)
    }

    /// Starts a cluster whose master `master`, counted from 0, has a replica
    /// that follows it by now.
    ///
    /// # Errors
    /// When Redis is not installed or the cluster does not come up.
    pub fn start_with_replica_of(master: usize) -> anyhow::Result<Self> {
        let mut cluster = Self::start()?;
        let (replica, bus) = node()?;
        let port = replica.port.to_string();
        cluster.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        cluster.replica = Some(replica);
        cluster.settle(SLOTS.len() + 1)?;
        let replica = cluster.replica.as_ref().context("no replica")?;
        let id = cluster.nodes[master].cli(&["CLUSTER", "MYID"])?;
        replica.cli(&["CLUSTER", "REPLICATE", &id])?;
        wait_until("the replica", PATIENCE, &replica.file("log"), || {
            let info = replica.cli(&["INFO", "replication"]);
            info.is_ok_and(|info| info.contains("master_link_status:up"))
        })?;
        for node in &cluster.nodes {
            wait_until("the news of it", PATIENCE, &node.file("log"), || {
                let replicas = node.cli(&["CLUSTER", "REPLICAS", &id]);
                replicas.is_ok_and(|it| it.contains("slave"))
            })?;
        }
        Ok(cluster)
    }

    /// Waits until every server knows `count` of them and serves.
    fn settle(&self, count: usize) -> anyhow::Result<()> {
        let known = format!("cluster_known_nodes:{count}\r");
        for node in self.nodes.iter().chain(&self.replica) {
            wait_until("the cluster", PATIENCE, &node.file("log"), || {
                node.cli(&["CLUSTER", "INFO"])
                    .is_ok_and(|info| info.contains("cluster_state:ok") && info.contains(&known))
            })?;
        }
        Ok(())
    }

    /// The masters.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The replica, where there is one.
    #[must_use]
    pub const fn replica(&self) -> Option<&Redis> {
        self.replica.as_ref()
    }

    /// The slot of `key`, and which master has it at the start.
    #[must_use]
    pub fn place_of(key: &str) -> (u16, usize) {
        let tag = key
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        let slot = crc16(tag.map_or(key, |(tag, _)| tag)) % 16_384;
        let master = SLOTS.iter().position(|(_, last)| slot <= *last);
        (slot, master.unwrap_or_default())
    }

    /// Begins to move `slot` from one master to another: what is not there
    /// any more is asked for at the other.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (slot, [from, to]) = (slot.to_string(), [&self.nodes[from], &self.nodes[to]]);
        let ids = [
            from.cli(&["CLUSTER", "MYID"])?,
            to.cli(&["CLUSTER", "MYID"])?,
        ];
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]])?;
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]])?;
        Ok(())
    }

    /// Moves one key of `slot`; says whether there was one.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn move_key(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<bool> {
        let port = self.nodes[to].port.to_string();
        let from = &self.nodes[from];
        let key = from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1"])?;
        if key.is_empty() {
            return Ok(false);
        }
        from.cli(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"])?;
        Ok(true)
    }

    /// Ends the move: the slot is the other's.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (slot, id) = (slot.to_string(), self.nodes[to].cli(&["CLUSTER", "MYID"])?);
        for node in [to, from] {
            self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }

    /// Where it is: every master, and that it is a cluster.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// CRC-16/XMODEM, by which Redis chooses slots.
fn crc16(text: &str) -> u16 {
    text.bytes().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc: u16, _| {
            let next = crc << 1;
            if crc & 0x8000 == 0 {
                next
            } else {
                next ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_spreads_its_keys_and_moves_them() {
        let cluster = RedisCluster::start().unwrap();
        let moved = cluster.nodes()[0].cli(&["GET", "a"]).unwrap_err();
        assert!(moved.to_string().contains("MOVED"), "{moved}");
        let anywhere = cluster.nodes()[0].cli(&["-c", "SET", "a", "7"]);
        assert_eq!(anywhere.unwrap(), "OK");
        let (slot, from) = RedisCluster::place_of("a");
        let asked = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", "a"]);
        assert_eq!(asked.unwrap(), slot.to_string());
        let to = (from + 1) % 3;
        cluster.begin_move(slot, from, to).unwrap();
        assert!(cluster.move_key(slot, from, to).unwrap());
        assert!(!cluster.move_key(slot, from, to).unwrap());
        let ask = cluster.nodes()[from].cli(&["GET", "a"]).unwrap_err();
        assert!(ask.to_string().contains("ASK"), "{ask}");
        cluster.end_move(slot, from, to).unwrap();
        assert_eq!(cluster.nodes()[to].cli(&["GET", "a"]).unwrap(), "7");
    }

    #[test]
    fn a_replica_takes_the_place_of_its_master() {
        let cluster = RedisCluster::start_with_replica_of(2).unwrap();
        let replica = cluster.replica().unwrap();
        cluster.nodes()[2].kill().unwrap();
        wait_until("the failover", PATIENCE, &replica.file("log"), || {
            let role = replica.cli(&["ROLE"]);
            role.is_ok_and(|role| role.starts_with("master"))
        })
        .unwrap();
    }
}
