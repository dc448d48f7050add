//! What stands in `database.url`: the library's own parameters, and those of
//! libpq that it does not know.

use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::OpenError;

/// Parameters that the library reads itself.
const PASSED_ON: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
];

/// How TLS is used, with libpq's names and meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TlsMode {
    /// Never.
    Disable,
    /// Only where the server insists; anybody's certificate will do.
    Allow,
    /// Where the server offers it; anybody's certificate will do.
    #[default]
    Prefer,
    /// Always; the certificate is checked as for `verify-ca` where
    /// authorities are named.
    Require,
    /// Always, with a certificate by a trusted authority.
    VerifyCa,
    /// Always, with such a certificate for this very host.
    VerifyFull,
}

/// A `database.url`, read.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// Everything that the library knows.
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    /// Authorities to trust; `None` for the system's.
    pub(super) authorities: Option<PathBuf>,
    /// Our certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// Reads `url`.
    ///
    /// # Errors
    /// [`OpenError::Url`], never with anything from the URL but a parameter's
    /// own known name: a password that was not escaped may be anywhere in it.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("it must start with postgres://"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut known = Vec::new();
        let mut tls = None;
        let mut schema = None;
        let (mut authorities, mut certificate, mut key) = (None, None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "sslmode" => tls = Some(TlsMode::parse(value)?),
                "sslrootcert" => authorities = Some(decoded(value)?),
                "sslcert" => certificate = Some(PathBuf::from(decoded(value)?)),
                "sslkey" => key = Some(PathBuf::from(decoded(value)?)),
                "currentSchema" | "search_path" => schema = Some(decoded(value)?),
                _ if PASSED_ON.contains(&name) => known.push(part),
                _ => return Err(bad(&unknown_parameter())),
            }
        }
        let config = Config::from_str(&format!("{base}?{}", known.join("&")));
        let mut config = config.map_err(|_| bad(&shape()))?;
        if config.get_hosts().is_empty() {
            return Err(bad(&shape()));
        }
        if let Some(schema) = schema {
            let path = format!("-c search_path={}", escaped(&schema));
            add_options(&mut config, &path);
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(bad("sslcert and sslkey go together: give both or neither")),
        };
        let system = authorities.as_deref() == Some("system");
        Ok(Self {
            config,
            tls: tls.unwrap_or(if system {
                TlsMode::VerifyFull
            } else {
                TlsMode::default()
            }),
            authorities: authorities.filter(|_| !system).map(PathBuf::from),
            identity,
        })
    }

    /// Host, port and database, for people.
    pub(super) fn tried(&self) -> String {
        let config = &self.config;
        let ports = config.get_ports();
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| {
                let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        let database = config
            .get_dbname()
            .or_else(|| config.get_user())
            .unwrap_or_default();
        format!("{}/{database}", hosts.join(","))
    }
}

/// Adds to the settings that a connection begins with.
fn add_options(config: &mut Config, more: &str) {
    let options = match config.get_options() {
        Some(before) => format!("{before} {more}"),
        None => more.to_owned(),
    };
    config.options(options);
}

impl TlsMode {
    fn parse(text: &str) -> Result<Self, OpenError> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(bad(
                    "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full",
                ));
            }
        })
    }
}

fn bad(why: &str) -> OpenError {
    OpenError::Url(why.to_owned())
}

fn shape() -> String {
    "expected postgres://user@host:port/database?parameters; in a user name or password write @ as \
     %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"
        .to_owned()
}

fn unknown_parameter() -> String {
    format!(
        "it has a parameter that is not among sslmode, sslrootcert, sslcert, sslkey, \
         currentSchema, search_path, {} (a ? in a password must be written as %3F)",
        PASSED_ON.join(", ")
    )
}

/// Blanks and backslashes separate the words of `options`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(' ', "\\ ")
}

fn decoded(text: &str) -> Result<String, OpenError> {
    let wrong = || bad("a parameter has a % that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(rest.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = digit().zip(digit()).ok_or_else(wrong)?;
        bytes.push(high * 16 + low);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_libpq_are_honoured() {
        let address = Address::parse(
            "postgres://ann:p%40ss@db.example:6432/site?sslmode=verify-full\
             &sslrootcert=/etc/my%20ca.pem&currentSchema=iot&options=-cjit%3Doff",
        )
        .unwrap();
        assert_eq!(address.tls, TlsMode::VerifyFull);
        assert_eq!(address.authorities, Some("/etc/my ca.pem".into()));
        assert_eq!(address.config.get_password(), Some(&b"p@ss"[..]));
        let options = address.config.get_options();
        assert_eq!(options, Some("-cjit=off -c search_path=iot"));
        assert_eq!(address.tried(), "db.example:6432/site");
    }

    #[test]
    fn the_system_s_authorities_mean_full_verification() {
        let address = Address::parse("postgres://h/d?sslrootcert=system").unwrap();
        assert_eq!(address.tls, TlsMode::VerifyFull);
        assert_eq!(address.authorities, None);
    }

    #[test]
    fn a_bad_url_says_what_is_wrong_and_shows_no_password() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgres://u:hun?ter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h/d?hunter2=1",
            "postgres://u:hunter2@h/d?sslcert=a",
            "postgres://u:hunter2@h/d?sslrootcert=%zz",
            "postgres:///d",
        ] {
            let message = Address::parse(url).unwrap_err().to_string();
            assert!(message.contains("database.url"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
            assert!(!message.contains("ter2"), "{message}");
        }
    }
}
