//! P8: what is left of tenants that were deleted.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{Bench, patience};
use crate::etcd::Contents;
use crate::report::{Measure, Verdict};
use crate::seen::last;
use crate::sweep;
use crate::tenant::NAMESPACE;

/// Deletes the tenants at once, and counts before and after. `empty` is what was in the datastore before they came.
pub async fn run(bench: &mut Bench, names: &[String], empty: &Contents) -> Result<Measure> {
    let objects = bench.kinds.in_namespace(&bench.client, NAMESPACE).await?;
    let stored = bench.etcd.contents().await?;
    let mut tenants = bench.tenants().await?;
    let began = Instant::now();
    bench.delete(names).await?;
    let (seen, is_gone) = tenants.all_gone(names, patience(names.len())).await;
    let gone = last(began, names.iter().map(|name| seen.get(name).and_then(|one| one.gone)));
    let left = sweep::until_empty(&bench.client, &bench.kinds).await?;
    let empty_after = began.elapsed();
    let after = bench.etcd.contents().await?;
    // Not judged: other tenants of the cluster may come and go. But whoever looks for a leak wants to know.
    let strangers: Vec<&String> = after.others.symmetric_difference(&empty.others).collect();
    let is_clean = is_gone && left.is_empty() && after.is_empty();
    let counts = |objects: usize, stored: &Contents| {
        format!("{objects} objects, {} users, {} roles, {} keys", stored.users, stored.roles, stored.keys)
    };
    eprintln!("  {} before, {} after", counts(objects.len(), &stored), counts(left.len(), &after));
    Ok(Measure {
        id: "P8",
        what: format!("deletion of {} tenants: what is left", names.len()),
        target: "nothing".into(),
        value: format!(
            "{} of {}; {}",
            counts(left.len(), &after),
            counts(objects.len(), &stored),
            took(gone, empty_after)
        ),
        verdict: Verdict::met(is_clean),
        numbers: json!({
            "objectsBefore": objects.len(),
            "objectsAfter": left.keys().collect::<Vec<_>>(),
            "storeBefore": stored,
            "storeAfter": after,
            "accountsOfOthersThatChanged": strangers,
            "tenantsGone": gone,
            "namespaceEmpty": empty_after.as_secs_f64(),
        }),
    })
}

fn took(gone: Option<f64>, empty: Duration) -> String {
    gone.map_or_else(
        || "some tenants never went".to_owned(),
        |gone| format!("tenants gone after {gone:.1} s, objects after {:.1} s", empty.as_secs_f64()),
    )
}
