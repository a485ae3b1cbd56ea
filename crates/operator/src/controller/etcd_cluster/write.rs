//! Writes the objects of an EtcdCluster.

use kamaji_plan::{
    etcd_cluster::{
        Plan,
        claim::{Resize, resize},
        data_store, plan,
        record::Record,
        resolve::Resolved,
        status::Fault,
    },
    rejection::Rejection,
};

use super::{Shared, error::Error, observe::Observed};

/// Writes the record, which the members start by.
pub async fn record(shared: &Shared, resolved: &Resolved, record: &Record) -> Result<(), Error> {
    let wanted = record.config_map(resolved);
    let live = shared
        .stores
        .config_maps
        .get(wanted.metadata.namespace.as_deref(), wanted.metadata.name.as_deref().unwrap_or_default());
    let applied = shared.context.applier.apply(&wanted, live.as_deref()).await?;
    shared.stores.config_maps.applied(applied);
    Ok(())
}

/// Writes the Service, the PodDisruptionBudget and the StatefulSet.
pub async fn objects(shared: &Shared, resolved: &Resolved, observed: &Observed, record: &Record) -> Result<(), Error> {
    let Plan { service, disruption_budget, stateful_set } = plan(resolved, record, observed.stateful_set.as_deref());
    let (applier, stores) = (&shared.context.applier, &shared.stores);
    stores.services.applied(applier.apply(&service, observed.service.as_deref()).await?);
    let budget = applier.apply(&disruption_budget, observed.disruption_budget.as_deref()).await?;
    stores.disruption_budgets.applied(budget);
    stores.stateful_sets.applied(applier.apply(&stateful_set, observed.stateful_set.as_deref()).await?);
    Ok(())
}

/// Writes the DataStore.
pub async fn data_store(shared: &Shared, resolved: &Resolved, observed: &Observed, voters: usize) -> Result<(), Error> {
    let live = observed.data_store.as_deref();
    let wanted = data_store::data_store(resolved, voters, live);
    let applied = shared.context.applier.apply(&wanted, live).await?;
    shared.stores.data_stores.applied(applied);
    Ok(())
}

/// What came of a wish for other volumes.
#[derive(Default)]
pub struct Resized {
    /// The cluster's storage does not grow.
    pub fault: Option<Fault>,
    /// No volume does that.
    pub refused: Option<Rejection>,
}

/// Asks for larger volumes where the specification does.
pub async fn claims(shared: &Shared, resolved: &Resolved, observed: &Observed) -> Result<Resized, Error> {
    let mut resized = Resized::default();
    for live in observed.claims.values() {
        match resize(resolved, live) {
            Resize::None => {}
            Resize::Refused(rejection) => resized.refused = Some(rejection),
            Resize::Grow(wanted) => match shared.context.applier.apply(wanted.as_ref(), Some(live.as_ref())).await {
                Ok(applied) => drop(shared.stores.claims.applied(applied)),
                // The StorageClass may forbid it, which only the API server knows.
                Err(error) if matches!(error.category(), "forbidden" | "invalid") => {
                    resized.fault = Some(Fault::new("VolumeNotResized", error.to_string()));
                }
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(resized)
}
