//! `GET /nodes`: the nodes that are alive, and what each does for all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::services::nodes::{Member, Nodes};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Page, Problem};

/// The route; `None` where this node is the only one.
pub fn router(nodes: Option<Arc<Nodes>>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).with_state(nodes)
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
    /// How long ago it showed that it is alive, ms.
    seen_ago_ms: u64,
    /// What it does for all, such as `presence` or `slot/0`.
    leases: Vec<String>,
}

impl From<Member> for NodeBody {
    fn from(member: Member) -> Self {
        Self {
            node: member.node.to_string(),
            version: member.version,
            since: member.since.map(|at| at.to_rfc3339()),
            seen_ago_ms: u64::try_from(member.seen_ago.as_millis()).unwrap_or(u64::MAX),
            leases: member.leases,
        }
    }
}

/// The nodes that are alive, in order of their names. Empty where one process
/// serves the site alone.
#[utoipa::path(
    get,
    path = "/nodes",
    tag = "nodes",
    responses((status = 200, description = "The nodes", body = Page<NodeBody>)),
)]
async fn list(State(nodes): State<Option<Arc<Nodes>>>) -> Result<Json<Page<NodeBody>>, Problem> {
    let members = match nodes {
        Some(nodes) => nodes.members().await?,
        None => Vec::new(),
    };
    Ok(Json(Page {
        items: members.into_iter().map(NodeBody::from).collect(),
        next_cursor: None,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dormouse_core::clock::Timestamp;
    use dormouse_core::ports::nodes::NodeId;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_shown_with_what_it_does() {
        let body = NodeBody::from(Member {
            node: NodeId("a-x7".into()),
            version: Some("1.2.3".to_owned()),
            since: Some(Timestamp::from_millis(0)),
            seen_ago: Duration::from_millis(1_250),
            leases: vec!["presence".to_owned()],
        });
        let expected = json!({
            "node": "a-x7",
            "version": "1.2.3",
            "since": "1970-01-01T00:00:00.000Z",
            "seenAgoMs": 1250,
            "leases": ["presence"],
        });
        assert_eq!(json!(body), expected);
    }

    #[tokio::test]
    async fn the_only_node_names_no_others() {
        let page = list(State(None)).await.ok().unwrap();
        assert_eq!(json!(page.0), json!({"items": [], "nextCursor": null}));
    }
}
