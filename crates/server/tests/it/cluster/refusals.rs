//! What the database refuses holds nobody up.

use reqwest::Method;
use serde_json::json;

use super::engines::Engines;
use crate::strip::Strip;
use crate::strips::Strips;
use crate::support::{Server, eventually};

#[tokio::test]
async fn what_the_database_refuses_is_put_aside_and_taken_once_that_is_mended() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(2).await;
    let database = &engines.database.name;
    let sql = |statements: &str| engines.postgres.sql(database, statements).unwrap();
    sql("ALTER TABLE samples ADD CONSTRAINT sane CHECK (current_ma IS DISTINCT FROM 6660)");
    let password = nodes[0].add_device("ill", 1).await;
    let mut ill = Strip::online(&nodes[0], "ill", &password, 1).await;
    let mut strips = Strips::start_paced(&nodes[0], 6).await;
    strips.wait_for(100).await;
    for seq in 1..=20 {
        let current = if seq % 5 == 0 { 6.66 } else { 0.5 };
        let sample = json!({"boot": 1, "seq": seq, "powerW": seq, "currentA": current});
        ill.publish("telemetry", &sample).await;
    }
    strips.wait_for(300).await;
    for node in &nodes {
        eventually("four messages aside", async || {
            let detail = journal(node).await?;
            detail.contains("refused 4 messages").then_some(())
        })
        .await;
    }
    let kept = "SELECT count(*) FROM telemetry WHERE device_id = 'ill'";
    eventually("all others", async || (sql(kept) == "16").then_some(())).await;
    let reasons = sql("SELECT DISTINCT why LIKE '%sane%' FROM refused_messages");
    assert_eq!(reasons, "t");

    sql("ALTER TABLE samples DROP CONSTRAINT sane; UPDATE refused_messages SET again = true");
    for node in &nodes {
        eventually("nothing aside", async || {
            journal(node).await.is_none().then_some(())
        })
        .await;
    }
    assert_eq!(sql(kept), "20");
    strips.finish().await;
    strips.account(&nodes[1]).await;
    for node in nodes {
        node.stop().await;
    }
}

/// What there is to say of the way in, which works.
async fn journal(node: &Server) -> Option<String> {
    let (_, health) = node.request(Method::GET, "/health", None).await;
    let journal = &health["parts"]["journal"];
    assert_eq!(journal["state"], "ok", "{health}");
    journal["detail"].as_str().map(str::to_owned)
}
