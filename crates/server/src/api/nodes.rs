//! `GET /nodes`: who is there, what each node does for all, and who is missing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::services::nodes::{Member, Nodes, Roll};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;

/// The route; `None` where this node is the only one.
pub fn router(nodes: Option<Arc<Nodes>>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).with_state(nodes)
}

/// The nodes of the site.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Nodes)]
struct NodesBody {
    /// Those that are alive, in order of their names; empty where one process
    /// serves the site alone.
    items: Vec<NodeBody>,
    /// Always `null`: all of them are told at once.
    next_cursor: Option<String>,
    /// Those that died without a word within a day and have not come back.
    lost: Vec<NodeBody>,
    /// Which of them gives this answer; `null` where one process serves the
    /// site alone.
    answered_by: Option<String>,
}

/// One process among several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
struct NodeBody {
    /// Its name and what tells it from its predecessors.
    node: String,
    /// Its version; `null` in its first second.
    version: Option<String>,
    /// When it started, by its own clock; `null` in its first second.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Where its page and API are, `host:port`; `null` where it did not tell.
    address: Option<String>,
    /// The parts that do not work for it, as its `/health` names them.
    down: Vec<String>,
    /// How long ago it showed that it is alive, ms.
    seen_ago_ms: u64,
    /// What it does for all, such as `presence` or `slot/0`.
    leases: Vec<String>,
}

impl From<Member> for NodeBody {
    fn from(member: Member) -> Self {
        Self {
            node: member.node.to_string(),
            version: member.about.version,
            since: member.about.since.map(|at| at.to_rfc3339()),
            address: member.about.address,
            down: member.about.down,
            seen_ago_ms: u64::try_from(member.seen_ago.as_millis()).unwrap_or(u64::MAX),
            leases: member.leases,
        }
    }
}

/// The nodes that are alive, and those that are missing.
#[utoipa::path(
    get,
    path = "/nodes",
    tag = "nodes",
    responses((status = 200, description = "The nodes", body = NodesBody)),
)]
async fn list(State(nodes): State<Option<Arc<Nodes>>>) -> Result<Json<NodesBody>, Problem> {
    let roll = match &nodes {
        Some(nodes) => nodes.roll().await?,
        None => Roll::default(),
    };
    Ok(Json(NodesBody {
        items: roll.alive.into_iter().map(NodeBody::from).collect(),
        next_cursor: None,
        lost: roll.lost.into_iter().map(NodeBody::from).collect(),
        answered_by: nodes.map(|nodes| nodes.id().to_string()),
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dormouse_core::clock::Timestamp;
    use dormouse_core::ports::nodes::NodeId;
    use dormouse_core::services::nodes::About;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_shown_with_what_it_does() {
        let body = NodeBody::from(Member {
            node: NodeId("a-x7".into()),
            about: About {
                version: Some("1.2.3".to_owned()),
                since: Some(Timestamp::from_millis(0)),
                address: Some("10.0.0.3:8080".to_owned()),
                down: vec!["redis".to_owned()],
            },
            seen_ago: Duration::from_millis(1_250),
            leases: vec!["presence".to_owned()],
        });
        let expected = json!({
            "node": "a-x7",
            "version": "1.2.3",
            "since": "1970-01-01T00:00:00.000Z",
            "address": "10.0.0.3:8080",
            "down": ["redis"],
            "seenAgoMs": 1250,
            "leases": ["presence"],
        });
        assert_eq!(json!(body), expected);
    }

    #[tokio::test]
    async fn the_only_node_names_no_others() {
        let page = list(State(None)).await.ok().unwrap();
        let expected = json!({"items": [], "nextCursor": null, "lost": [], "answeredBy": null});
        assert_eq!(json!(page.0), expected);
    }
}
