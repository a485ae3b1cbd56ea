//! What is known about the members between two passes, kept in a ConfigMap that the members themselves start by.
//!
//! etcd reads how to start from the environment, and only when its data directory is empty. A member that lost its data
//! must not come back under its old identity: it may have voted, and would forget. So the environment names only those
//! members that may start empty just then. Every other member finds its own name missing from the list, and exits until
//! it was removed and added again. The list still has the peer URL of every member, as etcd demands; only names differ.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{listed::Listed, metadata::metadata, names, resolved::Resolved};

/// Key that etcd reads its list of members from.
pub const INITIAL_CLUSTER: &str = "ETCD_INITIAL_CLUSTER";
/// Key that etcd reads whether it founds a cluster from.
pub const INITIAL_CLUSTER_STATE: &str = "ETCD_INITIAL_CLUSTER_STATE";
/// Key that etcd reads the name of the cluster that it founds from.
pub const INITIAL_CLUSTER_TOKEN: &str = "ETCD_INITIAL_CLUSTER_TOKEN";
/// Key with the number of pods.
const SIZE: &str = "size";
/// Key that says that etcd asks its clients who they are.
const AUTHENTICATION: &str = "authentication";
const ENABLED: &str = "enabled";
/// Prefix of the keys that say which volume holds a member's data.
const VOLUME: &str = "volume.";
/// No member may start empty. The host never resolves (RFC 2606).
const CLOSED: &str = "closed=https://closed.invalid:2380";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The cluster answered once: nobody founds it any more.
    pub formed: bool,
    /// Pods to run.
    pub size: i32,
    /// Makes the identities of the cluster and of its founders. Another one whenever it is founded, so that a member of
    /// the earlier cluster that has not ended yet is none of the new one.
    pub token: String,
    /// etcd asks its clients who they are.
    pub authentication: bool,
    /// UID of the volume that holds a member's data, by ordinal: the PersistentVolumeClaim's, or the pod's.
    pub volumes: BTreeMap<i32, String>,
    /// Who may start with an empty data directory, as etcd reads it.
    pub initial_cluster: String,
}

impl Record {
    /// A cluster that does not exist yet, founded by `size` members.
    pub fn founding(resolved: &Resolved, size: i32) -> Self {
        let member = |ordinal| Some(format!("{}={}", resolved.pod(ordinal), resolved.peer_url(ordinal)?));
        Self {
            formed: false,
            size,
            token: resolved.uid.clone(),
            authentication: false,
            volumes: BTreeMap::new(),
            initial_cluster: (0..size).filter_map(member).collect::<Vec<_>>().join(","),
        }
    }

    /// A cluster that is founded again, on the present `volumes`, after all of its data was lost.
    #[must_use]
    pub fn refounding(&self, resolved: &Resolved, volumes: &BTreeMap<i32, String>) -> Self {
        let first = volumes.values().next().map_or("", String::as_str);
        Self { token: format!("{}-{first}", resolved.uid), ..Self::founding(resolved, self.size) }
    }

    /// A cluster that exists, of which the record was lost: nobody starts empty until its members were listed.
    pub fn lost(resolved: &Resolved, size: i32) -> Self {
        Self { formed: true, initial_cluster: CLOSED.to_owned(), ..Self::founding(resolved, size) }
    }

    /// Lets in those of the listed members that have never started.
    pub fn admit(&mut self, resolved: &Resolved, members: &[Listed]) {
        if members.iter().all(|member| member.started) {
            CLOSED.clone_into(&mut self.initial_cluster);
            return;
        }
        let entry = |member: &Listed| {
            let name = match member.ordinal {
                Some(ordinal) if !member.started => resolved.pod(ordinal),
                _ => format!("held-{:x}", member.id),
            };
            member.peer_urls.iter().map(move |url| format!("{name}={url}")).collect::<Vec<_>>()
        };
        self.initial_cluster = members.iter().flat_map(entry).collect::<Vec<_>>().join(",");
    }

    /// Whether a member of this name would start with an empty data directory.
    pub fn admits(&self, pod: &str) -> bool {
        self.initial_cluster.split(',').any(|entry| entry.split_once('=').is_some_and(|(name, _)| name == pod))
    }

    /// Reads the ConfigMap; none when it was not written by [`Self::config_map`].
    pub fn read(config_map: &ConfigMap) -> Option<Self> {
        let data = config_map.data.as_ref()?;
        let formed = match data.get(INITIAL_CLUSTER_STATE)?.as_str() {
            "new" => false,
            "existing" => true,
            _ => return None,
        };
        let volumes = data.iter().filter_map(|(key, uid)| {
            let ordinal = key.strip_prefix(VOLUME)?.parse().ok()?;
            Some((ordinal, uid.clone()))
        });
        Some(Self {
            formed,
            token: data.get(INITIAL_CLUSTER_TOKEN)?.clone(),
            size: data.get(SIZE)?.parse().ok().filter(|size| (1..=names::MAX_MEMBERS).contains(size))?,
            authentication: data.get(AUTHENTICATION).is_some_and(|value| value == ENABLED),
            volumes: volumes.collect(),
            initial_cluster: data.get(INITIAL_CLUSTER)?.clone(),
        })
    }

    /// The ConfigMap.
    pub fn config_map(&self, resolved: &Resolved) -> ConfigMap {
        let state = if self.formed { "existing" } else { "new" };
        let mut data = BTreeMap::from([
            (INITIAL_CLUSTER.to_owned(), self.initial_cluster.clone()),
            (INITIAL_CLUSTER_STATE.to_owned(), state.to_owned()),
            (INITIAL_CLUSTER_TOKEN.to_owned(), self.token.clone()),
            (SIZE.to_owned(), self.size.to_string()),
        ]);
        if self.authentication {
            data.insert(AUTHENTICATION.to_owned(), ENABLED.to_owned());
        }
        data.extend(self.volumes.iter().map(|(ordinal, uid)| (format!("{VOLUME}{ordinal}"), uid.clone())));
        ConfigMap {
            metadata: metadata(resolved, names::base(&resolved.name)),
            data: Some(data),
            ..ConfigMap::default()
        }
    }
}
