//! An organization's own certificate authorities, as its platform team sees them.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Pod},
};
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_e2e::{
    Story,
    identity_provider::{Bound, IdentityProvider, OPAQUE_TOKEN, USER, flags, webhook_kubeconfig},
    tenant::Tenant,
};
use kamaji_testkit::{certificate::Authority, probe::Probe};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The owner's ConfigMap.
const SOURCE: &str = "internal-ca-certs";
/// kube-apiserver asks an issuer that it could not reach again after ten seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How kube-apiserver tells of a certificate that nobody it trusts has signed.
const UNKNOWN: &str = "certificate signed by unknown authority";

async fn publish(story: &Story, name: &str, data: Value) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let api: Api<ConfigMap> = Api::namespaced(story.client.clone(), &story.namespace);
    api.patch(name, &PatchParams::apply("owner").force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// Whom a token is taken for; `None` when it is refused.
async fn login(tenant: &Tenant, token: &str) -> Result<Option<String>> {
    let reviews: Api<SelfSubjectReview> = Api::all(tenant.with_token(token).await?);
    match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username)),
        Err(kube::Error::Api(status)) if status.code == 401 => Ok(None),
        Err(error) => Err(error).context("the tenant does not answer"),
    }
}

/// Logs in, for as long as kube-apiserver has yet to ask the issuer.
async fn logs_in(tenant: &Tenant, token: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        match login(tenant, token).await {
            Ok(Some(user)) if user == USER => return Ok(()),
            Ok(Some(other)) => bail!("the token is taken for {other}"),
            Ok(None) | Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_secs(1)).await,
            other => bail!("the token does not log in: {other:?}"),
        }
    }
}

/// Waits until a kube-apiserver of the tenant has logged `sentence` with `about` on the same line.
async fn api_server_logs(story: &Story, tenant: &Tenant, about: &str, sentence: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let own = ListParams::default().labels(&format!("kamaji.clastix.io/name={}", tenant.name));
    let container = LogParams { container: Some("kube-apiserver".to_owned()), ..LogParams::default() };
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        for pod in pods.list_metadata(&own).await? {
            let log = pods.logs(&pod.name_any(), &container).await.unwrap_or_default();
            if log.lines().any(|line| line.contains(about) && line.contains(sentence)) {
                return Ok(());
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    bail!("no kube-apiserver of {} logs \"{sentence}\" about {about}", tenant.name)
}

/// The Deployment mounts another copy than `before`, its rollout is over, and the former pods are gone.
async fn rolled(story: &Story, tenant: &Tenant, before: &[String], pods: usize) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut now = copies(story).await?;
    while now == before || now.len() > 1 {
        ensure!(began.elapsed() < kamaji_e2e::tenant::SOON, "the copies are still {now:?}");
        sleep(Duration::from_millis(500)).await;
        now = copies(story).await?;
    }
    tenant.until(is_settled).await?;
    tenant.only_pods(pods).await?;
    Ok(now)
}

fn is_settled(tenant: &TenantControlPlane) -> bool {
    let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is = |type_: &str, status: &str| conditions::find(all, type_).is_some_and(|found| found.status == status);
    is(conditions::READY, "True") && is(conditions::PROGRESSING, "False") && is(conditions::DEGRADED, "False")
}

async fn copies(story: &Story) -> Result<Vec<String>> {
    let api: Api<ConfigMap> = Api::namespaced(story.client.clone(), &story.namespace);
    let own = ListParams::default().labels("kamaji.clastix.io/component=internal-ca-certificates");
    Ok(api.list_metadata(&own).await?.into_iter().map(|copy| copy.name_any()).collect())
}

/// Adds to a list of the specification.
fn push(list: &mut Value, more: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        list.push(more);
    }
}

/// Mounts a ConfigMap into kube-apiserver.
fn mount(spec: &mut Value, config_map: &str, mount: Value) {
    let deployment = &mut spec["controlPlane"]["deployment"];
    push(&mut deployment["additionalVolumes"], json!({"name": config_map, "configMap": {"name": config_map}}));
    push(&mut deployment["additionalVolumeMounts"]["apiServer"], mount);
}

