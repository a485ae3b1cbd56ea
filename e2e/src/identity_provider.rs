//! An organization's identity provider: OpenID Connect and a webhook for tokens, over HTTPS, in the process of the test.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kamaji_testkit::certificate::Identity;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::story::NODE;

/// Whom tokens are for.
pub const CLIENT_ID: &str = "kubernetes";
/// The user whom a token names.
pub const USER: &str = "ada";
/// A token that the webhook knows.
pub const OPAQUE_TOKEN: &str = "opaque-token-of-ada";

/// A running provider; ends when dropped.
pub struct IdentityProvider {
    key: EcdsaKeyPair,
    port: u16,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    task: AbortHandle,
}

/// A provider that listens and does not serve yet, so that its address is known before its certificate.
pub struct Bound(TcpListener);

impl Bound {
    /// Takes a free port of the node.
    ///
    /// # Errors
    /// When the local cluster's bridge is not there.
    pub async fn new() -> Result<Self> {
        let listener = TcpListener::bind((NODE, 0)).await;
        listener.map(Self).with_context(|| format!("{NODE} is not an address of this machine"))
    }

    /// Its URL: the issuer of its tokens.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn url(&self) -> Result<String> {
        Ok(url(self.0.local_addr()?.port()))
    }

    /// Begins to serve, showing a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn serve(self, identity: &Identity) -> Result<IdentityProvider> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let port = self.0.local_addr()?.port();
        let shown = Arc::new(Mutex::new(server_config(identity)?));
        let task = tokio::spawn(accept(self.0, Arc::clone(&shown), keys(&key)?, url(port))).abort_handle();
        Ok(IdentityProvider { key, port, shown, task })
    }
}

impl IdentityProvider {
    /// The names that its certificate must have.
    pub const NAMES: [&'static str; 1] = [NODE];

    /// A provider that shows this certificate.
    ///
    /// # Errors
    /// As [`Bound::new`] and [`Bound::serve`].
    pub async fn start(identity: &Identity) -> Result<Self> {
        Bound::new().await?.serve(identity)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Shows another certificate from now on.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn show(&self, identity: &Identity) -> Result<()> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = server_config(identity)?;
        Ok(())
    }

    /// A token of [`USER`], good for an hour.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "one"});
        let claims = json!({"iss": self.url(), "aud": CLIENT_ID, "sub": USER, "iat": now, "exp": now + 3600});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The flags by which kube-apiserver takes the tokens of an issuer, as its owner writes them.
pub fn flags(issuer: &str) -> Value {
    json!([
        format!("--oidc-issuer-url={issuer}"),
        format!("--oidc-client-id={CLIENT_ID}"),
        "--oidc-username-prefix=-",
        "--oidc-signing-algs=ES256",
    ])
}

/// The kubeconfig of a webhook for tokens; it names no certificate authority.
pub fn webhook_kubeconfig(url: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "webhook",
        "clusters": [{"name": "webhook", "cluster": {"server": format!("{url}/authenticate")}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "apiserver"}}],
        "users": [{"name": "apiserver", "user": {}}],
    })
    .to_string()
}

fn url(port: u16) -> String {
    format!("https://{NODE}:{port}")
}

fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    Ok(Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?))
}

fn keys(key: &EcdsaKeyPair) -> Result<Value> {
    // An uncompressed point: 4, x, y.
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(32)).context("no point on P-256")?;
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "one", "x": number(x), "y": number(y)});
    Ok(json!({"keys": [key]}))
}

async fn accept(listener: TcpListener, shown: Arc<Mutex<Arc<ServerConfig>>>, keys: Value, url: String) {
    let (keys, url): (Arc<Value>, Arc<str>) = (Arc::new(keys), url.into());
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let config = Arc::clone(&shown.lock().unwrap_or_else(PoisonError::into_inner));
        let (keys, url) = (Arc::clone(&keys), Arc::clone(&url));
        tokio::spawn(timeout(Duration::from_secs(10), async move {
            // A client that does not trust the certificate goes away here.
            let Ok(mut session) = TlsAcceptor::from(config).accept(connection).await else { return };
            if let Some((path, body)) = request(&mut session).await {
                let _ = session.write_all(respond(&path, &body, &keys, &url).as_bytes()).await;
                let _ = session.shutdown().await;
            }
        }));
    }
}

/// Path and body of the only request of a connection.
async fn request(session: &mut TlsStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if session.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(read.get(..head)?).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = read.split_off(head);
    while body.len() < length.unwrap_or(0) {
        if session.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((text.split_whitespace().nth(1)?.to_owned(), body))
}

fn respond(path: &str, body: &[u8], keys: &Value, url: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let answer = match path {
        "/.well-known/openid-configuration" => Some(json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        "/keys" => Some(keys.clone()),
        "/authenticate" => Some(review(body)),
        _ => None,
    };
    let (status, body) = match answer {
        Some(answer) => ("200 OK", answer.to_string()),
        None => ("404 Not Found", "{}".to_owned()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// What the webhook says of a TokenReview.
fn review(body: &[u8]) -> Value {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let known = asked.pointer("/spec/token").and_then(Value::as_str) == Some(OPAQUE_TOKEN);
    let status = if known {
        json!({"authenticated": true, "user": {"username": USER}})
    } else {
        json!({"authenticated": false})
    };
    json!({"apiVersion": asked.get("apiVersion"), "kind": "TokenReview", "status": status})
}
