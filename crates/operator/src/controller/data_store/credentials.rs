//! Reads what a DataStore refers to: certificates, keys and passwords, inline or in Secrets.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{DataStore, Driver, data_store::ContentRef};
use kamaji_datastore::{BasicAuth, Connection, Secret as Password, Tls};
use kube::{Api, Client};

/// Why the material of a DataStore cannot be used. Each is a sentence that names the field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field that is needed is empty.
    #[error("{field} is missing: {hint}")]
    Absent {
        /// Path of the field.
        field: String,
        /// What to do.
        hint: &'static str,
    },
    /// A Secret or its key does not exist.
    #[error("{field} refers to the key {key} of the Secret {secret}, which does not exist; create it")]
    NotFound {
        /// Path of the field.
        field: String,
        /// Namespace and name.
        secret: String,
        /// Key within.
        key: String,
    },
    /// A Secret cannot be read.
    #[error("{field} refers to the Secret {secret}, which cannot be read: {source}")]
    Read {
        /// Path of the field.
        field: String,
        /// Namespace and name.
        secret: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
    /// Text that should be UTF-8 is not.
    #[error("{field} is not text; write it as UTF-8")]
    NotText {
        /// Path of the field.
        field: String,
    },
    /// The driver is none of ours.
    #[error("spec.driver: {driver} is not one of etcd, MySQL, PostgreSQL, NATS")]
    UnknownDriver {
        /// What is written there.
        driver: String,
    },
}

impl Error {
    /// A short, fixed word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Absent { .. } | Self::UnknownDriver { .. } => "invalid",
            Self::NotFound { .. } => "not_found",
            Self::Read { .. } => "read",
            Self::NotText { .. } => "not_text",
        }
    }

    /// Whether what it refers to may be as it was: it was not seen.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Path of the field.
    pub fn field(&self) -> &str {
        match self {
            Self::Absent { field, .. }
            | Self::NotFound { field, .. }
            | Self::Read { field, .. }
            | Self::NotText { field } => field,
            Self::UnknownDriver { .. } => "spec.driver",
        }
    }
}

/// Everything that a DataStore needs to be opened, as bytes.
pub struct Material {
    /// How to reach it.
    pub connection: Connection,
    /// Certificate of its authority.
    pub authority: Vec<u8>,
    /// Key of its authority.
    pub authority_key: Vec<u8>,
}

/// Secrets that a DataStore refers to, as namespace and name.
pub fn references(data_store: &DataStore) -> BTreeSet<(String, String)> {
    let spec = &data_store.spec;
    let basic = spec.basic_auth.iter().flat_map(|auth| [&auth.username, &auth.password]);
    let tls = spec.tls_config.iter().flat_map(|tls| {
        let authority = &tls.certificate_authority;
        let client = tls.client_certificate.iter().flat_map(|client| [&client.certificate, &client.private_key]);
        std::iter::once(&authority.certificate).chain(authority.private_key.as_ref()).chain(client)
    });
    basic
        .chain(tls)
        .filter(|reference| reference.content.is_none())
        .filter_map(|reference| reference.secret_reference.as_ref())
        .map(|secret| (secret.namespace.clone().unwrap_or_default(), secret.name.clone().unwrap_or_default()))
        .filter(|(_, name)| !name.is_empty())
        .collect()
}