/// Has kube-apiserver ask a webhook about tokens that it does not know.
fn ask_webhook(spec: &mut Value) {
    mount(spec, "webhook", json!({"name": "webhook", "mountPath": "/etc/webhook", "readOnly": true}));
    let arguments = &mut spec["controlPlane"]["deployment"]["extraArgs"]["apiServer"];
    push(arguments, json!("--authentication-token-webhook-config-file=/etc/webhook/kubeconfig"));
    push(arguments, json!("--authentication-token-webhook-version=v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_an_internal_identity_provider_works_with_the_field_and_not_without() -> Result<()> {
    Story::tell("internal-ca", async |story| {
        let authority = Authority::new("internal")?;
        let provider = IdentityProvider::start(&authority.server("provider", &IdentityProvider::NAMES)?).await?;
        let webhook = IdentityProvider::start(&authority.server("webhook", &IdentityProvider::NAMES)?).await?;
        publish(&story, "webhook", json!({"kubeconfig": webhook_kubeconfig(&webhook.url())})).await?;
        let tenant = Tenant::declare(&story, "oidc", |spec| {
            spec["controlPlane"]["deployment"]["extraArgs"] = json!({"apiServer": flags(&provider.url())});
            ask_webhook(spec);
        })
        .await?;
        tenant.phase("Ready").await?;
        ensure!(!tenant.namespaces().await?.is_empty());
        let token = provider.token()?;
        api_server_logs(&story, &tenant, &provider.url(), UNKNOWN).await?;
        ensure!(login(&tenant, &token).await?.is_none(), "the provider's token is refused");
        ensure!(login(&tenant, OPAQUE_TOKEN).await?.is_none(), "the webhook's token is refused");
        api_server_logs(&story, &tenant, &webhook.url(), UNKNOWN).await?;

        publish(&story, SOURCE, json!({"internal-ca.crt": authority.certificate()})).await?;
        tenant.change(json!({"spec": {"internalCACertificatesConfigMap": SOURCE}})).await?;
        rolled(&story, &tenant, &[], 1).await?;
        logs_in(&tenant, &token).await?;
        logs_in(&tenant, OPAQUE_TOKEN).await?;
        tenant.delete().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenants_own_authority_is_not_trusted_for_logins_and_the_images_bundle_still_is() -> Result<()> {
    Story::tell("own-ca", async |story| {
        let (internal, public) = (Authority::new("internal")?, Authority::new("public")?);
        let bound = Bound::new().await?;
        let webhook = IdentityProvider::start(&public.server("webhook", &IdentityProvider::NAMES)?).await?;
        publish(&story, "webhook", json!({"kubeconfig": webhook_kubeconfig(&webhook.url())})).await?;
        // No public authority signs for a test: one of the test's own stands in the place of the image's bundle.
        publish(&story, "bundle", json!({"ca-certificates.crt": public.certificate()})).await?;
        publish(&story, SOURCE, json!({"internal-ca.crt": internal.certificate()})).await?;
        let url = bound.url()?;
        let tenant = Tenant::declare(&story, "own-ca", |spec| {
            spec["internalCACertificatesConfigMap"] = json!(SOURCE);
            spec["controlPlane"]["deployment"]["extraArgs"] = json!({"apiServer": flags(&url)});
            ask_webhook(spec);
            mount(
                spec,
                "bundle",
                json!({
                    "name": "bundle", "readOnly": true, "subPath": "ca-certificates.crt",
                    "mountPath": "/etc/ssl/certs/ca-certificates.crt",
                }),
            );
        })
        .await?;
        tenant.phase("Ready").await?;
        ensure!(!tenant.namespaces().await?.is_empty());
        let ca = tenant.secret("ca").await?;
        let text = |key: &str| Ok::<_, anyhow::Error>(String::from_utf8(ca.get(key).context("no CA")?.clone())?);
        let own = Authority::with_key("kubernetes", &text("ca.key")?)?;
        let provider = bound.serve(&own.server("provider", &IdentityProvider::NAMES)?)?;
        let token = provider.token()?;
        api_server_logs(&story, &tenant, &url, UNKNOWN).await?;
        ensure!(login(&tenant, &token).await?.is_none(), "the tenant's own authority does not vouch for a provider");
        logs_in(&tenant, OPAQUE_TOKEN).await?;

        // Nothing else was wrong with that certificate: an owner who names the authority is heard.
        let before = copies(&story).await?;
        publish(&story, SOURCE, json!({"internal-ca.crt": internal.certificate(), "own.crt": text("ca.crt")?})).await?;
        rolled(&story, &tenant, &before, 1).await?;
        logs_in(&tenant, &token).await?;
        tenant.delete().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_authority_loses_no_request_and_no_login() -> Result<()> {
    Story::tell("ca-rotation", async |story| {
        let (a, b) = (Authority::new("a")?, Authority::new("b")?);
        let provider = IdentityProvider::start(&a.server("provider", &IdentityProvider::NAMES)?).await?;
        publish(&story, SOURCE, json!({"a.crt": a.certificate()})).await?;
        let tenant = Tenant::declare(&story, "rotation", |spec| {
            spec["internalCACertificatesConfigMap"] = json!(SOURCE);
            spec["controlPlane"]["deployment"]["replicas"] = json!(2);
            spec["controlPlane"]["deployment"]["extraArgs"] = json!({"apiServer": flags(&provider.url())});
        })
        .await?;
        tenant.phase("Ready").await?;
        ensure!(!tenant.namespaces().await?.is_empty());
        tenant.only_pods(2).await?;
        let token = provider.token()?;
        logs_in(&tenant, &token).await?;

        let first = copies(&story).await?;
        let probe = Probe::start(tenant.probe_target().await?);
        publish(&story, SOURCE, json!({"a.crt": a.certificate(), "b.crt": b.certificate()})).await?;
        let both = rolled(&story, &tenant, &first, 2).await?;
        provider.show(&b.server("provider", &IdentityProvider::NAMES)?)?;
        logs_in(&tenant, &token).await?;
        publish(&story, SOURCE, json!({"b.crt": b.certificate()})).await?;
        rolled(&story, &tenant, &both, 2).await?;
        let report = probe.finish().await;
        println!("{report}");
        ensure!(report.successes() > 100, "the probe ran during the rotation");
        ensure!(report.failures().next().is_none(), "no attempt failed");
        logs_in(&tenant, &token).await?;
        tenant.delete().await
    })
    .await
}
