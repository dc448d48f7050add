//! Several nodes write the same series at once.

use std::sync::Arc;

use dormouse_core::memory::MemoryHistory;
use dormouse_core::ports::history::HistoryStore;
use dormouse_core::sample::DeviceSample;
use dormouse_core::site::SiteZone;
use dormouse_testbed::postgres::Postgres as Server;

use super::super::super::DORMOUSE;
use super::super::super::testing::open;
use super::story::{Dice, answers, batches, samples};
use super::{HISTORY, PostgresHistory};

const NODES: usize = 4;

async fn node(url: &str) -> PostgresHistory {
    let db = open(url, &[DORMOUSE, HISTORY]).await;
    PostgresHistory::open(db, SiteZone::UTC).await.unwrap()
}

/// Everything in order, from one hand.
async fn in_order(samples: &[DeviceSample]) -> MemoryHistory {
    let memory = MemoryHistory::new(SiteZone::UTC);
    memory.append(samples.to_vec(), None).await.unwrap();
    memory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_at_once_keep_rollups_true() {
    let url = Server::shared().database().unwrap().url;
    let mut dice = Dice::new(7);
    let samples = samples(&mut dice, 300);
    let mut writers = Vec::new();
    // Opened at once, too: one migrates.
    let nodes: Vec<_> = (0..NODES).map(|_| node(&url)).collect();
    for (number, node) in futures_util::future::join_all(nodes)
        .await
        .into_iter()
        .enumerate()
    {
        // Each has most of everything, in an order of its own, and much twice.
        let mut dice = Dice::new(number as u64);
        let mut own: Vec<Vec<DeviceSample>> = batches(&mut dice, &samples);
        own.retain(|_| dice.below(10) > 1);
        if number % 2 == 1 {
            dice.shuffle(&mut own);
        }
        let node = Arc::new(node);
        writers.push(async move {
            let mut new = 0;
            for batch in own {
                new += node.append(batch, None).await.unwrap().new;
            }
            new
        });
    }
    let new: usize = futures_util::future::join_all(writers).await.iter().sum();
    // Whatever all of them left out comes now.
    let last = node(&url).await;
    let rest = last.append(samples.clone(), None).await.unwrap().new;
    assert_eq!(new + rest, samples.len());
    assert!(new > rest, "the nodes had too little to do");
    let expected = in_order(&samples).await;
    let expected = answers(&expected).await;
    answers(&last).await.assert_same(&expected, "four nodes");
}
