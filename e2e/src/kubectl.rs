//! `kubectl` as a user of a tenant runs it.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use kamaji_testkit::{parts, scratch};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{tenant::Tenant, xtask::within};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// `kubectl` with a tenant's `admin.conf`.
pub struct Kubectl {
    folder: TempDir,
}

impl Kubectl {
    /// Writes the kubeconfig that the tenant's administrator gets. `admin.conf`, not `super-admin.conf`: the rights of its
    /// group come from kubeadm's phases.
    ///
    /// # Errors
    /// When the tenant has none.
    pub async fn of(tenant: &Tenant) -> Result<Self> {
        let folder = scratch::folder("kubectl")?;
        let secret = tenant.secret("admin-kubeconfig").await?;
        std::fs::write(folder.path().join("admin.conf"), secret.get("admin.conf").context("no admin.conf")?)?;
        Ok(Self { folder })
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.conf")
    }

    /// Runs it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it fails, with its own words, or takes longer than half a minute.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.with_input(arguments, "").await
    }

    /// As [`Kubectl::run`], with `input` on standard input.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let shown = arguments.join(" ");
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().context("kubectl cannot be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that ends before it has read all is reported by its own words.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let ended = timeout(CALL, child.wait_with_output()).await;
        let output = ended.with_context(|| format!("kubectl {shown} takes too long"))??;
        said(&format!("kubectl {shown}"), &output)
    }

    /// Applies manifests on the server's side.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.with_input(&["apply", "--server-side", "-f", "-"], manifests).await.map(drop)
    }

    /// Runs it until its output satisfies `wanted`. For what the network of a cluster takes a moment to learn.
    ///
    /// # Errors
    /// When it does not within `patience`; with the last answer.
    pub async fn until(&self, patience: Duration, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let last = match self.run(arguments).await {
                Ok(text) if wanted(&text) => return Ok(text),
                Ok(text) => text,
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("kubectl {} did not come to what was expected; it said last: {last}", arguments.join(" "));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Runs it until it fails, and returns its words.
    ///
    /// # Errors
    /// When it goes on succeeding for `patience`.
    pub async fn until_refused(&self, patience: Duration, arguments: &[&str]) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.run(arguments).await {
                Err(error) => return Ok(format!("{error:#}")),
                Ok(_) if Instant::now() > deadline => bail!("kubectl {} goes on working", arguments.join(" ")),
                Ok(_) => sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Waits until a rollout is complete.
    ///
    /// # Errors
    /// When it is not in time; with what the namespace's pods say.
    pub async fn rolled_out(&self, namespace: &str, object: &str) -> Result<()> {
        let arguments = ["--namespace", namespace, "rollout", "status", object, "--timeout=180s"];
        let output = within(Duration::from_secs(200), &mut self.command(&arguments)).await?;
        if output.status.success() {
            return Ok(());
        }
        let pods = self.run(&["--namespace", namespace, "describe", "pods"]).await.unwrap_or_default();
        bail!("{object} does not roll out: {}\n{pods}", String::from_utf8_lossy(&output.stderr).trim())
    }

    /// `kubectl port-forward` in the background; it ends when the value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn forward(&self, object: &str, ports: &str) -> Result<Child> {
        let mut command = self.command(&["port-forward", object, ports]);
        command.stdin(Stdio::null()).spawn().context("kubectl port-forward cannot be started")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(parts::kubectl());
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// Standard output of a command that has succeeded.
pub(crate) fn said(what: &str, output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed: {}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The checkout that this was built from.
pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
