//! What was in a namespace when a test failed: objects, events and pod logs, written to a folder.
//!
//! Secret data and inline credentials are replaced by their length: a dump is uploaded and mailed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::core::DynamicObject;
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

/// Lines of each container's log that are kept.
const LOG_LINES: i64 = 2_000;

/// Annotation in which `kubectl apply` keeps a copy of the whole object, Secret data included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Why a dump is not complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be written.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The kinds that the server serves are not known.
    #[error("the server does not tell which kinds it serves")]
    Discover(#[source] Box<kube::Error>),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Discover(_) => "discover",
        }
    }
}

/// Writes everything in the namespace below `folder`, which is created.
///
/// - `objects/<plural>.<group>/<name>.yaml`, without managedFields and Secret data
/// - `events.txt`, oldest first
/// - `logs/<pod>/<container>.log`, and `<container>.previous.log` after a restart
/// - `problems.txt`: what could not be read, one sentence per line. Only what makes the dump useless is an error.
pub async fn dump_namespace(client: &Client, namespace: &str, folder: &Path) -> Result<(), Error> {
    let mut problems = String::new();
    dump_objects(client, namespace, &folder.join("objects"), &mut problems).await?;
    dump_events(client, namespace, folder, &mut problems).await?;
    dump_logs(client, namespace, &folder.join("logs"), &mut problems).await?;
    if !problems.is_empty() {
        write(&folder.join("problems.txt"), &problems)?;
    }
    Ok(())
}

async fn dump_objects(client: &Client, namespace: &str, folder: &Path, problems: &mut String) -> Result<(), Error> {
    let discovery =
        Discovery::new(client.clone()).run_aggregated().await.map_err(|error| Error::Discover(Box::new(error)))?;
    for (resource, capabilities) in discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        // Events have their own file, and appear under two groups.
        if capabilities.scope != Scope::Namespaced
            || !capabilities.supports_operation(verbs::LIST)
            || resource.kind == "Event"
        {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let objects = match api.list(&ListParams::default()).await {
            Ok(objects) => objects,
            Err(error) => {
                note(problems, &format!("{} were not listed: {error}", resource.plural));
                continue;
            }
        };
        let kind_folder = if resource.group.is_empty() {
            resource.plural.clone()
        } else {
            format!("{}.{}", resource.plural, resource.group)
        };
        for mut object in objects {
            let name = object.name_any();
            object.types =
                Some(kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
            let text = serde_json::to_value(&object).map_err(|error| error.to_string()).and_then(|mut value| {
                redact(&resource.kind, &mut value);
                serde_saphyr::to_string(&value).map_err(|error| error.to_string())
            });
            match text {
                Ok(text) => write(&folder.join(&kind_folder).join(format!("{name}.yaml")), &text)?,
                Err(error) => note(problems, &format!("{kind_folder} {name} was not written: {error}")),
            }
        }
    }
    Ok(())
}

async fn dump_events(client: &Client, namespace: &str, folder: &Path, problems: &mut String) -> Result<(), Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = match api.list(&ListParams::default()).await {
        Ok(events) => events,
        Err(error) => {
            note(problems, &format!("events were not listed: {error}"));
            return Ok(());
        }
    };
    let mut lines: Vec<String> = events.iter().map(event_line).collect();
    lines.sort();
    write(&folder.join("events.txt"), &lines.concat())
}

/// `time type reason object: message (count)`, beginning with the time so that sorting is by time.
fn event_line(event: &Event) -> String {
    let time = event
        .last_timestamp
        .as_ref()
        .map(|time| time.0)
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
        .map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"));
    let object = &event.involved_object;
    format!(
        "{time} {} {} {}/{}: {} ({}x)\n",
        event.type_.as_deref().unwrap_or("-"),
        event.reason.as_deref().unwrap_or("-"),
        object.kind.as_deref().unwrap_or("-"),
        object.name.as_deref().unwrap_or("-"),
        event.message.as_deref().unwrap_or("-").trim(),
        event.count.unwrap_or(1),
    )
}

