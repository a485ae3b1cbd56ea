//! Which write an object needs, if any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::compare;
use crate::count::{Counter, Verb, WriteCounts};
use crate::desired::{self, Desired};
use crate::door::{Door, Target};
use crate::error::Error;
use crate::event::{self, Event};
use crate::fence::Fence;
use crate::managed_fields;
use crate::merge_patch;
use crate::orphans;
use crate::settled::Settled;

// How often managed fields are rewritten against somebody who writes the same object at the same time.
const REWRITE_ATTEMPTS: u32 = 5;

/// The write door for one API server under one field manager. Clones share counters and fence.
#[derive(Clone)]
pub struct Applier {
    door: Door,
    settled: Arc<Settled>,
    /// Of statuses. An object has both.
    settled_statuses: Arc<Settled>,
}

/// What an apply did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was sent, or the API server found nothing to change.
    Unchanged,
    /// The object did not exist.
    Created,
    /// The object existed and was changed.
    Patched,
}

/// An object as the API server holds it after an apply, and what the apply did.
#[derive(Debug, Clone)]
pub struct Applied<K> {
    /// The API server's answer; when nothing was sent, a copy of the live object that the caller passed.
    pub object: K,
    /// What happened.
    pub outcome: Outcome,
}

/// Whose object it is after [`Applier::create_if_absent`].
#[derive(Debug, Clone)]
pub enum Created<K> {
    /// This call created it.
    New(K),
    /// It existed; nothing of the wanted object was written. Read live, past every cache.
    Existing(K),
}

impl<K> Created<K> {
    /// The object that exists now.
    pub fn into_object(self) -> K {
        match self {
            Self::New(object) | Self::Existing(object) => object,
        }
    }
}

/// What a delete found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The API server took the delete: the object is gone, or goes when its finalizers are released.
    Accepted,
    /// The object was gone already; another one may have its name, which was left alone.
    Gone,
}

impl Applier {
    /// A door for `client` that applies as field manager `manager`, unfenced. Creates are recorded as
    /// `<manager>-create`, merge patches as `<manager>-patch`.
    pub fn new(client: kube::Client, manager: &str) -> Self {
        let counter = Arc::new(Counter::default());
        let door = Door { client, manager: manager.into(), counter, fence: None };
        Self { door, settled: Arc::default(), settled_statuses: Arc::new(Settled::for_a_while()) }
    }

    /// Client for reads. Writes through it are refused by the lint.
    pub fn client(&self) -> &kube::Client {
        &self.door.client
    }

    /// Field manager that applies are recorded under.
    pub fn manager(&self) -> &str {
        &self.door.manager
    }

    /// The same door, which asks `fence` before each write and drops a write in flight when the fence is lost.
    #[must_use]
    pub fn with_fence(mut self, fence: Arc<dyn Fence>) -> Self {
        self.door.fence = Some(fence);
        self
    }

    /// Write requests sent so far by this door and all its clones.
    pub fn writes(&self) -> WriteCounts {
        self.door.counter.snapshot()
    }

