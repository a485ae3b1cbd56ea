//! Real workers join tenants, and pods on them work.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kamaji_e2e::{
    Story,
    kubectl::Kubectl,
    tenant::{SOON, Tenant},
    web::{self, A_WHILE},
    worker::{self, Workers},
};
use kamaji_testkit::{parts, wait::wait_for};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

/// Of everything that the operator keeps in a tenant: kind, namespace and name, and which version it is.
async fn kept(kubectl: &Kubectl) -> Result<BTreeMap<String, String>> {
    let kinds = "configmaps,serviceaccounts,services,deployments,daemonsets,roles,rolebindings,clusterroles,clusterrolebindings";
    let template = "--output=jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let text = kubectl.run(&["get", kinds, "--all-namespaces", template]).await?;
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    Ok(lines.map(|(object, version)| (object.to_owned(), version.to_owned())).collect())
}

async fn replace_operator(story: &Story) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(story.client.clone(), "kamaji-system");
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let before = holder(&leases.get("kamaji.clastix.io").await?);
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), "kamaji-system");
    let selector = ListParams::default().labels("app.kubernetes.io/component=controller-manager");
    for pod in pods.list(&selector).await?.items {
        pods.delete(&pod.name_any(), &DeleteParams::default()).await.context("the operator was not restarted")?;
    }
    let is_new = |lease: &Lease| !holder(lease).is_empty() && holder(lease) != before;
    wait_for(&leases, "kamaji.clastix.io", SOON, is_new).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_run_pods_that_find_services_and_the_api_and_a_restarted_operator_writes_nothing() -> Result<()> {
    Story::tell("workers", async |story| {
        let domain = "tenant.example";
        let tenant = Tenant::declare(&story, "joined", |spec| {
            web::with_addons(spec);
            spec["networkProfile"]["clusterDomain"] = json!(domain);
        })
        .await?;
        tenant.configured().await?;
        let workers = Workers::of(&tenant);
        workers.join(&["--with", "agnhost"]).await?;
        let kubectl = Kubectl::of(&tenant).await?;
        kubectl.apply(&web::manifests()).await?;
        kubectl.rolled_out("default", "deployment/web").await?;
        for addon in ["deployment/coredns", "daemonset/kube-proxy"] {
            kubectl.rolled_out("kube-system", addon).await?;
        }
        web::pods_find_each_other_and_the_api(&kubectl, domain).await?;
        let log = kubectl.run(&["logs", "deployment/web"]).await?;
        ensure!(log.contains("HTTP server"), "the kubelet gives the log: {log}");

        let before = kept(&kubectl).await?;
        ensure!(before.contains_key("ConfigMap kube-system/kubelet-config"), "{before:?}");
        replace_operator(&story).await?;
        // What it puts back shows that it has looked at this tenant.
        kubectl.run(&["--namespace=kube-system", "delete", "configmap", "kubelet-config"]).await?;
        let back = ["--namespace=kube-system", "get", "configmap", "kubelet-config"];
        kubectl.until(A_WHILE, &back, |said| said.contains("kubelet-config")).await?;
        let mut after = kept(&kubectl).await?;
        after.remove("ConfigMap kube-system/kubelet-config");
        let changed: Vec<_> = before
            .iter()
            .filter(|(object, version)| !object.ends_with("/kubelet-config") && after.get(*object) != Some(version))
            .collect();
        ensure!(changed.is_empty(), "the restarted operator wrote {changed:?}");

        workers.remove().await?;
        let nodes = kubectl.run(&["get", "nodes", "--output=name"]).await?;
        ensure!(nodes.trim().is_empty(), "no Node is left: {nodes}");
        tenant.delete().await
    })
    .await
}

/// The versions that this machine has parts of, oldest first: one here, all supported minors after
/// `cargo xtask test --matrix` or `cargo xtask oracle`.
fn built_versions() -> Vec<&'static str> {
    let mut all: Vec<&str> = parts::KUBERNETES_MATRIX.iter().copied().chain([parts::KUBERNETES_VERSION]).collect();
    all.retain(|version| parts::kubernetes(version, "kubelet").exists());
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_each_built_version_and_up_to_two_minors_older_join() -> Result<()> {
    Story::tell("versions", async |story| {
        let versions = built_versions();
        ensure!(versions.contains(&parts::KUBERNETES_VERSION), "{versions:?}");
        let images: Vec<String> = versions.iter().map(|version| format!("kubernetes@{version}")).collect();
        worker::pack(&images).await?;
        for (index, version) in versions.iter().enumerate() {
            let tenant = Tenant::declare(&story, &format!("v{}", version.replace('.', "-")), |spec| {
                web::with_addons(spec);
                spec["kubernetes"]["version"] = json!(format!("v{version}"));
            })
            .await?;
            tenant.configured().await?;
            let workers = Workers::of(&tenant);
            let joining = &versions[index.saturating_sub(2)..=index];
            for worker in joining {
                workers.join(&["--version", worker]).await?;
            }
            let kubectl = Kubectl::of(&tenant).await?;
            let template = "--output=jsonpath={.items[*].status.nodeInfo.kubeletVersion}";
            let joined = kubectl.run(&["get", "nodes", template]).await?;
            let joined: BTreeSet<&str> =
                joined.split_whitespace().map(|version| version.trim_start_matches('v')).collect();
            ensure!(joined == joining.iter().copied().collect(), "{joined:?} are the workers of {version}");
            for addon in ["deployment/coredns", "daemonset/kube-proxy"] {
                kubectl.rolled_out("kube-system", addon).await?;
            }
            workers.remove().await?;
            tenant.delete().await?;
        }
        Ok(())
    })
    .await
}
