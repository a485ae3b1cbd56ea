//! The first endpoint of a DataStore that tenants reach through kine, which is told of no other.
//!
//! A typo there would roll the pods of all tenants while another endpoint answers the operator. So what was just written
//! has to answer there itself. After that it may be away for as long as it likes, whatever else changes meanwhile.

use kamaji_api::{DataStore, Driver};
use kamaji_datastore::{Connection, Health};

use super::{Fault, reason};

/// Refuses a new first endpoint while it does not answer. `known` is what is open until now.
///
/// # Errors
/// What is wrong with the endpoint, and the way out.
pub fn check(data_store: &DataStore, known: Option<&Connection>, health: &Health) -> Result<(), Fault> {
    let Some(error) = health.silent.get(&0).filter(|_| data_store.spec.driver != Driver::Etcd) else { return Ok(()) };
    let told = known.is_some_and(|known| known.endpoints.first() == data_store.spec.endpoints.first());
    if told || was_usable(data_store) {
        return Ok(());
    }
    let sentence = format!(
        "{error}. Another one of spec.endpoints answers, but tenants are told of the first alone: correct it, or put one \
         first that answers"
    );
    Err((reason::of_call(error, &data_store.spec), sentence))
}

/// Whether the specification as it is now could be used, as the operator knew before it was restarted.
fn was_usable(data_store: &DataStore) -> bool {
    let generation = data_store.metadata.generation;
    let status = data_store.status.as_ref();
    generation.is_some() && status.is_some_and(|status| status.ready && status.observed_generation == generation)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kamaji_datastore::Error;
    use serde_json::{Value, json};

    use super::*;

    fn data_store(driver: &str, generation: Option<i64>, status: &Value) -> DataStore {
        serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
            "metadata": {"name": "store", "generation": generation},
            "spec": {"driver": driver, "endpoints": ["db-0:1", "db-1:1"]},
            "status": status,
        }))
        .unwrap()
    }

    fn silent(places: &[usize]) -> Health {
        let away = |place: &usize| Error::Unreachable {
            endpoint: format!("db-{place}:1"),
            operation: "answer".to_owned(),
            detail: "connection refused".to_owned(),
            source: Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
        };
        Health { silent: places.iter().map(|place| (*place, away(place))).collect(), ..Health::default() }
    }

    #[test]
    fn a_new_first_endpoint_has_to_answer_where_tenants_know_no_other() {
        for driver in ["PostgreSQL", "MySQL", "NATS"] {
            let new = data_store(driver, Some(1), &Value::Null);
            for answers in [&[][..], &[1]] {
                assert_eq!(check(&new, None, &silent(answers)), Ok(()), "{driver}");
            }
            let (reason, sentence) = check(&new, None, &silent(&[0])).unwrap_err();
            assert_eq!(reason, "ConnectionFailed", "{driver}");
            for words in ["db-0:1", "spec.endpoints", "connection refused", "put one first that answers"] {
                assert!(sentence.contains(words), "{driver}: {words} is missing: {sentence}");
            }
        }
        assert_eq!(check(&data_store("etcd", Some(1), &Value::Null), None, &silent(&[0])), Ok(()));
    }

    #[test]
    fn an_outage_of_the_first_endpoint_refuses_nothing_that_could_be_used_before() {
        let verdict = |generation, ready: bool, observed| {
            let status = json!({"ready": ready, "observedGeneration": observed});
            check(&data_store("PostgreSQL", generation, &status), None, &silent(&[0])).is_ok()
        };
        assert!(verdict(Some(2), true, Some(2)));
        assert!(!verdict(Some(3), true, Some(2)), "it was edited since");
        assert!(!verdict(Some(2), false, Some(2)));
        assert!(!verdict(None, true, None));
    }

    #[test]
    fn an_outage_of_the_endpoint_that_tenants_have_refuses_no_other_change() {
        let known = |endpoints: &[&str]| Connection {
            driver: kamaji_datastore::Driver::PostgreSql,
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            tls: None,
            basic_auth: None,
        };
        // Edited, and not ready since: a password that came late, an endpoint that is added or goes.
        let edited = data_store("PostgreSQL", Some(3), &json!({"ready": false, "observedGeneration": 2}));
        let verdict = |open: &[&str]| check(&edited, Some(&known(open)), &silent(&[0])).is_ok();
        for open in [&["db-0:1", "db-1:1"][..], &["db-0:1"], &["db-0:1", "db-1:1", "db-2:1"]] {
            assert!(verdict(open), "{open:?}");
        }
        for open in [&["db-1:1", "db-0:1"][..], &["db-0:2", "db-1:1"], &[]] {
            assert!(!verdict(open), "{open:?}");
        }
    }
}
