//! What an error of the etcd client means: did the server answer, is it away, or does it want a new token?

use std::error::Error as StdError;
use std::sync::Arc;

use etcd_client::Error as ClientError;
use tonic::{Code, Status};

use crate::Error;
use crate::asked::Asked;
use crate::error::Cause;

/// How one attempt at one endpoint failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more: drop it, ask another endpoint.
    Broken(Error),
    /// This member cannot answer now, another one may.
    Elsewhere(Error),
    /// The request met a change of users or roles, or its token expired: ask again.
    Stale(Error),
    /// The server understood and said no: another endpoint would say the same.
    Answer(Answer),
}

/// A refusal that callers tell apart.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it means.
    pub kind: Refusal,
    /// As an error for the outside.
    pub error: Error,
}

/// The refusals that are an outcome rather than an error for some caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UserNotFound,
    UserExists,
    RoleNotFound,
    RoleExists,
    RoleNotGranted,
    PermissionNotGranted,
    AuthNotEnabled,
    MemberNotFound,
    LearnerNotReady,
    NotLearner,
    Compacted,
    Other,
}

impl Asked<'_> {
    /// Classifies an error of the client.
    pub fn failed(&self, error: ClientError) -> Failure {
        let status = match error {
            ClientError::GRpcStatus(status) => status,
            ClientError::TransportError(source) => return Failure::Broken(self.not_connected(source)),
            ClientError::IoError(source) => return Failure::Broken(self.not_connected(source)),
            other => {
                let (endpoint, operation) = self.both();
                let error = Error::Refused { endpoint, operation, detail: other.to_string(), source: Arc::new(other) };
                return Failure::Answer(Answer { kind: Refusal::Other, error });
            }
        };
        // Only what the server said has no cause below it: the rest is this side's transport.
        if status.source().is_some() || !from_server(&status) {
            // Which of reset, broken pipe or cancelled it is depends on who was faster: one sentence for all, so that a
            // condition made of it stays the same. The source has the difference.
            let detail = if status.source().is_some() {
                "the connection was closed before an answer came".to_owned()
            } else {
                status.message().to_owned()
            };
            return Failure::Broken(self.transport(detail, Arc::new(status)));
        }
        self.answered(status)
    }

    fn answered(&self, status: Status) -> Failure {
        let (endpoint, operation) = self.both();
        let detail = status.message().trim_start_matches("etcdserver: ").to_owned();
        let message = detail.clone();
        let code = status.code();
        let source: Cause = Arc::new(status);
        let answer = |kind, error| Failure::Answer(Answer { kind, error });
        match (code, message.as_str()) {
            (_, "invalid auth token" | "revision of auth store is old") => {
                Failure::Stale(Error::Unauthenticated { endpoint, operation, detail, source })
            }
            (_, "user name is empty" | "authentication failed, invalid user ID or password")
            | (Code::Unauthenticated, _) => {
                answer(Refusal::Other, Error::Unauthenticated { endpoint, operation, detail, source })
            }
            // Told apart from a missing tenant by whoever asked: see `grants`.
            (_, "user name not found") => {
                answer(Refusal::UserNotFound, Error::Unauthenticated { endpoint, operation, detail, source })
            }
            (Code::PermissionDenied, _) => {
                answer(Refusal::Other, Error::PermissionDenied { endpoint, operation, detail, source })
            }
            (Code::ResourceExhausted, "mvcc: database space exceeded") => {
                answer(Refusal::Other, Error::NoSpace { endpoint, operation, detail, source })
            }
            // To a change of members, from every member alike: it is not the store that is away.
            (_, "unhealthy cluster") => {
                answer(Refusal::Other, Error::Unavailable { endpoint, operation, detail, source })
            }
            (_, "rpc not supported for learner")
            | (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled, _) => {
                Failure::Elsewhere(Error::Unavailable { endpoint, operation, detail, source })
            }
            (_, "member ID already exist" | "Peer URLs already exists") => answer(
                Refusal::Other,
                Error::Conflict { detail: format!("the etcd cluster at {endpoint} did not {operation}: {detail}") },
            ),
            (_, message) => {
                let kind = match message {
                    "user name already exists" => Refusal::UserExists,
                    "role name not found" => Refusal::RoleNotFound,
                    "role name already exists" => Refusal::RoleExists,
                    "role is not granted to the user" => Refusal::RoleNotGranted,
                    "permission is not granted to the role" => Refusal::PermissionNotGranted,
                    "authentication is not enabled" => Refusal::AuthNotEnabled,
                    "member not found" => Refusal::MemberNotFound,
                    "can only promote a learner member which is in sync with leader" => Refusal::LearnerNotReady,
                    "can only promote a learner member" => Refusal::NotLearner,
                    "mvcc: required revision has been compacted" => Refusal::Compacted,
                    _ => Refusal::Other,
                };
                answer(kind, Error::Refused { endpoint, operation, detail, source })
            }
        }
    }
}

/// Whether etcd itself wrote this status: a proxy or load balancer in between answers with HTTP errors instead.
fn from_server(status: &Status) -> bool {
    status.message().starts_with("etcdserver: ") || !matches!(status.code(), Code::Unknown | Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked { endpoint: "etcd-0:2379", operation: "add the role \"a\"" };

    fn status(code: Code, message: &str) -> Failure {
        ASKED.failed(ClientError::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn server_errors_become_categories() {
        for (code, message, category) in [
            (Code::InvalidArgument, "etcdserver: user name is empty", "unauthenticated"),
            (Code::FailedPrecondition, "etcdserver: user name not found", "unauthenticated"),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                "unauthenticated",
            ),
            (Code::PermissionDenied, "etcdserver: permission denied", "permission_denied"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "no_space"),
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists", "conflict"),
            (Code::InvalidArgument, "etcdserver: request is too large", "refused"),
            (Code::Unavailable, "etcdserver: unhealthy cluster", "unavailable"),
        ] {
            let Failure::Answer(answer) = status(code, message) else { panic!("{message}") };
            assert_eq!(answer.error.category(), category, "{message}");
            let sentence = answer.error.to_string();
            assert!(sentence.contains("etcd-0:2379"), "{sentence}");
            assert!(!sentence.contains("etcdserver:"), "{sentence}");
        }
    }

    #[test]
    fn a_member_without_leader_sends_the_call_elsewhere() {
        for message in ["etcdserver: no leader", "etcdserver: request timed out", "etcdserver: server stopped"] {
            let Failure::Elsewhere(error) = status(Code::Unavailable, message) else { panic!("{message}") };
            assert_eq!(error.category(), "unavailable");
        }
        let learner = status(Code::FailedPrecondition, "etcdserver: rpc not supported for learner");
        assert!(matches!(learner, Failure::Elsewhere(_)));
    }

    #[test]
    fn an_old_revision_or_token_is_asked_again() {
        let old = status(Code::InvalidArgument, "etcdserver: revision of auth store is old");
        let expired = status(Code::Unauthenticated, "etcdserver: invalid auth token");
        assert!(matches!((old, expired), (Failure::Stale(_), Failure::Stale(_))));
    }

    #[test]
    fn a_proxy_in_between_is_not_the_server() {
        let failure = status(Code::Unknown, "grpc-status header missing, mapped from HTTP status code 502");
        let Failure::Broken(error) = failure else { panic!("{failure:?}") };
        assert_eq!(error.category(), "unreachable");
        assert!(error.to_string().contains("502"), "{error}");
    }
}
