//! All writes to the cluster: `kubectl`, as a user would.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kamaji_testkit::parts;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// `kubectl` with a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

/// When a `kubectl apply` began and ended.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// Right before the process was started.
    pub began: Instant,
    /// Right after it had ended.
    pub ended: Instant,
}

impl Applied {
    /// How long the command took, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.ended - self.began).as_secs_f64()
    }
}

impl Kubectl {
    /// Talks to the cluster of this kubeconfig.
    ///
    /// # Errors
    /// When `kubectl` has not been built.
    pub fn new(kubeconfig: PathBuf) -> Result<Self> {
        if !parts::kubectl().exists() {
            bail!("{} is not there: `cargo xtask parts --only kubernetes` builds it", parts::kubectl().display());
        }
        Ok(Self { kubeconfig })
    }

    /// Applies all objects with one command, on the server's side: one request per object.
    pub async fn apply(&self, what: &str, objects: &[Value]) -> Result<Applied> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let began = Instant::now();
        self.run(what, &["apply", "--server-side", "--filename=-"], Some(&list)).await?;
        Ok(Applied { began, ended: Instant::now() })
    }

    /// Runs it to its end and gives its standard output.
    pub async fn run(&self, what: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut child = Command::new(parts::kubectl())
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{what}: cannot start {}", parts::kubectl().display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that fails before it has read all is reported by its own words below.
            let _ = stdin.write_all(input.unwrap_or_default().as_bytes()).await;
        }
        let out = child.wait_with_output().await.with_context(|| what.to_owned())?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("{what} failed: {}", said.trim().lines().last().unwrap_or("it said nothing"));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}
