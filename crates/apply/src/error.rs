//! What can go wrong on the way to an API server.

use crate::fence::FenceLost;

/// Why an object was not written, or not read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused, or was not reached.
    #[error("could not {verb} {object}: {}", brief(source))]
    Api {
        /// What was attempted, as a word.
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The client's error. Its own text repeats the API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// This process may not write: nothing was sent, or a request in flight was dropped, whose effect is unknown.
    #[error("did not {verb} {object}: {source}")]
    Fenced {
        /// What was attempted, as a word.
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// Why not.
        #[source]
        source: FenceLost,
    },
    /// The object cannot be turned into JSON, or the answer not into the object. The parser's own words are left out:
    /// they quote the object, which may be secret.
    #[error("{object} does not convert to or from JSON at line {line}, column {column}: does the type fit the API?")]
    Json {
        /// Kind, namespace and name.
        object: String,
        /// Line of the answer, 0 when the object could not be written as JSON.
        line: usize,
        /// Column of the answer.
        column: usize,
    },
    /// The object has no `metadata.name`.
    #[error("a {kind} without metadata.name cannot be written: set a name, generateName is not supported")]
    Unnamed {
        /// Kind.
        kind: String,
    },
    /// A live object was passed that did not come from an API server.
    #[error("{object} has no metadata.{field}: pass the object as the API server returned it")]
    NotLive {
        /// Kind, namespace and name.
        object: String,
        /// Missing field.
        field: &'static str,
    },
    /// `stringData` of a Secret is write-only: the API server never shows it, so that it can never be compared.
    #[error("{object} sets stringData: put the bytes into data")]
    StringData {
        /// Kind, namespace and name.
        object: String,
    },
}

impl Error {
    pub(crate) fn json(object: &str, error: &serde_json::Error) -> Self {
        Self::Json { object: object.to_owned(), line: error.line(), column: error.column() }
    }

    /// Short, fixed word for metrics and for the choice of what to do next.
    ///
    /// `conflict`: read again and retry. `unavailable`: retry later. `forbidden`, `invalid`: somebody must change
    /// something. `not-found`: the object, its namespace or its kind is gone. `fenced`: stop writing. `internal`: a
    /// defect of the caller.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api { source, .. } if is_malformed(source) => "invalid",
            Self::Api { source, .. } if is_successor(source) => "conflict",
            Self::Api { source, .. } => match code(source) {
                Some(404 | 410) => "not-found",
                Some(409) => "conflict",
                Some(401 | 403) => "forbidden",
                Some(400 | 405 | 406 | 413 | 415 | 422) => "invalid",
                Some(_) | None => "unavailable",
            },
            Self::Fenced { .. } => "fenced",
            Self::Json { .. } | Self::Unnamed { .. } | Self::NotLive { .. } | Self::StringData { .. } => "internal",
        }
    }

    /// HTTP code of the API server's answer, where there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => code(source),
            Self::Fenced { .. }
            | Self::Json { .. }
            | Self::Unnamed { .. }
            | Self::NotLive { .. }
            | Self::StringData { .. } => None,
        }
    }
}

pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

// The API server reports an apply that does not fit the schema, such as two list items with one key, as its own failure.
fn is_malformed(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 500
        && status.message.starts_with("failed to create typed patch object"))
}

// A patch names the uid of the object that it is meant for; the name belongs to another object by now.
fn is_successor(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

// kube prints the whole Status twice, the second time as a Rust debug dump.
fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => {
            format!("HTTP {} {}", status.code, status.reason).trim_end().to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16) -> Error {
        let status = Status::failure("the server says no", "Reason").with_code(code);
        Error::Api {
            verb: "apply",
            object: "ConfigMap a/b".to_owned(),
            source: Box::new(kube::Error::Api(status.boxed())),
        }
    }

    #[test]
    fn names_the_object_and_the_servers_sentence_once() {
        assert_eq!(api(403).to_string(), "could not apply ConfigMap a/b: the server says no");
    }

    #[test]
    fn sorts_answers_by_what_to_do_next() {
        let categories: Vec<_> = [404, 409, 403, 422, 429, 500].map(|code| api(code).category()).into();
        assert_eq!(categories, ["not-found", "conflict", "forbidden", "invalid", "unavailable", "unavailable"]);
    }
}
