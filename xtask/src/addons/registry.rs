//! A read-only image registry over an OCI image layout.
//!
//! It answers for every registry host: containerd names the host that it means in the query (`?ns=docker.io`).
//! See the OCI distribution specification, "Pull".

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes of a blob that are read at a time.
const CHUNK: usize = 1 << 20;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Whether this is a registry.
    Version,
    /// A manifest, by full reference.
    Tag(String),
    /// A manifest or blob, by the hex digits of its digest.
    Digest(String),
}

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, layout: PathBuf) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let layout = Arc::new(layout);
    loop {
        let (stream, _) = listener.accept().await?;
        let layout = Arc::clone(&layout);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let layout = Arc::clone(&layout);
                async move { Ok::<_, Infallible>(answer(&layout, &request).await) }
            });
            // A client that goes away in the middle is its own business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(layout: &Path, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "this registry is read-only");
    }
    let is_head = request.method() == Method::HEAD;
    match parse(request.uri().path(), request.uri().query().unwrap_or_default()) {
        None => plain(StatusCode::NOT_FOUND, "no such page"),
        Some(Asked::Version) => plain(StatusCode::OK, "{}"),
        Some(Asked::Digest(hex)) => blob(layout, &hex, is_head).await,
        Some(Asked::Tag(name)) => match digest_of(layout, &name).await {
            Some(hex) => blob(layout, &hex, is_head).await,
            None => plain(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        },
    }
}

fn parse(path: &str, query: &str) -> Option<Asked> {
    let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
    if rest.is_empty() {
        return Some(Asked::Version);
    }
    let (before, reference) = rest.rsplit_once('/')?;
    let (name, kind) = before.rsplit_once('/')?;
    if kind != "manifests" && kind != "blobs" {
        return None;
    }
    if let Some(hex) = reference.strip_prefix("sha256:") {
        let is_hash = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_hash.then(|| Asked::Digest(hex.to_owned()));
    }
    let host = query.split('&').find_map(|pair| pair.strip_prefix("ns=")).unwrap_or("docker.io");
    Some(Asked::Tag(format!("{host}/{name}:{reference}")))
}

async fn digest_of(layout: &Path, name: &str) -> Option<String> {
    let index = tokio::fs::read(layout.join("index.json")).await.ok()?;
    let index: serde_json::Value = serde_json::from_slice(&index).ok()?;
    let is_named = |entry: &&serde_json::Value| {
        entry.pointer("/annotations/io.containerd.image.name").and_then(serde_json::Value::as_str) == Some(name)
    };
    let entry = index.get("manifests")?.as_array()?.iter().find(is_named)?;
    Some(entry.get("digest")?.as_str()?.trim_start_matches("sha256:").to_owned())
}

async fn blob(layout: &Path, hex: &str, is_head: bool) -> Response<Body> {
    let path = layout.join("blobs/sha256").join(hex);
    let Ok(mut file) = tokio::fs::File::open(&path).await else {
        return plain(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
    };
    let length = file.metadata().await.map_or(0, |meta| meta.len());
    let mut start = Vec::new();
    if length < 64 * 1024 && file.read_to_end(&mut start).await.is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the blob cannot be read");
    }
    // The type of a document is written in it; everything else is bytes.
    let document = serde_json::from_slice::<serde_json::Value>(&start).unwrap_or_default();
    let kind = document.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or("application/octet-stream");
    let body = if is_head {
        empty()
    } else if start.is_empty() {
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = vec![0; CHUNK];
            let read = file.read(&mut chunk).await?;
            chunk.truncate(read);
            Ok((read > 0).then(|| (Frame::data(Bytes::from(chunk)), file)))
        });
        StreamBody::new(chunks).boxed_unsync()
    } else {
        whole(Bytes::from(start.clone()))
    };
    let response = Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CONTENT_LENGTH, length)
        .header("Docker-Content-Digest", format!("sha256:{hex}"));
    response.body(body).unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "no answer"))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    whole(Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse};

    #[test]
    fn the_host_comes_from_the_query() {
        let asked = parse("/v2/coredns/coredns/manifests/v1.15.0", "ns=registry.k8s.io");
        assert_eq!(asked, Some(Asked::Tag("registry.k8s.io/coredns/coredns:v1.15.0".into())));
    }

    #[test]
    fn a_path_cannot_leave_the_blobs() {
        assert_eq!(parse("/v2/x/blobs/sha256:../../index.json", ""), None);
        assert_eq!(parse("/v2/x/blobs/sha256:..", ""), None);
    }

    #[test]
    fn the_base_says_that_this_is_a_registry() {
        assert_eq!(parse("/v2/", ""), Some(Asked::Version));
    }
}
