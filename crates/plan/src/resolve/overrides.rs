//! Which resources of a tenant can be kept on another etcd.

use kamaji_api::{DataStore, Driver, TenantControlPlane, tenant_control_plane::DataStoreOverride};

use crate::rejection::Rejection;
pub use crate::resolved::Override;

/// The overrides in the specification's order. `primary` is where everything else is kept, `lookup` knows every
/// DataStore by its name.
///
/// # Errors
/// The first entry that cannot work, as a sentence that names its field and the way out.
pub fn resolve<'a>(
    tenant: &TenantControlPlane,
    primary: &DataStore,
    lookup: impl Fn(&str) -> Option<&'a DataStore>,
) -> Result<Vec<Override>, Rejection> {
    const FIELD: &str = "spec.dataStoreOverrides";
    let entries = tenant.spec.data_store_overrides.as_deref().unwrap_or_default();
    if !entries.is_empty() && primary.spec.driver != Driver::Etcd {
        // Its certificate Secret holds what kine shows the primary, and kube-apiserver has nothing to show an etcd.
        let name = primary.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "the DataStore \"{name}\", where the tenant's other resources are, has the driver {}, and a second one works \
             beside an etcd only; remove the list, or use an etcd for the tenant",
            primary.spec.driver
        );
        return Err(Rejection::new("Unsupported", FIELD, message));
    }
    let mut overrides: Vec<Override> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let resource = resource(entry, &overrides)
            .map_err(|message| Rejection::new("InvalidSpec", format!("{FIELD}[{index}].resource"), message))?;
        let store = store(entry, &lookup)
            .map_err(|(reason, message)| Rejection::new(reason, format!("{FIELD}[{index}].dataStore"), message))?;
        overrides.push(Override {
            resource: resource.to_owned(),
            store: store.metadata.name.clone().unwrap_or_default(),
            endpoints: store.spec.endpoints.clone(),
        });
    }
    Ok(overrides)
}

/// kube-apiserver does not start with anything but one slash in it, and its list is split at commas.
fn resource<'a>(entry: &'a DataStoreOverride, before: &[Override]) -> Result<&'a str, String> {
    let resource = entry.resource.as_deref().unwrap_or_default();
    let is_name = |text: &str, others: &[char]| {
        text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(&c))
    };
    let (group, name) = match resource.split_once('/') {
        None if resource.is_empty() => return Err("it is missing; write group/resource, such as /events".to_owned()),
        None if is_name(resource, &['-']) => {
            let message = format!("\"{resource}\" has no group; write /{resource} if it is in the core group");
            return Err(message);
        }
        None => ("", ""),
        Some(parts) => parts,
    };
    let all = name == "*";
    if !is_name(group, &['-', '.']) || name.is_empty() || !(all || is_name(name, &['-'])) {
        return Err(format!(
            "{resource:?} is no resource of kube-apiserver; write the group and the plural in lower case, such as /events \
             or coordination.k8s.io/leases, or an asterisk for all of a group"
        ));
    }
    if before.iter().any(|other| other.resource == resource) {
        return Err(format!("\"{resource}\" is in the list already; remove one of the two"));
    }
    Ok(resource)
}

