//! What servers say of themselves, and why one cannot be used.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::OpenError;
use super::settings::Target;

/// The oldest Redis that has all that is used.
const OLDEST: u32 = 7;

/// The servers in an answer of `CLUSTER SLOTS`, each once; those that do not
/// say where they are, are left out.
pub(super) fn nodes_in(slots: Value) -> Vec<(String, u16)> {
    let (Value::Array(ranges), mut nodes) = (slots, Vec::new()) else {
        return Vec::new();
    };
    for range in ranges {
        let Value::Array(fields) = range else {
            continue;
        };
        // First and last slot, then the master and its replicas.
        for server in fields.into_iter().skip(2) {
            let Value::Array(fields) = server else {
                continue;
            };
            let mut fields = fields.into_iter();
            let mut next = || fields.next().unwrap_or(Value::Nil);
            let host = redis::from_redis_value::<Option<String>>(next());
            let port = redis::from_redis_value::<u16>(next());
            if let (Ok(Some(host)), Ok(port)) = (host, port)
                && !matches!(&*host, "" | "?")
                && !nodes.contains(&(host.clone(), port))
            {
                nodes.push((host, port));
            }
        }
    }
    nodes
}

/// What a server says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) cluster: bool,
}

impl Server {
    pub(super) fn read(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        Self {
            version: field("redis_version:"),
            cluster: field("redis_mode:") == "cluster",
        }
    }

    pub(super) fn is_too_old(&self) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major < OLDEST)
    }
}

/// Why opening failed, for whoever wrote the settings.
pub(super) fn explain(target: &Target, error: &RedisError) -> OpenError {
    let name = target.name();
    let detail = error.detail().unwrap_or_default();
    let kind = error.kind();
    let (setting, problem) = if error.code() == Some("NOAUTH") {
        (
            "password_file",
            format!("is needed: Redis at {name} asks for a password"),
        )
    } else if kind == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
        (
            "username",
            format!("and hot.password_file are refused by Redis at {name}: {detail}"),
        )
    } else if kind == ErrorKind::Server(ServerErrorKind::NoPerm) || detail.contains("can't run") {
        (
            "username",
            format!(
                "lacks a right on Redis at {name}: {detail}; docs/redis.md has the rule that gives all that is needed"
            ),
        )
    } else if let Some(advice) = advice(error) {
        (
            "url",
            format!("leads to Redis at {name}, which does not serve us: {error}; {advice}"),
        )
    } else {
        (
            "url",
            format!(
                "does not lead to Redis: {name}: {error}; does it run there, and may this machine reach it?"
            ),
        )
    };
    OpenError {
        setting: format!("hot.{setting}"),
        problem,
    }
}

/// What helps where a server is there and does not serve.
fn advice(error: &RedisError) -> Option<&'static str> {
    match error.code()? {
        "READONLY" => Some("that one is a replica: name the master"),
        "OOM" => Some("raise its maxmemory, or free some memory"),
        "MISCONF" => Some("it cannot save its data: look at its disk and its log"),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => Some("try again when it is ready"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_servers_are_read_from_its_slots() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let server = |host: Value, port| {
            let (port, id) = (Value::Int(port), text("id"));
            Value::Array(vec![host, port, id, Value::Array(Vec::new())])
        };
        let range = |servers: &[Value]| {
            let mut fields = vec![Value::Int(0), Value::Int(9)];
            fields.extend_from_slice(servers);
            Value::Array(fields)
        };
        let (a, b) = (server(text("a"), 1), server(text("b"), 2));
        let shy = [Value::Nil, text(""), text("?")].map(|host| server(host, 3));
        let slots = Value::Array(vec![range(&[a.clone(), b]), range(&[a]), range(&shy)]);
        let expected = [("a".to_owned(), 1), ("b".to_owned(), 2)];
        assert_eq!(nodes_in(slots), expected);
        assert_eq!(nodes_in(Value::Nil), []);
    }

    #[test]
    fn a_server_tells_its_version_and_mode() {
        let server = Server::read("# Server\r\nredis_version:6.2.7\r\nredis_mode:cluster\r\n");
        assert!(server.is_too_old() && server.cluster);
        assert!(!Server::read("redis_version:7.0.15\nredis_mode:standalone").is_too_old());
        assert!(!Server::read("redis_version:10.1").is_too_old());
    }
}