    /// Makes the API server's object contain `desired`, and nothing of what this manager applied before and no longer
    /// wants.
    ///
    /// `live` is the object as last seen (a [`store`](crate::store) keeps enough of it), or `None` when it is not
    /// known to exist. Nothing is sent when the object is as wanted; the documentation of this crate has the
    /// rule. `status`, nulls and empty lists of `desired` are not sent. Fields are taken from other managers by
    /// force. An object last written by ordinary updates under the same manager name is taken over first. Defaults of
    /// the API server that make it refuse the change are removed, if nobody owns them.
    ///
    /// # Errors
    ///
    /// [`Error::StringData`] and [`Error::Unnamed`] before anything is sent, [`Error::Fenced`], [`Error::Api`].
    pub async fn apply<K>(&self, desired: &K, live: Option<&K>) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(desired)?;
        let wanted = desired::desired(desired, &target.shown)?;
        let seen = live.and_then(ResourceExt::resource_version);
        if let Some(live) = live {
            if managed_fields::ownership(live.managed_fields(), self.manager()).updated {
                return Box::pin(self.take_over_and_apply(&target, &wanted, seen)).await;
            }
            match self.difference(&wanted, live, &target)? {
                None => return Ok(Applied { object: live.clone(), outcome: Outcome::Unchanged }),
                Some(difference) => tracing::debug!(object = %target.shown, %difference, "applying"),
            }
        }
        let applied = Box::pin(self.apply_adopting(&target, &wanted, seen.clone())).await;
        match applied {
            // Seen only now when the caller did not know the object.
            Ok(Applied::<K> { object, .. })
                if managed_fields::ownership(object.managed_fields(), self.manager()).updated =>
            {
                drop(object);
                Box::pin(self.take_over_and_apply(&target, &wanted, seen)).await
            }
            other => other,
        }
    }

    /// Creates the object if there is none of its name, and reads the existing one if there is. Never overwrites.
    ///
    /// For objects whose content must not be made twice, such as private keys: the decision is the API server's, no
    /// cache is asked.
    ///
    /// # Errors
    ///
    /// [`Error::StringData`], [`Error::Unnamed`], [`Error::Fenced`], [`Error::Api`]; of category `conflict` when the
    /// object appears and disappears while this looks.
    pub async fn create_if_absent<K>(&self, desired: &K) -> Result<Created<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(desired)?;
        let wanted = desired::desired(desired, &target.shown)?;
        match self.door.create(Verb::Create, &target, &wanted.body).await {
            Ok(answer) => answer.object(&target).map(Created::New),
            Err(error) if error.code() == Some(409) => match self.door.get(&target).await? {
                Some(existing) => Ok(Created::Existing(existing)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Writes what differs between the statuses of `desired` and `live`, and nothing when they are equal.
    ///
    /// A field that `desired` leaves out is removed. Lists are written whole. Timestamps count: the caller carries
    /// over those that must not move. The object must still be the one of `live` (same uid). What the API server does
    /// not keep, for example because an older definition prunes it, is not sent again for the same statuses, for ten
    /// minutes: the definition may be updated.
    ///
    /// # Errors
    ///
    /// [`Error::NotLive`], [`Error::Fenced`], [`Error::Api`].
    pub async fn apply_status<K>(&self, desired: &K, live: &K) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(live)?;
        let (seen, wanted) = (status(live, &target)?, status(desired, &target)?);
        let unchanged = || Ok(Applied { object: live.clone(), outcome: Outcome::Unchanged });
        let Some(difference) = merge_patch::difference(&seen, &wanted) else { return unchanged() };
        let uid = uid(live, &target)?;
        if self.settled_statuses.holds(&uid, &wanted, &seen, &[], self.manager()) {
            return unchanged();
        }
        let body = json!({"metadata": {"uid": uid}, "status": difference});
        let object = self.door.merge_status(&target, &body).await?.object(&target)?;
        let kept = status(&object, &target)?;
        // Something else that is left was not sent: `live` was outdated.
        if merge_patch::difference(&kept, &wanted).is_some_and(|left| merge_patch::covers(&difference, &left)) {
            tracing::debug!(object = %target.shown, "the API server keeps its own status");
            self.settled_statuses.remember(uid, &wanted, &kept, &[], self.manager());
        }
        Ok(Applied { object, outcome: Outcome::Patched })
    }

    /// Sets the whole list of finalizers, if nobody changed the object since `live` was read. Sends nothing when the
    /// list is the same.
    ///
    /// # Errors
    ///
    /// [`Error::NotLive`], [`Error::Fenced`], [`Error::Api`]; of category `conflict` when `live` is outdated.
    pub async fn set_finalizers<K>(&self, live: &K, finalizers: Vec<String>) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(live)?;
        if live.finalizers() == finalizers {
            return Ok(live.clone());
        }
        let Some(version) = live.resource_version() else {
            return Err(Error::NotLive { object: target.shown, field: "resourceVersion" });
        };
        let uid = uid(live, &target)?;
        let body = json!({"metadata": {"uid": uid, "resourceVersion": version, "finalizers": finalizers}});
        self.door.merge(&target, &body).await?.object(&target)
    }

    /// Sets annotations (`Some`) and removes them (`None`); others stay. Sends nothing when all are so already.
    ///
    /// # Errors
    ///
    /// [`Error::NotLive`], [`Error::Fenced`], [`Error::Api`].
    pub async fn annotate<K>(&self, live: &K, annotations: BTreeMap<String, Option<String>>) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        self.annotate_at(live, annotations, None).await
    }

    /// As [`Self::annotate`], if nobody changed the object since `live` was read: of two who read the same, one writes.
    ///
    /// # Errors
    ///
    /// As for [`Self::annotate`]; of category `conflict` when `live` is outdated.
    pub async fn annotate_unchanged<K>(
        &self,
        live: &K,
        annotations: BTreeMap<String, Option<String>>,
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let Some(version) = live.resource_version() else {
            return Err(Error::NotLive { object: Target::of(live)?.shown, field: "resourceVersion" });
        };
        self.annotate_at(live, annotations, Some(version)).await
    }

    async fn annotate_at<K>(
        &self,
        live: &K,
        annotations: BTreeMap<String, Option<String>>,
        version: Option<String>,
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(live)?;
        let mut changes = annotations;
        changes.retain(|key, value| live.annotations().get(key) != value.as_ref());
        if changes.is_empty() {
            return Ok(live.clone());
        }
        let mut metadata = json!({"uid": uid(live, &target)?, "annotations": changes});
        if let (Some(version), Some(metadata)) = (version, metadata.as_object_mut()) {
            metadata.insert("resourceVersion".to_owned(), version.into());
        }
        self.door.merge(&target, &json!({"metadata": metadata})).await?.object(&target)
    }

    /// Deletes exactly the object of `live`, never a successor of the same name. Dependents go in the background.
    ///
    /// # Errors
    ///
    /// [`Error::NotLive`], [`Error::Fenced`], [`Error::Api`]. That the object is gone is no error.
    pub async fn delete<K>(&self, live: &K) -> Result<Deleted, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let target = Target::of(live)?;
        let uid = uid(live, &target)?;
        self.settled.forget(&uid);
        self.settled_statuses.forget(&uid);
        match self.door.delete(&target, uid).await {
            Ok(_) => Ok(Deleted::Accepted),
            // 409 here is the uid precondition: the name belongs to another object now.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }

    /// Publishes an Event about `regarding`, reported by this manager; `instance` is the reporting pod's name.
    ///
    /// One call, one Event: publish on a transition only.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`], [`Error::Api`].
    pub async fn publish_event(&self, event: &Event, regarding: ObjectReference, instance: &str) -> Result<(), Error> {
        let object = event::object(event, regarding, self.manager(), instance, Timestamp::now());
        let target = Target::of(&object)?;
        let body = serde_json::to_value(&object).map_err(|error| Error::json(&target.shown, &error))?;
        self.door.create(Verb::Event, &target, &body).await.map(drop)
    }

    async fn send_apply<K>(&self, target: &Target, wanted: &Desired, seen: Option<String>) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let answer = self.door.apply(target, &wanted.body).await?;
        let object: K = answer.object(target)?;
        let outcome = if answer.created {
            Outcome::Created
        } else if seen.is_some() && seen == object.resource_version() {
            Outcome::Unchanged
        } else {
            Outcome::Patched
        };
        // What differs even in the answer, the API server or an admission webhook wants otherwise; asking again for
        // the same in the same situation is pointless.
        if let Some(difference) = self.difference(wanted, &object, target)? {
            tracing::debug!(object = %target.shown, %difference, "the API server keeps its own value");
            let live = desired::comparable(&object, &target.shown)?;
            if let Some(uid) = object.uid() {
                self.settled.remember(uid, &wanted.fields, &live, object.managed_fields(), self.manager());
            }
        }
        Ok(Applied { object, outcome })
    }

    fn difference<K>(&self, wanted: &Desired, live: &K, target: &Target) -> Result<Option<compare::Difference>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let ownership = managed_fields::ownership(live.managed_fields(), self.manager());
        let owned = match ownership.applied {
            Some((version, _)) if version != K::api_version(&()) => {
                return Ok(Some(compare::Difference::other_version()));
            }
            Some((_, owned)) => owned,
            // The API server keeps no empty record: an object of which nothing is wanted is as wanted.
            None => managed_fields::Fields::new(),
        };
        let fields = desired::comparable(live, &target.shown)?;
        let Some(difference) = compare::difference(&wanted.fields, &fields, &owned) else {
            return Ok(None);
        };
        let settled =
            live.meta().uid.as_deref().is_some_and(|uid| {
                self.settled.holds(uid, &wanted.fields, &fields, live.managed_fields(), self.manager())
            });
        Ok((!settled).then_some(difference))
    }

    async fn take_over_and_apply<K>(
        &self,
        target: &Target,
        wanted: &Desired,
        seen: Option<String>,
    ) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let rewrite = |fresh: &K| Ok(managed_fields::taken_over(fresh.managed_fields(), self.manager()));
        if self.rewrite_managed_fields(target, rewrite).await? {
            tracing::info!(object = %target.shown, manager = self.manager(), "took over the managed fields");
        }
        self.apply_adopting(target, wanted, seen).await
    }

    async fn apply_adopting<K>(
        &self,
        target: &Target,
        wanted: &Desired,
        seen: Option<String>,
    ) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        match self.send_apply(target, wanted, seen.clone()).await {
            Err(error) if error.code() == Some(422) => {
                if self.adopt_orphans::<K>(target, wanted).await? {
                    self.send_apply(target, wanted, seen).await
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    async fn adopt_orphans<K>(&self, target: &Target, wanted: &Desired) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let rewrite = |fresh: &K| {
            let live = desired::comparable(fresh, &target.shown)?;
            Ok(orphans::adopted(fresh.managed_fields(), self.manager(), &wanted.fields, &live))
        };
        let adopted = self.rewrite_managed_fields(target, rewrite).await?;
        if adopted {
            tracing::info!(object = %target.shown, "adopted defaults that the wanted object does not agree with");
        }
        Ok(adopted)
    }

    // Reads the object live: a store does not keep the entries of other managers, which must not be lost. True when
    // the entries were replaced by what `rewrite` made of them.
    async fn rewrite_managed_fields<K>(
        &self,
        target: &Target,
        rewrite: impl Fn(&K) -> Result<Option<Vec<ManagedFieldsEntry>>, Error>,
    ) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug,
    {
        let mut attempt = 1;
        while let Some(fresh) = self.door.get::<K>(target).await? {
            let Some(entries) = rewrite(&fresh)? else { return Ok(false) };
            let Some(version) = fresh.resource_version() else {
                return Err(Error::NotLive { object: target.shown.clone(), field: "resourceVersion" });
            };
            match self.door.migrate(target, &managed_fields::patch(&entries, &version)).await {
                Ok(_) => return Ok(true),
                Err(error) if error.code() == Some(409) && attempt < REWRITE_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl fmt::Debug for Applier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Applier").field("manager", &self.door.manager).finish_non_exhaustive()
    }
}

fn uid<K: Resource<DynamicType = ()>>(live: &K, target: &Target) -> Result<String, Error> {
    live.meta().uid.clone().ok_or_else(|| Error::NotLive { object: target.shown.clone(), field: "uid" })
}

fn status<K: Serialize>(object: &K, target: &Target) -> Result<Map<String, Value>, Error> {
    let value = serde_json::to_value(object).map_err(|error| Error::json(&target.shown, &error))?;
    Ok(match value.get("status") {
        Some(Value::Object(status)) => status.clone(),
        _ => Map::new(),
    })
}
