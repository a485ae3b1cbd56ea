//! Standard status conditions, following kstatus: `Ready`, `Progressing`, `Degraded`, `Stalled`; and one of our own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object does what its spec says.
pub const READY: &str = "Ready";
/// The operator is working towards the spec, or waits for something named.
pub const PROGRESSING: &str = "Progressing";
/// It serves, but something named is wrong.
pub const DEGRADED: &str = "Degraded";
/// It cannot come to what the spec says until a person changes something named.
pub const STALLED: &str = "Stalled";
/// Of a TenantControlPlane: everything that the operator keeps in the tenant's own cluster is in place.
pub const TENANT_CONFIGURED: &str = "TenantConfigured";

/// Longest message that the API server accepts, in characters.
const MAX_MESSAGE: usize = 32_768;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl ConditionStatus {
    /// The text as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Makes a condition that changed at `now`. `reason` is one CamelCase word; a `message` beyond what the API server
/// accepts is cut.
pub fn condition(
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: &Time,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MAX_MESSAGE).collect(),
        observed_generation,
        last_transition_time: now.clone(),
    }
}

/// Puts `new` in place of the condition of its type, or at the end when there is none.
///
/// The transition time stays while `status` stays, so that setting the same condition again changes nothing.
/// Returns whether anything but the transition time changed.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|old| old.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// Takes away the condition of a type. Returns whether there was one.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.len() != before
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{seconds:02}Z"))).unwrap()
    }

    fn ready(status: ConditionStatus, message: &str, seconds: i64) -> Condition {
        condition(READY, status, "Reason", message, Some(1), &at(seconds))
    }

    #[test]
    fn keeps_the_transition_time_while_the_status_stays() {
        let mut conditions = vec![ready(ConditionStatus::True, "serving", 1)];
        assert!(set(&mut conditions, ready(ConditionStatus::True, "still serving", 2)));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert_eq!(conditions[0].message, "still serving");
    }

    #[test]
    fn moves_the_transition_time_when_the_status_changes() {
        let mut conditions = vec![ready(ConditionStatus::True, "serving", 1)];
        assert!(set(&mut conditions, ready(ConditionStatus::False, "down", 2)));
        assert_eq!(conditions[0].last_transition_time, at(2));
    }

    #[test]
    fn setting_the_same_condition_later_changes_nothing() {
        let mut conditions = vec![ready(ConditionStatus::True, "serving", 1)];
        let before = conditions.clone();
        assert!(!set(&mut conditions, ready(ConditionStatus::True, "serving", 2)));
        assert_eq!(conditions, before);
    }

    #[test]
    fn a_new_type_goes_to_the_end_and_can_be_removed() {
        let mut conditions = vec![ready(ConditionStatus::True, "serving", 1)];
        let stalled = condition(STALLED, true.into(), "Reason", "message", None, &at(1));
        assert!(set(&mut conditions, stalled));
        assert!(is_true(&conditions, STALLED));
        assert!(remove(&mut conditions, STALLED));
        assert!(!remove(&mut conditions, STALLED));
        assert!(find(&conditions, READY).is_some());
    }

    #[test]
    fn cuts_a_message_that_the_api_server_would_refuse() {
        let long = "é".repeat(MAX_MESSAGE + 1);
        let cut = condition(READY, ConditionStatus::Unknown, "Reason", &long, None, &at(1));
        assert_eq!(cut.message.chars().count(), MAX_MESSAGE);
    }
}
