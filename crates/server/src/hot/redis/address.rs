//! Addresses of Redis: `scheme://[user[:password]@]host[:port][,host…][/database][?cluster=true]`.

use dormouse_core::secret::Secret;
use redis::{ConnectionAddr, TlsCertificates};

use super::OpenError;
use super::settings::{Target, wrong};

/// The port where the address names none.
const PORT: u16 = 6_379;

fn bad(problem: &str) -> OpenError {
    wrong("url", problem)
}

/// Reads an address. An error never shows it: it may hold a password.
pub(super) fn parse(url: &str) -> Result<Target, OpenError> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| bad("is no address such as redis://host:6379"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut target = Target::default();
    let tls = match scheme {
        "redis" | "redis+cluster" | "redis+unix" => false,
        "rediss" | "rediss+cluster" => true,
        _ => {
            return Err(bad(
                "begins with none of redis://, rediss://, redis+cluster://, rediss+cluster://, redis+unix://",
            ));
        }
    };
    target.cluster = scheme.ends_with("+cluster");
    match query {
        "" | "cluster=false" => {}
        "cluster=true" => target.cluster = true,
        _ => return Err(bad("has a query other than ?cluster=true")),
    }
    if scheme == "redis+unix" {
        target.hosts.push(ConnectionAddr::Unix(rest.into()));
        return Ok(target);
    }
    target.certificates = tls.then_some(TlsCertificates {
        client_tls: None,
        root_cert: None,
    });
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    (target.username, target.password) = user_and_password(login)?;
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !database.is_empty() {
        let number = database.parse().ok().filter(|number| *number >= 0);
        target.database = number.ok_or_else(|| bad("has a path that is no database number"))?;
    }
    for host in hosts.split(',') {
        let read = host_and_port(host).ok_or_else(|| bad("has a host or port that is none"))?;
        target.hosts.push(address(read, tls));
    }
    if target.cluster && target.database != 0 {
        return Err(bad("names a database, but a Cluster has number 0 only"));
    }
    if target.hosts.len() > 1 && !target.cluster {
        return Err(bad("names several hosts: begin it with redis+cluster://"));
    }
    Ok(target)
}

fn user_and_password(login: &str) -> Result<(Option<String>, Option<Secret>), OpenError> {
    let (username, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text: &str| {
        let it = decode(text).ok_or_else(|| bad("has a wrong escape before the @"))?;
        Ok((!it.is_empty()).then_some(it))
    };
    Ok((decoded(username)?, decoded(password)?.map(Secret::new)))
}

pub(super) fn address((host, port): (String, u16), tls: bool) -> ConnectionAddr {
    if tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Undoes percent escapes.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let target = parse("rediss+cluster://ann:p%40ss@a:7000,[::1]:7001,c").unwrap();
        assert!(target.cluster && target.certificates.is_some());
        assert_eq!(target.name(), "a:7000,::1:7001,c:6379");
        assert_eq!(target.username.as_deref(), Some("ann"));
        assert_eq!(target.password.unwrap().expose(), "p@ss");
        let target = parse("redis://:x@h/3").unwrap();
        assert_eq!((target.database, target.username), (3, None));
        assert!(parse("redis://h?cluster=true").unwrap().cluster);
        let socket = parse("redis+unix:///run/redis.sock").unwrap();
        assert_eq!(socket.name(), "/run/redis.sock");
    }

    #[test]
    fn wrong_addresses_are_refused_by_name_and_without_the_password() {
        for url in [
            "localhost",
            "http://h",
            "redis://",
            "redis://:secret@h:99999",
            "redis://h:0",
            "redis://a,b",
            "redis+cluster://a/2",
            "redis://h/x",
            "redis://h?tls=true",
            "redis://u:%zz@h",
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(error.starts_with("hot.url "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
