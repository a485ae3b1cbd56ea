//! The reasons in a DataStore's condition and Events. People and alert rules read them: they stay.

use kamaji_api::DataStoreSpec;
use kamaji_apply::EventType;
use kamaji_datastore::Error;

use super::credentials;

/// It can be used.
pub const VALID: &str = "DataStoreIsValid";
/// Of an Event: it can be used, and something should not stay as it is.
const WARNING: &str = "DataStoreWarning";
/// Certificates and keys, ours or the server's.
pub const TLS: &str = "TLSConfigurationValidationFailed";
/// Login and password.
pub const BASIC_AUTH: &str = "BasicAuthValidationFailed";

/// The reason of a failed call.
pub fn of_call(error: &Error, spec: &DataStoreSpec) -> &'static str {
    match error {
        Error::InvalidConnection { field, .. } => of_field(field),
        Error::InvalidTls { .. } | Error::Tls { .. } => TLS,
        Error::Unreachable { .. } => "ConnectionFailed",
        Error::Timeout { .. } => "ConnectionTimeout",
        Error::Unavailable { .. } => "ServerUnavailable",
        // Without a password the certificate is what the server knows us by.
        Error::Unauthenticated { .. } if spec.basic_auth.is_none() => TLS,
        Error::Unauthenticated { .. } => BASIC_AUTH,
        Error::PermissionDenied { .. } => "PrivilegesMissing",
        Error::NoSpace { .. } => "NoSpaceLeft",
        Error::TooOld { .. } => "ServerTooOld",
        Error::Refused { .. } => "RequestRefused",
        // Of calls about one tenant, which a check does not make.
        Error::InvalidName { .. } | Error::Incomplete { .. } | Error::Conflict { .. } => "CheckFailed",
    }
}

/// The reason of material that cannot be read.
pub fn of_material(error: &credentials::Error) -> &'static str {
    of_field(error.field())
}

fn of_field(field: &str) -> &'static str {
    let is_below = |parent: &str| field.starts_with(parent);
    if is_below("spec.basicAuth") {
        BASIC_AUTH
    } else if is_below("spec.tlsConfig") {
        TLS
    } else if is_below("spec.endpoints") {
        "EndpointsValidationFailed"
    } else {
        "InvalidSpec"
    }
}

/// The Event of a condition that changed.
pub fn event<'a>(usable: bool, reason: &'a str, message: &str) -> (EventType, &'a str, String) {
    match (usable, message) {
        (true, "") => (EventType::Normal, reason, "The datastore answers.".to_owned()),
        (true, warnings) => (EventType::Warning, WARNING, warnings.to_owned()),
        (false, sentence) => (EventType::Warning, reason, sentence.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use kamaji_datastore::{Driver, error::Cause};

    use super::*;

    fn spec(basic_auth: bool) -> DataStoreSpec {
        let mut spec = serde_json::json!({"driver": "PostgreSQL", "endpoints": ["db:5432"]});
        if basic_auth {
            spec["basicAuth"] = serde_json::json!({"username": {"content": "YQ=="}, "password": {"content": "YQ=="}});
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn every_failure_has_a_reason_of_its_own_kind() {
        let source: Cause = Arc::new(std::io::Error::other("said"));
        let (endpoint, operation, detail) = ("db:5432".to_owned(), "answer".to_owned(), "said".to_owned());
        let both = || (endpoint.clone(), operation.clone(), detail.clone(), Arc::clone(&source));
        macro_rules! server {
            ($kind:ident) => {{
                let (endpoint, operation, detail, source) = both();
                Error::$kind { endpoint, operation, detail, source }
            }};
        }
        let field = |field| Error::InvalidConnection { field, detail: detail.clone() };
        let tls = Error::Tls { endpoint: endpoint.clone(), detail: detail.clone(), source: Arc::clone(&source) };
        let timeout =
            Error::Timeout { endpoint: endpoint.clone(), operation: operation.clone(), after: Duration::from_secs(5) };
        let incomplete = Error::Incomplete { driver: Driver::MySql, schema: "s".into(), what: "owner", way_out: "" };
        let too_old =
            Error::TooOld { endpoint: endpoint.clone(), product: "PostgreSQL", version: "9.6".into(), wanted: "13" };
        let cases = [
            (field("spec.endpoints"), "EndpointsValidationFailed"),
            (field("spec.basicAuth"), "BasicAuthValidationFailed"),
            (field("spec.driver"), "InvalidSpec"),
            (Error::InvalidTls { field: "spec.tlsConfig", detail: detail.clone() }, "TLSConfigurationValidationFailed"),
            (tls, "TLSConfigurationValidationFailed"),
            (server!(Unreachable), "ConnectionFailed"),
            (timeout, "ConnectionTimeout"),
            (server!(Unavailable), "ServerUnavailable"),
            (server!(Unauthenticated), "BasicAuthValidationFailed"),
            (server!(PermissionDenied), "PrivilegesMissing"),
            (server!(NoSpace), "NoSpaceLeft"),
            (too_old, "ServerTooOld"),
            (server!(Refused), "RequestRefused"),
            (incomplete, "CheckFailed"),
            (Error::Conflict { detail: detail.clone() }, "CheckFailed"),
        ];
        for (error, reason) in cases {
            assert_eq!(of_call(&error, &spec(true)), reason, "{error}");
        }
        // Known by its certificate alone.
        assert_eq!(of_call(&server!(Unauthenticated), &spec(false)), TLS);
    }

    #[test]
    fn material_that_is_missing_is_told_by_its_field() {
        for (field, reason) in [
            ("spec.basicAuth.password", "BasicAuthValidationFailed"),
            ("spec.tlsConfig.clientCertificate.privateKey", "TLSConfigurationValidationFailed"),
            ("spec.endpoints", "EndpointsValidationFailed"),
        ] {
            let missing = credentials::Error::Absent { field: field.to_owned(), hint: "give it" };
            assert_eq!(of_material(&missing), reason);
        }
        assert_eq!(of_material(&credentials::Error::UnknownDriver { driver: "tape".into() }), "InvalidSpec");
    }

    #[test]
    fn a_warning_is_an_event_of_a_datastore_that_can_be_used() {
        let told = |usable, reason, message| {
            let (kind, reason, note) = event(usable, reason, message);
            (kind.as_str(), reason.to_owned(), note)
        };
        let warning = "etcd 3.6.13 is older than the releases that keep tenants apart";
        assert_eq!(told(true, VALID, warning), ("Warning", WARNING.to_owned(), warning.to_owned()));
        assert_eq!(told(true, VALID, "").0, "Normal");
        assert_eq!(told(false, "ConnectionFailed", "it is away").1, "ConnectionFailed");
    }
}
