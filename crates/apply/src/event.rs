//! Events that people see in `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as ApiEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

/// Bytes of a note that are kept: the limit of the events.k8s.io/v1 validation.
pub const NOTE_LIMIT: usize = 1024;
// Of the same validation, in bytes.
const NAME_LIMIT: usize = 128;

/// Severity of an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something happened as intended.
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl EventType {
    /// The word that Events carry (Kubernetes API, `Event` in `events.k8s.io/v1`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One transition worth telling. Publish it once, when it happens: repeated Events are not merged into a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Severity.
    pub type_: EventType,
    /// Why, one word in PascalCase, at most 128 bytes.
    pub reason: String,
    /// What was done, one word in PascalCase, at most 128 bytes.
    pub action: String,
    /// Sentence for people. Longer than 1024 bytes is cut at a character. Never put a secret here.
    pub note: String,
}

/// Object that reports `event` about `regarding`; cluster-scoped subjects report in `default`, as kubectl expects.
pub(crate) fn object(
    event: &Event,
    regarding: ObjectReference,
    controller: &str,
    instance: &str,
    now: Timestamp,
) -> ApiEvent {
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let subject = regarding.name.as_deref().unwrap_or(controller);
    ApiEvent {
        metadata: ObjectMeta {
            // Names are at most 253 characters, the suffix takes 17.
            name: Some(format!("{}.{:x}", cut(subject, 230), now.as_nanosecond())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        type_: Some(event.type_.as_str().to_owned()),
        reason: Some(cut(&event.reason, NAME_LIMIT).to_owned()),
        action: Some(cut(&event.action, NAME_LIMIT).to_owned()),
        note: Some(cut(&event.note, NOTE_LIMIT).to_owned()),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(cut(instance, NAME_LIMIT).to_owned()),
        regarding: Some(regarding),
        ..ApiEvent::default()
    }
}

fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(note: &str) -> Event {
        Event {
            type_: EventType::Warning,
            reason: "Degraded".to_owned(),
            action: "Reconcile".to_owned(),
            note: note.to_owned(),
        }
    }

    #[test]
    fn reports_a_cluster_scoped_subject_in_default() {
        let regarding = ObjectReference { name: Some("shared".to_owned()), ..ObjectReference::default() };
        let made = object(&event("gone"), regarding, "kamaji", "kamaji-0", Timestamp::UNIX_EPOCH);
        assert_eq!(made.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(made.metadata.name.as_deref(), Some("shared.0"));
        assert_eq!(made.type_.as_deref(), Some("Warning"));
    }

    #[test]
    fn cuts_a_long_note_between_characters() {
        let note = "é".repeat(600);
        let made = object(&event(&note), ObjectReference::default(), "kamaji", "0", Timestamp::UNIX_EPOCH);
        assert_eq!(made.note.map(|note| note.len()), Some(1024));
        let odd = format!("x{note}");
        let made = object(&event(&odd), ObjectReference::default(), "kamaji", "0", Timestamp::UNIX_EPOCH);
        assert_eq!(made.note.map(|note| note.len()), Some(1023));
    }
}
