//! The operator is installed into a cluster that is there already, and the tenant is reached from outside of it.
//!
//! The local cluster plays the other one, under a kubeconfig at another place.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_e2e::{
    Story,
    story::LOCAL,
    xtask::{self, within},
};
use kamaji_testkit::scratch;
use kube::Api;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long one printed command may take.
const CALL: Duration = Duration::from_mins(1);
/// How long a forwarded port may take until it leads somewhere.
const FORWARDED: Duration = Duration::from_secs(30);

/// `cargo xtask up` on the cluster of this kubeconfig; gives the command lines that it prints.
async fn up(kubeconfig: &Path, image: &str) -> Result<Vec<String>> {
    let kubeconfig = kubeconfig.to_str().context("a kubeconfig whose path is no text")?;
    let said = xtask::run(&["up", "--kubeconfig", kubeconfig, "--image", image]).await?;
    Ok(said.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect())
}

/// Runs a printed command line and gives what it wrote.
async fn run(line: &str) -> Result<String> {
    let output = within(CALL, &mut xtask::line(line)).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line} failed: {}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Does what is printed for a cluster that is not on this machine, from the first line to the last.
async fn follow(lines: &[String]) -> Result<()> {
    let [list, forward, ask, scale] = lines else { bail!("other command lines than expected: {lines:?}") };
    let tenants = run(list).await?;
    ensure!(tenants.contains("sample"), "{list} shows: {tenants}");

    let in_background = forward.strip_suffix(" &").with_context(|| format!("{forward} would not return"))?;
    let mut forwarding = xtask::line(in_background).spawn().context("no port is forwarded")?;
    let began = Instant::now();
    let namespaces = loop {
        match run(ask).await {
            Ok(said) => break said,
            Err(error) => match forwarding.try_wait()? {
                Some(_) => {
                    let ended = forwarding.wait_with_output().await?;
                    bail!("{forward} ended: {}; {error:#}", String::from_utf8_lossy(&ended.stderr).trim())
                }
                None if began.elapsed() > FORWARDED => return Err(error),
                None => sleep(Duration::from_millis(200)).await,
            },
        }
    };
    ensure!(namespaces.contains("kube-system"), "{ask} shows: {namespaces}");
    forwarding.kill().await?;

    let scaled = run(&format!("{scale} --dry-run=server")).await?;
    ensure!(scaled.contains("sample scaled"), "{scale} says: {scaled}");
    ensure!(scale.ends_with("--replicas=3"), "two replicas are the default: {scale}");
    Ok(())
}

/// The sample's cgroup driver, and whether its kube-proxy is patched: what only workers on this machine need.
async fn local_fields(story: &Story) -> Result<(Option<String>, bool)> {
    let api: Api<TenantControlPlane> = Api::namespaced(story.client.clone(), "default");
    let sample = serde_json::to_value(api.get("sample").await?)?;
    let driver = sample.pointer("/spec/kubernetes/kubelet/cgroupfs").and_then(Value::as_str);
    let patches = sample.pointer("/spec/addons/kubeProxy/configurationJSONPatches").and_then(Value::as_array);
    Ok((driver.map(str::to_owned), patches.is_some_and(|patches| !patches.is_empty())))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_up_prints_for_another_cluster_works_from_outside_and_a_second_up_rolls_no_operator() -> Result<()> {
    Story::tell_on(Path::new(LOCAL), "existing", async |story| {
        let operators: Api<Deployment> = Api::namespaced(story.client.clone(), "kamaji-system");
        let before = operators.get("kamaji").await?;
        let pods = before.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let image =
            pods.and_then(|pods| pods.containers.first()?.image.clone()).context("an operator without image")?;
        let folder = scratch::folder("existing")?;
        let elsewhere = folder.path().join("admin.conf");
        std::fs::copy(LOCAL, &elsewhere)?;

        let told = async {
            let lines = up(&elsewhere, &image).await?;
            let fields = local_fields(&story).await?;
            ensure!(fields == (None, false), "the tenant is not as elsewhere: {fields:?}");
            follow(&lines).await
        };
        let told = told.await;
        // Under its own path the cluster is the local one again, and its sample fit for workers on this machine.
        let lines = up(Path::new(LOCAL), &image).await?;
        told?;
        ensure!(lines.len() == 3 && lines.iter().all(|line| !line.contains("port-forward")), "{lines:?}");
        let fields = local_fields(&story).await?;
        ensure!(fields == (Some("cgroupfs".to_owned()), true), "the tenant is not as on this machine: {fields:?}");

        let after = operators.get("kamaji").await?;
        ensure!(after.metadata.uid == before.metadata.uid, "the operator was not replaced");
        ensure!(after.metadata.generation == before.metadata.generation, "its pods and their number are the same");
        Ok(())
    })
    .await
}
