//! Lists and watches of the objects with the project label.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body as _, Incoming};
use kamaji_api::contract::labels;
use kube::{
    api::{ListParams, WatchParams},
    core::{ObjectList, Request},
};

use super::{connection::Connection, error::Error, kinds::Kept};

/// Objects per page of a list. The plan of a tenant has less than twenty of any kind.
const PAGE: u32 = 50;

// A tenant's users may create as many and as large objects with our label as they like; one object is at most 1.5 MiB.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// A watch ends after this long at the latest, and with the look that follows everything was seen again.
const WATCH_SECONDS: u32 = 3600;

/// A page of a list, and how to go on.
pub(super) struct Page<K: Kept> {
    /// The objects.
    pub(super) items: Vec<K>,
    /// Resource version that a watch goes on from.
    pub(super) version: String,
    /// What the next page is asked for with.
    pub(super) next: Option<String>,
}

/// Reads one page; the first without `next`.
///
/// # Errors
/// When there is no answer, or not a good one.
pub(super) async fn page<K: Kept>(connection: &Connection, next: Option<&str>) -> Result<Page<K>, Error> {
    match part(connection, next, PAGE).await {
        // Some of them are very large.
        Err(Error::Unreadable { .. }) => part(connection, next, 1).await,
        other => other,
    }
}

async fn part<K: Kept>(connection: &Connection, next: Option<&str>, limit: u32) -> Result<Page<K>, Error> {
    let verb = format!("list {} objects", K::kind(&()));
    let unreadable = |detail: String| Error::Unreadable { verb: verb.clone(), detail };
    let mut params = ListParams::default().labels(&selector()).limit(limit);
    params.continue_token = next.map(str::to_owned);
    let request = Request::new(K::url_path(&(), None)).list(&params).map_err(|error| unreadable(error.to_string()))?;
    let bytes = connection.read(request, &verb, ANSWER_LIMIT).await?;
    let list: ObjectList<K> = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    Ok(Page {
        items: list.items,
        version: list.metadata.resource_version.unwrap_or_default(),
        next: list.metadata.continue_.filter(|next| !next.is_empty()),
    })
}

/// Objects with the label that everything of ours carries.
fn selector() -> String {
    format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE)
}

/// A running watch: lines of JSON.
pub(super) struct Watch {
    body: Incoming,
    // What has come of the next lines. Freed when all of it was taken, which is nearly always.
    buffer: Vec<u8>,
}

impl Watch {
    /// Begins to watch from `version` on.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn open<K: Kept>(connection: &Connection, version: &str) -> Result<Self, Error> {
        let verb = format!("watch {} objects", K::kind(&()));
        let params = WatchParams {
            label_selector: Some(selector()),
            // Spread, so that watches that began together do not end together.
            timeout: Some(WATCH_SECONDS - rand::random_range(0..WATCH_SECONDS / 2)),
            // They would cost more than the list that they may save.
            bookmarks: false,
            ..WatchParams::default()
        };
        let request = Request::new(K::url_path(&(), None)).watch(&params, version);
        let request = request.map_err(|error| Error::Unreadable { verb: verb.clone(), detail: error.to_string() })?;
        Ok(Self { body: connection.stream(request, &verb).await?, buffer: Vec::new() })
    }

    /// The next line; `None` when the watch is over, however it ended.
    pub(super) fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return Poll::Ready(Some(line));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                    if self.buffer.len() > ANSWER_LIMIT {
                        return Poll::Ready(None);
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a watch broke");
                    return Poll::Ready(None);
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let rest = buffer.split_off(end + 1);
    let line = std::mem::replace(buffer, rest);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_whole_lines_and_frees_the_buffer() {
        let mut buffer = b"{\"a\":1}\n{\"b\":2}\n{\"c\"".to_vec();
        assert_eq!(take_line(&mut buffer).unwrap(), b"{\"a\":1}\n");
        assert_eq!(take_line(&mut buffer).unwrap(), b"{\"b\":2}\n");
        assert_eq!(take_line(&mut buffer), None);
        buffer.extend_from_slice(b":3}\n");
        assert_eq!(take_line(&mut buffer).unwrap(), b"{\"c\":3}\n");
        assert_eq!(buffer.capacity(), 0);
    }
}