/// Reads all of it.
///
/// # Errors
/// The first field that cannot be used.
pub async fn read(client: &Client, data_store: &DataStore) -> Result<Material, Error> {
    let spec = &data_store.spec;
    if let Some(path) = &spec.unreadable {
        return Err(Error::Absent { field: path.clone(), hint: "it has a value that cannot be read; correct it" });
    }
    let driver = match &spec.driver {
        Driver::Etcd => kamaji_datastore::Driver::Etcd,
        Driver::MySql => kamaji_datastore::Driver::MySql,
        Driver::PostgreSql => kamaji_datastore::Driver::PostgreSql,
        Driver::Nats => kamaji_datastore::Driver::Nats,
        Driver::Other(driver) => return Err(Error::UnknownDriver { driver: driver.clone() }),
    };
    let basic_auth = match &spec.basic_auth {
        None => None,
        Some(auth) => Some(BasicAuth {
            username: text(client, &auth.username, "spec.basicAuth.username").await?,
            password: Password::new(text(client, &auth.password, "spec.basicAuth.password").await?),
        }),
    };
    let mut authority = Vec::new();
    let mut authority_key = Vec::new();
    let mut tls = None;
    if let Some(config) = &spec.tls_config {
        let ca = &config.certificate_authority;
        authority = bytes(client, &ca.certificate, "spec.tlsConfig.certificateAuthority.certificate").await?;
        if let Some(key) = &ca.private_key {
            authority_key = bytes(client, key, "spec.tlsConfig.certificateAuthority.privateKey").await?;
        }
        let client_pair = match &config.client_certificate {
            None => None,
            Some(pair) => Some((
                bytes(client, &pair.certificate, "spec.tlsConfig.clientCertificate.certificate").await?,
                bytes(client, &pair.private_key, "spec.tlsConfig.clientCertificate.privateKey").await?,
            )),
        };
        tls = Some(Tls { ca: authority.clone(), client: client_pair });
    }
    let connection = Connection { driver, endpoints: spec.endpoints.clone(), tls, basic_auth };
    Ok(Material { connection, authority, authority_key })
}

async fn text(client: &Client, reference: &ContentRef, field: &str) -> Result<String, Error> {
    String::from_utf8(bytes(client, reference, field).await?).map_err(|_| Error::NotText { field: field.to_owned() })
}

async fn bytes(client: &Client, reference: &ContentRef, field: &str) -> Result<Vec<u8>, Error> {
    if let Some(content) = reference.content.as_ref().filter(|content| !content.0.is_empty()) {
        return Ok(content.0.clone());
    }
    let secret = reference.secret_reference.as_ref().filter(|secret| secret.name.is_some());
    let Some(secret) = secret else {
        return Err(Error::Absent {
            field: field.to_owned(),
            hint: "give content, or a secretReference with its name, namespace and keyPath",
        });
    };
    let (name, namespace) = (secret.name.clone().unwrap_or_default(), secret.namespace.clone().unwrap_or_default());
    let full = format!("{namespace}/{name}");
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let found = api.get_opt(&name).await.map_err(|source| Error::Read {
        field: field.to_owned(),
        secret: full.clone(),
        source: Box::new(source),
    })?;
    found
        .and_then(|found| found.data.and_then(|mut data| data.remove(&secret.key_path)))
        .map(|value| value.0)
        .ok_or_else(|| Error::NotFound { field: field.to_owned(), secret: full, key: secret.key_path.clone() })
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_unknown_while_the_api_server_does_not_tell_and_known_when_it_says_that_there_is_none() {
        let secret = |key: &str| json!({"secretReference": {"name": "login", "namespace": "db", "keyPath": key}});
        let data_store: DataStore = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "store"},
            "spec": {"driver": "PostgreSQL", "endpoints": ["db-0:1"],
                "basicAuth": {"username": secret("user"), "password": secret("password")}},
        }))
        .unwrap();
        for (code, reason, category, is_unknown) in [
            (403, "Forbidden", "read", true),
            (500, "InternalError", "read", true),
            (404, "NotFound", "not_found", false),
        ] {
            let answer = move |_: Request<Body>| async move {
                let status =
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
                Ok::<_, std::io::Error>(
                    Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).unwrap(),
                )
            };
            let client = Client::new(tower::service_fn(answer), "default");
            let error = read(&client, &data_store).await.err().unwrap();
            assert_eq!((error.category(), error.is_unknown()), (category, is_unknown), "{error}");
            assert_eq!(error.field(), "spec.basicAuth.username");
        }
    }
}
