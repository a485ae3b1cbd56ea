//! How a datastore is reached: endpoints, TLS material and login, as bytes.

use std::fmt;

use crate::Error;

/// Everything that is needed to open a datastore, with every reference to a Secret already resolved.
///
/// Two equal values reach the same server as the same identity, so a caller can keep one [`crate::Store`] for as long
/// as the value stays equal. `Debug` shows neither keys nor passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Which kind of server it is (`spec.driver`).
    pub driver: Driver,
    /// `host:port` each, no scheme; an IPv6 address in square brackets (`spec.endpoints`).
    pub endpoints: Vec<String>,
    /// Absent means clear text (`spec.tlsConfig`).
    pub tls: Option<Tls>,
    /// Login by name and password (`spec.basicAuth`).
    pub basic_auth: Option<BasicAuth>,
}

/// The kind of server behind a DataStore, as in `spec.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// etcd v3.
    Etcd,
    /// MySQL or MariaDB, through kine.
    MySql,
    /// PostgreSQL, through kine.
    PostgreSql,
    /// NATS JetStream, through kine.
    Nats,
}

impl Driver {
    /// The value of `spec.driver`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "MySQL",
            Self::PostgreSql => "PostgreSQL",
            Self::Nats => "NATS",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// TLS material in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that sign the servers' certificates.
    pub ca: Vec<u8>,
    /// Client certificate (chain) and its private key (PKCS#8, PKCS#1 or SEC1).
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &format_args!("{} bytes", self.ca.len()))
            .field("client", &self.client.as_ref().map(|_| "[certificate and key]"))
            .finish()
    }
}

/// Name and password of the DataStore's own login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// Login name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Text that must not reach a log: `Debug` prints `[redacted]`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Call it where it is handed to the server, nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// One endpoint, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `host:port` or `[address]:port`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |detail: &str| Error::InvalidConnection {
            field: "spec.endpoints",
            detail: format!(
                "{text:?} {detail}; write host:port, for example etcd-0.etcd.svc:2379, without a scheme or a path"
            ),
        };
        if text.contains("://") {
            return Err(invalid("carries a scheme"));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid("has no port"))?;
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => return Err(invalid("has no port between 1 and 65535")),
        };
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(invalid("has brackets that hold no IPv6 address")),
            None if host.contains(':') => return Err(invalid("has an IPv6 address without square brackets")),
            None => host,
        };
        let host_characters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(host_characters) {
            return Err(invalid("has no valid host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_addresses_and_bracketed_ipv6() {
        for (text, host, port) in [
            ("etcd-0.etcd.svc:2379", "etcd-0.etcd.svc", 2379),
            ("10.0.0.7:1", "10.0.0.7", 1),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_host_and_port() {
        for text in [
            "",
            "etcd",
            ":2379",
            "etcd:",
            "etcd:0",
            "etcd:65536",
            "etcd:x",
            "https://etcd:2379",
            "etcd:2379/path",
            "2001:db8::1:2379",
            "[etcd]:2379",
            "[::1:2379",
            "et cd:2379",
            "etcd\0:2379",
            "user@etcd:2379",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.category(), "invalid_connection", "{text:?}");
            assert!(error.to_string().contains("spec.endpoints"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let connection = Connection {
            driver: Driver::Etcd,
            endpoints: vec!["etcd:2379".into()],
            tls: Some(Tls { ca: b"the-ca".to_vec(), client: Some((b"the-cert".to_vec(), b"the-key".to_vec())) }),
            basic_auth: Some(BasicAuth { username: "root".into(), password: "the-password".into() }),
        };
        let shown = format!("{connection:?}");
        assert!(shown.contains("etcd:2379") && shown.contains("root"), "{shown}");
        let key_bytes = format!("{:?}", b"the-key");
        for secret in ["the-key", "the-password", key_bytes.trim_matches(['[', ']'])] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