async fn dump_logs(client: &Client, namespace: &str, folder: &Path, problems: &mut String) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match api.list(&ListParams::default()).await {
        Ok(pods) => pods,
        Err(error) => {
            note(problems, &format!("pods were not listed: {error}"));
            return Ok(());
        }
    };
    for pod in pods {
        let name = pod.name_any();
        for (container, restarts) in containers(&pod) {
            for previous in [false, true] {
                if previous && restarts == 0 {
                    continue;
                }
                let params = LogParams {
                    container: Some(container.clone()),
                    previous,
                    tail_lines: Some(LOG_LINES),
                    timestamps: true,
                    ..LogParams::default()
                };
                let file = if previous { format!("{container}.previous.log") } else { format!("{container}.log") };
                match api.logs(&name, &params).await {
                    Ok(text) => write(&folder.join(&name).join(file), &text)?,
                    Err(error) => note(problems, &format!("log {name}/{file} was not read: {error}")),
                }
            }
        }
    }
    Ok(())
}

/// Names of all containers of a pod, with how often each was restarted.
fn containers(pod: &Pod) -> BTreeMap<String, i32> {
    let mut names = BTreeMap::new();
    if let Some(spec) = &pod.spec {
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            names.insert(container.name.clone(), 0);
        }
    }
    if let Some(status) = &pod.status {
        let statuses = [&status.container_statuses, &status.init_container_statuses];
        for status in statuses.into_iter().flatten().flatten() {
            names.insert(status.name.clone(), status.restart_count);
        }
    }
    names
}

/// Takes out what nobody reads (managedFields) and what nobody may read: data of Secrets, credentials of DataStores.
pub(crate) fn redact(kind: &str, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    match kind {
        "Secret" => {
            for field in ["data", "stringData"] {
                for (_, value) in object.get_mut(field).and_then(Value::as_object_mut).into_iter().flatten() {
                    hide(value);
                }
            }
        }
        // Credentials may stand inline in it (`docs/reference/compatibility.md`, DataStore).
        "DataStore" => object.get_mut("spec").into_iter().for_each(hide_content),
        _ => {}
    }
}

/// Hides every field `content`, however deep.
fn hide_content(value: &mut Value) {
    for (key, value) in value.as_object_mut().into_iter().flatten() {
        if key == "content" {
            hide(value);
        } else {
            hide_content(value);
        }
    }
}

fn hide(value: &mut Value) {
    let length = value.as_str().map_or(0, str::len);
    *value = Value::String(format!("<{length} characters>"));
}

fn note(problems: &mut String, sentence: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(problems, "{sentence}");
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let make = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)
    };
    make().map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_no_secret_data() {
        let mut secret = json!({
            "metadata": {"name": "s", "managedFields": [], "annotations": {LAST_APPLIED: "c2VjcmV0"}},
            "data": {"tls.key": "c2VjcmV0"},
            "stringData": {"password": "c2VjcmV0"},
        });
        redact("Secret", &mut secret);
        assert_eq!(
            secret,
            json!({
                "metadata": {"name": "s", "annotations": {}},
                "data": {"tls.key": "<8 characters>"},
                "stringData": {"password": "<8 characters>"},
            })
        );
    }

    #[test]
    fn keeps_no_credentials_of_a_data_store() {
        let mut store = json!({"spec": {"driver": "MySQL", "basicAuth": {"password": {"content": "c2VjcmV0"}}}});
        redact("DataStore", &mut store);
        assert_eq!(store["spec"], json!({"driver": "MySQL", "basicAuth": {"password": {"content": "<8 characters>"}}}));
    }

    #[test]
    fn keeps_config_map_data() {
        let mut object = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
        redact("ConfigMap", &mut object);
        assert_eq!(object["data"]["a"], "b");
    }
}
