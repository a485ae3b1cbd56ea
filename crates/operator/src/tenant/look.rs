//! One look at one kind: read what is there, write what differs from the plan, take away what it no longer holds.

use std::collections::BTreeMap;

use http::Request as HttpRequest;
use kamaji_apply::Applier;
use kamaji_plan::{status::conditions::Trouble, tenant_cluster::TenantCluster};
use kube::{Resource, ResourceExt as _, api::GetParams, core::Request};

use super::{
    connection::Connection,
    error::Error,
    kinds::Kept,
    records::{Records, digest, is_ours, trim},
    watch,
    workloads::Workloads,
};

/// One object fits in here twice.
const OBJECT_LIMIT: usize = 4 * 1024 * 1024;

/// What a look works with.
pub(super) struct Looker<'a> {
    /// For reads.
    pub(super) connection: &'a Connection,
    /// For writes.
    pub(super) applier: &'a Applier,
    /// The plan.
    pub(super) cluster: &'a TenantCluster,
    /// What was found and made before.
    pub(super) records: &'a mut Records,
    /// Whose pods are missing.
    pub(super) workloads: &'a mut Workloads,
}

/// What a look left behind.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Resource version that a watch goes on from.
    pub(super) version: String,
    /// What could not be done. Everything else was.
    pub(super) failures: Vec<Failure>,
}

/// Something that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It passes by itself within moments, such as a namespace that the API server has yet to make.
    Passing(Trouble),
    /// Somebody has to change something.
    Lasting(Trouble),
}

