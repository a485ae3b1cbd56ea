//! The operator's process: which one leads, what it uses, what it has written.

mod find;
mod metrics;
mod usage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config};

pub use find::Leader;
pub use metrics::Metrics;
pub use usage::{Usage, of as usage_of};

use crate::kubectl::Kubectl;

/// How long a new leader may take.
const TAKE_OVER: Duration = Duration::from_mins(2);
/// Pause between two questions about the operator.
const POLL: Duration = Duration::from_millis(250);
/// The operator is at rest when it has sent no write for so long.
const QUIET: Duration = Duration::from_secs(5);
/// How long it may take until it rests.
const QUIET_LIMIT: Duration = Duration::from_mins(2);

/// Where to look for the operator.
#[derive(Debug, Clone)]
pub struct Place {
    /// Namespace of the Lease and of the pods.
    pub namespace: String,
    /// A process of this machine instead of the leader's pod.
    pub process: Option<u32>,
    /// URL of that process's metrics.
    pub metrics_url: Option<String>,
}

/// The leading operator.
pub struct Operator {
    client: Client,
    place: Place,
    leader: Leader,
    /// cgroup of the whole cluster.
    cluster: Option<PathBuf>,
}

/// The client puts its paths behind that of the URL.
fn at_root(url: http::Uri) -> Result<http::Uri> {
    let mut parts = url.into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Ok(http::Uri::from_parts(parts)?)
}

impl Operator {
    /// Finds the leader and its process on this machine.
    ///
    /// # Errors
    /// When nobody leads, or the process is not on this machine.
    pub async fn find(client: &Client, place: Place) -> Result<Self> {
        let leader = match place.process {
            Some(pid) => Leader { pod: None, holder: format!("process {pid}"), pid, image: String::new() },
            None => find::leader(client, &place.namespace).await?,
        };
        // A process started by hand shares its cgroup with the builds and shells around it.
        let cluster = leader.pod.as_ref().and_then(|_| usage::outermost_cgroup(leader.pid));
        Ok(Self { client: client.clone(), place, leader, cluster })
    }

    /// Whom the numbers are about.
    pub fn leader(&self) -> &Leader {
        &self.leader
    }

    /// CPU time and memory now.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn usage(&self) -> Result<Usage> {
        usage::of(self.leader.pid).with_context(|| format!("the operator ({}) has ended", self.leader.holder))
    }

    /// CPU time of all processes of the cluster, where they share a cgroup.
    pub fn cluster_cpu(&self) -> Option<Duration> {
        usage::cpu_of(self.cluster.as_deref()?)
    }

    /// Its metrics now.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (client, path) = match (&self.leader.pod, &self.place.metrics_url) {
            (_, Some(url)) => {
                let url: http::Uri = url.parse().with_context(|| format!("--operator-metrics {url} is no URL"))?;
                let path = url.path().to_owned();
                (Client::try_from(Config::new(at_root(url)?))?, path)
            }
            (Some(pod), None) => {
                let port = kamaji_api::contract::ports::METRICS;
                let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/metrics", self.place.namespace);
                (self.client.clone(), path)
            }
            (None, None) => bail!("--operator-pid needs --operator-metrics"),
        };
        #[allow(clippy::disallowed_methods, reason = "a GET of metrics, which no typed API has")]
        let text = client.request_text(Request::get(path).body(Vec::new())?).await;
        Ok(Metrics::parse(&text.context("the operator's metrics cannot be read")?))
    }

    /// Fails when another process leads now: then the numbers before and after are not of one process.
    pub async fn check_same(&self) -> Result<()> {
        if self.place.process.is_some() {
            return self.usage().map(drop);
        }
        let now = find::leader(&self.client, &self.place.namespace).await?;
        if now.pid != self.leader.pid {
            bail!("{} led the operator when this began, now {} does", self.leader.holder, now.holder);
        }
        Ok(())
    }

    /// Waits until no write has been sent for five seconds. Gives the metrics as they then are; `false` when it never
    /// came to rest within two minutes.
    pub async fn rest(&self) -> Result<(Metrics, bool)> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut seen = self.metrics().await?;
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(POLL).await;
            let now = self.metrics().await?;
            if now.writes() != seen.writes() {
                since = Instant::now();
            }
            seen = now;
            if since.elapsed() >= QUIET || Instant::now() >= deadline {
                let is_quiet = since.elapsed() >= QUIET;
                return Ok((seen, is_quiet));
            }
        }
    }

    /// Whether [`Self::restart`] can do anything.
    pub fn can_restart(&self) -> bool {
        self.place.process.is_none()
    }

    /// Deletes the operator's pods and waits until one of their successors leads.
    pub async fn restart(&mut self, kubectl: &Kubectl) -> Result<()> {
        let Some(pod) = self.leader.pod.clone() else { bail!("only an operator in a pod can be restarted") };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.place.namespace);
        let labels = api.get(&pod).await.context("the operator's pod cannot be read")?.metadata.labels;
        let selector: Vec<String> = labels
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| key.starts_with("app.kubernetes.io/") && key != "app.kubernetes.io/version")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if selector.is_empty() {
            bail!("pod {}/{pod} has no label app.kubernetes.io/*", self.place.namespace);
        }
        let (namespace, selector) =
            (format!("--namespace={}", self.place.namespace), format!("--selector={}", selector.join(",")));
        let arguments = ["delete", "pods", "--wait=true", "--timeout=60s", &namespace, &selector];
        kubectl.run("restarting the operator", &arguments, None).await?;
        let deadline = Instant::now() + TAKE_OVER;
        loop {
            let failure = match find::leader(&self.client, &self.place.namespace).await {
                Ok(leader) if leader.pid != self.leader.pid => {
                    self.leader = leader;
                    match self.metrics().await {
                        Ok(metrics) if metrics.leads() => return Ok(()),
                        Ok(_) => "the new leader does not say that it leads".to_owned(),
                        Err(error) => format!("{error:#}"),
                    }
                }
                Ok(leader) => format!("the Lease still names {}", leader.holder),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("no operator leads {} s after the restart: {failure}", TAKE_OVER.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
