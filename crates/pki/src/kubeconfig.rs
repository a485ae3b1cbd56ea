//! Kubeconfig files with one identity: one cluster, one user with an embedded client certificate, one context.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::KeyPairPem;

/// What a kubeconfig is made of (`docs/reference/compatibility.md`, "Kubeconfigs").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster entry.
    pub cluster_name: String,
    /// Name of the user entry; the context is called `<user>@<cluster>`.
    pub user_name: String,
    /// URL of the API server, with scheme and port.
    pub server: String,
    /// Certificate authorities that the API server's certificate is checked against, PEM.
    pub authority_pem: Vec<u8>,
    /// The client certificate and its key, PEM.
    pub client: KeyPairPem,
}

/// A kubeconfig as read: the entries that its current context points to. `Debug` hides the client key.
#[derive(Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Name of the context that was followed.
    pub context: String,
    /// Name of the cluster entry.
    pub cluster_name: String,
    /// Name of the user entry.
    pub user_name: String,
    /// URL of the API server.
    pub server: String,
    /// Embedded certificate authorities, PEM; empty when there are none.
    pub authority_pem: Vec<u8>,
    /// Embedded client certificate, PEM; empty when there is none.
    pub client_certificate: Vec<u8>,
    /// Embedded client key, PEM; empty when there is none.
    pub client_key: Vec<u8>,
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("context", &self.context)
            .field("cluster_name", &self.cluster_name)
            .field("user_name", &self.user_name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// A kubeconfig that cannot be used.
///
/// The YAML parser's own account is dropped on purpose: it quotes the text it failed on, which may be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not YAML, or not the shape of a kubeconfig.
    #[error("the kubeconfig is not valid near line {line}; give a file of kind Config, apiVersion v1")]
    Syntax {
        /// Line of the fault, from 1; 0 when unknown.
        line: u64,
    },
    /// The file has no contexts, or its current context, or what that points to, is not there.
    #[error("the kubeconfig has no {kind} named {name:?}; add it, or set current-context to one that is complete")]
    NoEntry {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// The name that was looked for.
        name: String,
    },
    /// The cluster has no URL.
    #[error("the cluster {cluster:?} of the kubeconfig has no server; set its URL")]
    NoServer {
        /// Name of the cluster entry.
        cluster: String,
    },
    /// Embedded data is not base64.
    #[error("the field {field} of the kubeconfig is not valid base64; encode the PEM file with base64")]
    Base64 {
        /// The field at fault.
        field: &'static str,
    },
    /// A credential is named by its path.
    #[error("the field {field} of the kubeconfig names a file; embed its content with {field}-data instead")]
    FileReference {
        /// The field at fault.
        field: &'static str,
    },
}

impl Error {
    /// A stable word for metrics and log fields.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::NoEntry { .. } | Self::NoServer { .. } => "incomplete",
            Self::Base64 { .. } => "base64",
            Self::FileReference { .. } => "file_reference",
        }
    }
}

/// The kubeconfig of `identity`, in the layout that client-go writes.
pub fn render(identity: &Identity) -> Vec<u8> {
    let Identity { cluster_name, user_name, server, authority_pem, client } = identity;
    let context = scalar(&format!("{user_name}@{cluster_name}"));
    let (cluster, user, server) = (scalar(cluster_name), scalar(user_name), scalar(server));
    let authority = STANDARD.encode(authority_pem);
    let certificate = STANDARD.encode(&client.certificate);
    let key = STANDARD.encode(&client.key);
    format!(
        "apiVersion: v1\n\
         clusters:\n\
         - cluster:\n    certificate-authority-data: {authority}\n    server: {server}\n  name: {cluster}\n\
         contexts:\n\
         - context:\n    cluster: {cluster}\n    user: {user}\n  name: {context}\n\
         current-context: {context}\n\
         kind: Config\n\
         users:\n\
         - name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
    .into_bytes()
}

/// Reads the identity that the current context of a kubeconfig points to; without a current context, the first one.
///
/// Fails on anything but a kubeconfig, on dangling names, and on credentials that are named by path: the file would be
/// looked for on another machine.
pub fn parse(file: &[u8]) -> Result<Parsed, Error> {
    let file: File = serde_saphyr::from_slice(file)
        .map_err(|error| Error::Syntax { line: error.location().map_or(0, |location| location.line()) })?;
    let contexts = file.contexts.unwrap_or_default();
    let wanted = file.current_context.filter(|name| !name.is_empty());
    let context = match &wanted {
        Some(name) => contexts.into_iter().find(|context| context.name == *name),
        None => contexts.into_iter().next(),
    };
    let context =
        context.ok_or_else(|| Error::NoEntry { kind: "context", name: wanted.clone().unwrap_or_default() })?;
    let Context { cluster: cluster_name, user: user_name } = context.context;
    let cluster = file
        .clusters
        .unwrap_or_default()
        .into_iter()
        .find(|cluster| cluster.name == cluster_name)
        .ok_or_else(|| Error::NoEntry { kind: "cluster", name: cluster_name.clone() })?
        .cluster;
    let user = file
        .users
        .unwrap_or_default()
        .into_iter()
        .find(|user| user.name == user_name)
        .ok_or_else(|| Error::NoEntry { kind: "user", name: user_name.clone() })?
        .user;
    let embedded = |field, data: Option<String>, path: Option<String>| match (data, path) {
        (Some(data), _) => {
            // YAML block scalars bring line breaks along.
            let data: String = data.split_ascii_whitespace().collect();
            STANDARD.decode(data).map_err(|_| Error::Base64 { field })
        }
        (None, Some(path)) if !path.is_empty() => Err(Error::FileReference { field }),
        (None, _) => Ok(Vec::new()),
    };
    Ok(Parsed {
        server: cluster
            .server
            .filter(|server| !server.is_empty())
            .ok_or_else(|| Error::NoServer { cluster: cluster_name.clone() })?,
        authority_pem: embedded("certificate-authority", cluster.authority_data, cluster.authority)?,
        client_certificate: embedded("client-certificate", user.certificate_data, user.certificate)?,
        client_key: embedded("client-key", user.key_data, user.key)?,
        context: context.name,
        cluster_name,
        user_name,
    })
}

/// A YAML scalar that reads back as this string, plain where that is safe beyond doubt.
fn scalar(text: &str) -> String {
    const RESERVED: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:/@[]".contains(c))
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain { text.to_owned() } else { quoted(text) }
}

/// A double-quoted scalar: printable ASCII as it is, everything else escaped by its number.
fn quoted(text: &str) -> String {
    let mut scalar = String::with_capacity(text.len() + 2);
    scalar.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => scalar.extend(['\\', c]),
            ' '..='~' => scalar.push(c),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(scalar, "\\U{:08x}", u32::from(c));
            }
        }
    }
    scalar.push('"');
    scalar
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    clusters: Option<Vec<NamedCluster>>,
    contexts: Option<Vec<NamedContext>>,
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    server: Option<String>,
    #[serde(rename = "certificate-authority-data")]
    authority_data: Option<String>,
    #[serde(rename = "certificate-authority")]
    authority: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "client-certificate-data")]
    certificate_data: Option<String>,
    #[serde(rename = "client-certificate")]
    certificate: Option<String>,
    #[serde(rename = "client-key-data")]
    key_data: Option<String>,
    #[serde(rename = "client-key")]
    key: Option<String>,
}

#[cfg(test)]
mod tests;