/// Why a look cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// The API server did not answer a read, or refused it.
    #[error(transparent)]
    Read(#[from] Error),
    /// The API server did not answer a write.
    #[error("{0}")]
    Write(#[source] kamaji_apply::Error),
    /// This process may not write any more.
    #[error("this process may not write any more")]
    Fenced,
}

impl Looker<'_> {
    /// Looks at all objects of a kind.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses to be read.
    pub(super) async fn look<K: Kept>(&mut self) -> Result<Looked, Halt> {
        let cluster = self.cluster;
        let mut missing: BTreeMap<_, _> = K::wanted(cluster).iter().map(|object| (key(object), object)).collect();
        let mut never_made: BTreeMap<_, _> =
            K::created_once(cluster).iter().map(|object| (key(object), object)).collect();
        let mut looked = Looked::default();
        let mut next = None;
        loop {
            let page = watch::page::<K>(self.connection, next.as_deref()).await?;
            looked.version = page.version;
            for mut live in page.items {
                trim(&mut live);
                let key = key(&live);
                if let Some(desired) = missing.remove(&key) {
                    self.correct(desired, Some(&live), &mut looked).await?;
                } else if never_made.remove(&key).is_none() {
                    self.prune(&live, &mut looked).await?;
                }
            }
            match page.next {
                Some(more) => next = Some(more),
                None => break,
            }
        }
        for desired in missing.into_values() {
            self.correct(desired, None, &mut looked).await?;
        }
        for desired in never_made.into_values() {
            self.create_once(desired, &mut looked).await?;
        }
        Ok(looked)
    }

    async fn correct<K: Kept>(&mut self, desired: &K, live: Option<&K>, looked: &mut Looked) -> Result<(), Halt> {
        let wanted = digest(desired);
        if let Some(live) = live {
            self.workloads.saw(live);
            // What is on its way out is made again when it is gone.
            if live.meta().deletion_timestamp.is_some() || self.records.is_settled(live, wanted) {
                return Ok(());
            }
        }
        let applied = match self.applier.apply(desired, live).await {
            Err(error) if is_immutable(&error) => self.replace(desired, error).await?,
            other => other,
        };
        match applied {
            Ok(applied) => {
                let mut object = applied.object;
                trim(&mut object);
                self.records.settled(&object, wanted);
                self.workloads.saw(&object);
                Ok(())
            }
            Err(error) => {
                self.records.forget(desired);
                looked.failures.push(failure(error)?);
                Ok(())
            }
        }
    }

    /// Makes an object anew of which the API server does not let a field be changed, such as the role of a binding.
    async fn replace<K: Kept>(
        &self,
        desired: &K,
        refused: kamaji_apply::Error,
    ) -> Result<Result<kamaji_apply::Applied<K>, kamaji_apply::Error>, Halt> {
        let Some(live) = self.find(desired).await? else { return Ok(Err(refused)) };
        tracing::info!(
            kind = %K::kind(&()),
            object = desired.name_any(),
            "a field that cannot be changed was changed by hand: the object is made anew"
        );
        match self.applier.delete(&live).await {
            Ok(_) => Ok(self.applier.apply(desired, None).await),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn prune<K: Kept>(&mut self, live: &K, looked: &mut Looked) -> Result<(), Halt> {
        let going = live.meta().deletion_timestamp.is_some();
        if going || !is_ours(live) || live.is_spared(self.cluster) {
            return Ok(());
        }
        self.records.forget(live);
        self.workloads.forget(live);
        match self.applier.delete(live).await {
            Ok(_) => {
                tracing::info!(
                    kind = %K::kind(&()),
                    namespace = live.namespace(),
                    object = live.name_any(),
                    "deleted what is no longer wanted"
                );
            }
            Err(error) => looked.failures.push(failure(error)?),
        }
        Ok(())
    }

    async fn create_once<K: Kept>(&mut self, desired: &K, looked: &mut Looked) -> Result<(), Halt> {
        // Without the label it is not listed; a create that is refused because it exists would still be a write.
        if self.find(desired).await?.is_some() {
            return Ok(());
        }
        if let Err(error) = self.applier.create_if_absent(desired).await {
            looked.failures.push(failure(error)?);
        }
        Ok(())
    }

    async fn find<K: Kept>(&self, object: &K) -> Result<Option<K>, Halt> {
        let verb = format!("read the {} {}", K::kind(&()), object.name_any());
        match self.connection.read(get(object, &verb)?, &verb, OBJECT_LIMIT).await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(found) => Ok(Some(found)),
                Err(error) => Err(Error::Unreadable { verb, detail: error.to_string() }.into()),
            },
            Err(Error::Refused { code: 404, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn get<K: Kept>(object: &K, verb: &str) -> Result<HttpRequest<Vec<u8>>, Error> {
    let request = Request::new(K::url_path(&(), object.meta().namespace.as_deref()));
    let request = request.get(&object.name_any(), &GetParams::default());
    request.map_err(|error| Error::Unreadable { verb: verb.to_owned(), detail: error.to_string() })
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.meta().namespace.clone().unwrap_or_default(), object.name_any())
}

/// What a refused write means; `Err` when nothing further can be written now.
fn failure(error: kamaji_apply::Error) -> Result<Failure, Halt> {
    let trouble = || Trouble::new("TenantObjectFailed", format!("In the tenant's cluster: {error}."));
    match error.category() {
        "fenced" => Err(Halt::Fenced),
        "unavailable" if error.code().is_none() => Err(Halt::Write(error)),
        "unavailable" | "conflict" | "not-found" => Ok(Failure::Passing(trouble())),
        _ => Ok(Failure::Lasting(trouble())),
    }
}

// Every cause, so that an object is not made anew in vain.
fn is_immutable(error: &kamaji_apply::Error) -> bool {
    const SENTENCES: [&str; 3] = ["immutable", "cannot change roleRef", "may not change once set"];
    let kamaji_apply::Error::Api { source, .. } = error else { return false };
    let kube::Error::Api(status) = source.as_ref() else { return false };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    status.code == 422
        && !causes.is_empty()
        && causes.iter().all(|cause| SENTENCES.iter().any(|sentence| cause.message.contains(sentence)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(code: u16, causes: &[&str]) -> kamaji_apply::Error {
        let causes: Vec<_> = causes.iter().map(|message| json!({"message": message, "field": "spec"})).collect();
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no",
            "reason": "Reason", "code": code, "details": {"causes": causes},
        });
        let status: kube::core::Status = serde_json::from_value(status).unwrap();
        kamaji_apply::Error::Api {
            verb: "apply",
            object: "Deployment kube-system/coredns".to_owned(),
            source: Box::new(kube::Error::Api(status.boxed())),
        }
    }

    #[test]
    fn only_an_object_whose_every_fault_is_an_unchangeable_field_is_made_anew() {
        assert!(is_immutable(&refused(422, &["field is immutable"])));
        assert!(is_immutable(&refused(422, &["Invalid value: \"x\": may not change once set"])));
        assert!(is_immutable(&refused(422, &["cannot change roleRef"])));
        assert!(!is_immutable(&refused(422, &["field is immutable", "must be a valid image"])));
        assert!(!is_immutable(&refused(422, &[])));
        assert!(!is_immutable(&refused(403, &["field is immutable"])));
    }

    #[test]
    fn tells_what_passes_from_what_a_person_has_to_change() {
        assert!(matches!(failure(refused(404, &[])), Ok(Failure::Passing(_))));
        assert!(matches!(failure(refused(503, &[])), Ok(Failure::Passing(_))));
        let Ok(Failure::Lasting(trouble)) = failure(refused(422, &[])) else { panic!("not lasting") };
        assert_eq!(trouble.message, "In the tenant's cluster: could not apply Deployment kube-system/coredns: no.");
    }
}
