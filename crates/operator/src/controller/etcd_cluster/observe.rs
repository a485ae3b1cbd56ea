//! What one pass looks at in the management cluster, from the stores alone.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::{DataStore, EtcdCluster};
use kamaji_plan::etcd_cluster::{
    names::{self, EtcdSecret, MAX_MEMBERS},
    record::Record,
    resolve::is_owned,
};

use super::stores::Stores;

/// The objects of one EtcdCluster.
pub struct Observed {
    /// The DataStore of its name, whoever's it is.
    pub data_store: Option<Arc<DataStore>>,
    /// What was recorded about the members.
    pub config_map: Option<Arc<ConfigMap>>,
    /// The members' Service.
    pub service: Option<Arc<Service>>,
    /// Their PodDisruptionBudget.
    pub disruption_budget: Option<Arc<PodDisruptionBudget>>,
    /// Their StatefulSet.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// Their pods that are not on their way out, by ordinal.
    pub pods: BTreeMap<i32, Arc<Pod>>,
    /// Their claims that are not on their way out, by ordinal.
    pub claims: BTreeMap<i32, Arc<PersistentVolumeClaim>>,
    secrets: BTreeMap<EtcdSecret, Arc<Secret>>,
    /// It was served once, as far as anything but the record tells.
    served: bool,
}

impl Observed {
    /// Collects them.
    pub fn collect(stores: &Stores, cluster: &EtcdCluster, namespace: &str) -> Self {
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
        let here = Some(namespace);
        let base = names::base(name);
        let ordinals = || 0..MAX_MEMBERS;
        let pods = ordinals().filter_map(|ordinal| {
            let pod = stores.pods.get(here, &names::pod(name, ordinal))?;
            pod.metadata.deletion_timestamp.is_none().then_some((ordinal, pod))
        });
        let claims = ordinals().filter_map(|ordinal| {
            let claim = stores.claims.get(here, &names::claim(name, ordinal))?;
            claim.metadata.deletion_timestamp.is_none().then_some((ordinal, claim))
        });
        let all = [EtcdSecret::Ca, EtcdSecret::PeerCa, EtcdSecret::Member, EtcdSecret::Root];
        let secrets = all.into_iter().filter_map(|which| Some((which, stores.secrets.get(here, &which.name(name))?)));
        let data_store = stores.data_stores.get(None, name);
        let listed = cluster.status.as_ref().and_then(|status| status.members.as_ref());
        Self {
            served: data_store.as_ref().is_some_and(|store| is_owned(store, uid)) || listed.is_some(),
            config_map: stores.config_maps.get(here, &base),
            service: stores.services.get(here, &base),
            disruption_budget: stores.disruption_budgets.get(here, &base),
            stateful_set: stores.stateful_sets.get(here, &base),
            pods: pods.collect(),
            claims: claims.collect(),
            secrets: secrets.collect(),
            data_store,
        }
    }

    /// One of its Secrets.
    pub fn secret(&self, which: EtcdSecret) -> Option<&Arc<Secret>> {
        self.secrets.get(&which)
    }

    /// What was recorded about the members.
    pub fn record(&self) -> Option<Record> {
        Record::read(self.config_map.as_deref()?)
    }

    /// Whether tenants may have data in it, so that nothing may be made as if it were new.
    pub fn was_served(&self) -> bool {
        self.served || self.record().is_some_and(|record| record.formed)
    }

    /// Pods that the StatefulSet was last made for.
    pub fn size(&self) -> Option<i32> {
        let live = self.stateful_set.as_ref().and_then(|set| set.spec.as_ref()?.replicas);
        self.record().map(|record| record.size).or(live.filter(|replicas| (1..=MAX_MEMBERS).contains(replicas)))
    }

    /// UID of the volume that each present pod has.
    pub fn volumes(&self, persistent: bool) -> BTreeMap<i32, String> {
        let volume = |(ordinal, pod): (&i32, &Arc<Pod>)| {
            let claim = || self.claims.get(ordinal).and_then(|claim| claim.metadata.uid.clone());
            let uid = if persistent { claim() } else { pod.metadata.uid.clone() };
            Some((*ordinal, uid?))
        };
        self.pods.iter().filter_map(volume).collect()
    }

    /// Ordinals of the pods that run, so that somebody may answer.
    pub fn running(&self) -> Vec<i32> {
        let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        self.pods.iter().filter(|(_, pod)| runs(pod)).map(|(ordinal, _)| *ordinal).collect()
    }
}
