//! `cargo xtask kubeconfig`: paths of the management cluster's and of tenants' kubeconfigs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::kubectl::Kubectl;
use crate::cluster::{STATE, admin_kubeconfig, state};
use crate::layout;

/// Prints the path of the management kubeconfig, or writes a tenant's and prints its path.
pub fn run(tenant: Option<&str>, management: Option<PathBuf>) -> Result<()> {
    let kubeconfig = management.unwrap_or_else(admin_kubeconfig);
    if !kubeconfig.exists() {
        bail!("there is no kubeconfig {}; `cargo xtask up` starts a cluster", kubeconfig.display());
    }
    let path = match tenant {
        Some(tenant) => write_tenant(tenant, &Kubectl::new(kubeconfig))?,
        None => kubeconfig,
    };
    println!("{}", path.display());
    Ok(())
}

/// Writes the administrator's kubeconfig of tenant `namespace/name` to a file and returns its path.
///
/// # Errors
/// When the tenant has none yet.
pub fn write_tenant(tenant: &str, kubectl: &Kubectl) -> Result<PathBuf> {
    let Some((namespace, name)) = tenant.split_once('/') else {
        bail!("`{tenant}` names no tenant; write NAMESPACE/NAME");
    };
    // The Secret's name and key: docs/reference/compatibility.md, "Kubeconfigs". Its group has rights as soon as the tenant
    // is configured.
    let secret = format!("secret/{name}-admin-kubeconfig");
    let template = "--output=go-template={{index .data \"admin.conf\" | base64decode}}";
    let what = format!("reading the kubeconfig of tenant {tenant}");
    let text = kubectl.run(&what, &["--namespace", namespace, "get", &secret, template])?;
    if text.trim().is_empty() || text.contains("<no value>") {
        bail!("{secret} in namespace {namespace} has no key admin.conf yet; is the tenant Ready?");
    }
    let folder = if Path::new(STATE).exists() { state("tenants") } else { layout::cache_dir().join("tenants") };
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{namespace}-{name}.conf"));
    let fresh = path.with_extension("new");
    // It holds a private key.
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, &path)?;
    Ok(path)
}
