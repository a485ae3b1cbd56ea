//! Calls `kubectl` against one cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{STATE, daemon};
use crate::{command, failure, layout};

/// What is written of objects that `cargo xtask` applies: who made them.
pub const FIELD_MANAGER: &str = "cargo-xtask";

/// `kubectl` with a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Talks to the cluster of this kubeconfig.
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig }
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs it and returns its output.
    pub fn run(&self, what: &str, arguments: &[&str]) -> Result<String> {
        command::output(what, self.command().args(arguments)).map_err(|error| self.or_dead_daemon(error))
    }

    /// Applies manifests on the server's side.
    pub fn apply(&self, what: &str, manifests: &str) -> Result<()> {
        let manager = format!("--field-manager={FIELD_MANAGER}");
        let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        let applied = command::with_input(what, self.command().args(arguments), manifests);
        applied.map(drop).map_err(|error| self.or_dead_daemon(error))
    }

    /// Waits, by a watch, until the object exists and then until the condition holds.
    pub fn wait(&self, what: &str, object: &[&str], condition: &str, seconds: u32) -> Result<()> {
        let timeout = format!("--timeout={seconds}s");
        for goal in ["create", condition] {
            let mut arguments = vec!["wait", &timeout];
            let goal = format!("--for={goal}");
            arguments.push(&goal);
            arguments.extend(object);
            self.run(what, &arguments)?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(layout::kubectl());
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// When a part of the local cluster has died, that is why a call to it, or to a tenant of it, failed.
    fn or_dead_daemon(&self, error: anyhow::Error) -> anyhow::Error {
        match check_alive() {
            Err(ended) if self.kubeconfig.starts_with(STATE) => anyhow::anyhow!("{ended}\n  {error}"),
            Err(_) | Ok(()) => error,
        }
    }
}

/// Fails with the sentence of a part's log when any part has ended.
pub fn check_alive() -> Result<()> {
    match daemon::dead().first() {
        Some(name) => {
            let log = daemon::log(name);
            bail!("{name} ended: {}\n  log: {}", failure::sentence(&log), log.display())
        }
        None => Ok(()),
    }
}