type Fault = (&'static str, String);

fn store<'a>(
    entry: &DataStoreOverride,
    lookup: impl Fn(&str) -> Option<&'a DataStore>,
) -> Result<&'a DataStore, Fault> {
    let Some(name) = entry.data_store.as_deref().filter(|name| !name.is_empty()) else {
        return Err(("InvalidSpec", "it is missing; name a DataStore with the driver etcd".to_owned()));
    };
    let Some(store) = lookup(name) else {
        let message = format!("the DataStore \"{name}\" does not exist; create it or name another");
        return Err(("DataStoreNotFound", message));
    };
    let spec = &store.spec;
    if spec.driver != Driver::Etcd {
        let message = format!(
            "the DataStore \"{name}\" has the driver {}, and kube-apiserver keeps single resources on an etcd only; name \
             an etcd",
            spec.driver
        );
        return Err(("Unsupported", message));
    }
    if spec.tls_config.is_none() || spec.endpoints.is_empty() {
        let lacking = if spec.endpoints.is_empty() { "endpoints" } else { "tlsConfig" };
        let message = format!(
            "the DataStore \"{name}\" has no spec.{lacking}, which an etcd needs; add it there or name another"
        );
        return Err(("InvalidSpec", message));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn data_store(name: &str, driver: &str) -> DataStore {
        serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "DataStore",
            "metadata": {"name": name},
            "spec": {
                "driver": driver,
                "endpoints": [format!("{name}-0:2379"), format!("{name}-1:2379")],
                "tlsConfig": {"certificateAuthority": {"certificate": {"content": ""}}},
            },
        }))
        .unwrap()
    }

    fn stores() -> Vec<DataStore> {
        let mut clear = data_store("clear", "etcd");
        clear.spec.tls_config = None;
        let mut nowhere = data_store("nowhere", "etcd");
        nowhere.spec.endpoints = Vec::new();
        vec![data_store("main", "etcd"), data_store("events", "etcd"), data_store("sql", "PostgreSQL"), clear, nowhere]
    }

    fn resolved(list: &Value, primary: &str) -> Result<Vec<Override>, Rejection> {
        let stores = stores();
        let lookup = |name: &str| stores.iter().find(|store| store.metadata.name.as_deref() == Some(name));
        let mut tenant = TenantControlPlane::default();
        tenant.spec.data_store_overrides = serde_json::from_value(list.clone()).unwrap();
        resolve(&tenant, lookup(primary).unwrap(), lookup)
    }

    fn entry(resource: &str, store: &str) -> Value {
        json!({"resource": resource, "dataStore": store})
    }

    #[test]
    fn overrides_keep_their_order_and_carry_the_endpoints() {
        let list =
            json!([entry("/events", "events"), entry("coordination.k8s.io/leases", "main"), entry("/*", "events")]);
        let overrides = resolved(&list, "main").unwrap();
        let short: Vec<_> =
            overrides.iter().map(|entry| (entry.resource.as_str(), entry.store.as_str(), &entry.endpoints)).collect();
        let (events, main) = (["events-0:2379", "events-1:2379"], ["main-0:2379", "main-1:2379"]);
        let (events, main) = (events.map(str::to_owned).to_vec(), main.map(str::to_owned).to_vec());
        assert_eq!(
            short,
            [("/events", "events", &events), ("coordination.k8s.io/leases", "main", &main), ("/*", "events", &events)]
        );
    }

    #[test]
    fn no_list_is_no_override_on_any_datastore() {
        for primary in ["main", "sql"] {
            for list in [json!(null), json!([])] {
                assert_eq!(resolved(&list, primary), Ok(Vec::new()));
            }
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field_and_the_way_out() {
        let good = entry("/events", "events");
        let cases = [
            (json!([good, entry("/events", "main")]), "InvalidSpec", "[1].resource", "remove one of the two"),
            (json!([good, {"dataStore": "events"}]), "InvalidSpec", "[1].resource", "such as /events"),
            (json!([entry("events", "events")]), "InvalidSpec", "[0].resource", "write /events"),
            (json!([{"resource": "/events"}]), "InvalidSpec", "[0].dataStore", "name a DataStore"),
            (json!([entry("/events", "")]), "InvalidSpec", "[0].dataStore", "name a DataStore"),
            (json!([good, entry("/pods", "gone")]), "DataStoreNotFound", "[1].dataStore", "create it or name another"),
            (json!([entry("/events", "sql")]), "Unsupported", "[0].dataStore", "driver PostgreSQL"),
            (json!([entry("/events", "clear")]), "InvalidSpec", "[0].dataStore", "spec.tlsConfig"),
            (json!([entry("/events", "nowhere")]), "InvalidSpec", "[0].dataStore", "spec.endpoints"),
        ];
        for (list, reason, field, sentence) in cases {
            let rejection = resolved(&list, "main").unwrap_err();
            assert_eq!(rejection.reason, reason, "{list}: {rejection}");
            assert_eq!(rejection.field, format!("spec.dataStoreOverrides{field}"), "{list}: {rejection}");
            assert!(rejection.message.contains(sentence), "{list}: {rejection}");
        }
    }

    #[test]
    fn nothing_in_a_resource_reaches_another_entry_of_the_flag() {
        for resource in [
            "/",
            "apps/",
            "/events#https://a:1",
            "/events,/pods",
            "/events;",
            "a/b/events",
            "/Events",
            "/e\n",
            "/e\"",
            "/events ",
            "/**",
            "*/events",
            "#",
            "Events",
            "/events=",
        ] {
            let rejection = resolved(&json!([entry(resource, "events")]), "main").unwrap_err();
            assert_eq!(rejection.field, "spec.dataStoreOverrides[0].resource", "{resource}");
            assert!(rejection.message.contains("such as /events"), "{resource}: {rejection}");
        }
    }

    #[test]
    fn a_tenant_that_is_not_on_an_etcd_has_no_overrides() {
        let rejection = resolved(&json!([entry("/events", "events")]), "sql").unwrap_err();
        assert_eq!((rejection.reason, rejection.field.as_str()), ("Unsupported", "spec.dataStoreOverrides"));
        assert!(rejection.message.contains("\"sql\"") && rejection.message.contains("remove the list"), "{rejection}");
    }
}
