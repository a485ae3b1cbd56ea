//! A real worker of a tenant, made by `cargo xtask worker` as a person makes one.

use std::process::Stdio;

use anyhow::Result;

use crate::{kubectl::workspace, story::dump_folder, tenant::Tenant, xtask};

/// The workers of one tenant; they go with this value, however the story ends, unless `$KAMAJI_E2E_KEEP` is set.
pub struct Workers {
    tenant: String,
}

impl Workers {
    /// The tenant's workers, none yet.
    pub fn of(tenant: &Tenant) -> Self {
        Self { tenant: tenant.reference() }
    }

    /// Joins one more and waits until its Node is Ready. `options` are those of `cargo xtask worker join`.
    ///
    /// # Errors
    /// When it does not join, with the command's own words.
    pub async fn join(&self, options: &[&str]) -> Result<()> {
        let arguments = [&["worker", "join", self.tenant.as_str()][..], options].concat();
        xtask::run(&arguments).await.map(drop)
    }

    /// Removes them and their Nodes.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn remove(&self) -> Result<()> {
        xtask::run(&["worker", "remove", &self.tenant]).await.map(drop)
    }

    /// Copies what the workers wrote, for whoever looks into the failure.
    fn keep_logs(&self) -> std::io::Result<()> {
        let prefix = format!("{}-", self.tenant.replace('/', "-"));
        for worker in std::fs::read_dir("/var/lib/kamaji-local/workers")?.flatten() {
            let name = worker.file_name().to_string_lossy().into_owned();
            if !name.starts_with(&prefix) {
                continue;
            }
            let to = dump_folder().join(&name);
            std::fs::create_dir_all(&to)?;
            for log in std::fs::read_dir(worker.path().join("logs"))?.flatten() {
                std::fs::copy(log.path(), to.join(log.file_name()))?;
            }
            eprintln!("the logs of {name} are in {}", to.display());
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if std::env::var_os("KAMAJI_E2E_KEEP").is_some() {
            return;
        }
        // None is left when the story removed them itself.
        let _ = self.keep_logs();
        let (program, first) = xtask::program();
        let mut command = std::process::Command::new(program);
        command.args(first).args(["worker", "remove", &self.tenant]).current_dir(workspace());
        let _ = command.stdin(Stdio::null()).output();
    }
}

/// Packs the images of these parts, which a story's tenants are going to run.
///
/// # Errors
/// When one cannot be built, with the command's own words.
pub async fn pack(parts: &[String]) -> Result<()> {
    xtask::run(&["images", "--with", &parts.join(",")]).await.map(drop)
}
