//! `cargo xtask up`: from nothing to a tenant that answers.

pub mod build;
mod install;
mod sample;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::cgroup::Cgroup;
use crate::cluster::kubectl::{Kubectl, check_alive};
use crate::cluster::{add_ons, admin_kubeconfig, control_plane, daemon, network, node, pki, state};
use crate::images;
use crate::lock;
use crate::packages;
use crate::parts;
use crate::prerequisites::{self, Need};
use crate::progress::Progress;

/// What `up` was asked for.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Installs into this existing cluster instead of a local one. Needs --image, as none is published. Values of an
    /// installation that is there already stay.
    #[arg(long, value_name = "FILE", requires = "image", conflicts_with_all = ["cluster_only", "with"])]
    kubeconfig: Option<PathBuf>,
    /// With --kubeconfig: the operator's image, as the existing cluster can pull it.
    #[arg(long, value_name = "REPOSITORY:TAG", requires = "kubeconfig")]
    image: Option<String>,
    /// Starts the local cluster without the operator and the sample tenant.
    #[arg(long)]
    cluster_only: bool,
    /// Builds the operator without optimisation, which takes less time after a change.
    #[arg(long, conflicts_with = "kubeconfig")]
    debug: bool,
    /// Images that other tests need as well: agnhost, kine, konnectivity, metrics-server.
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    with: Vec<String>,
}

impl Options {
    /// What the e2e ring needs: the local cluster with every image that a story runs.
    pub fn for_stories() -> Self {
        let with = ["agnhost", "kine", "konnectivity", "metrics-server"].map(str::to_owned).into();
        Self { with, ..Self::default() }
    }
}

/// Brings everything up.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    match &options.kubeconfig {
        Some(kubeconfig) => existing(kubeconfig, options.image.as_deref(), progress),
        None => local(options, progress),
    }
}

fn existing(kubeconfig: &Path, image: Option<&str>, progress: &Progress) -> Result<()> {
    // What is wrong with the arguments is said before minutes of building.
    let image = image.map(install::Image::parse).transpose()?;
    let path = std::path::absolute(kubeconfig).with_context(|| format!("--kubeconfig {}", kubeconfig.display()))?;
    if !path.is_file() {
        bail!("there is no kubeconfig {}", path.display());
    }
    prerequisites::check(Need::Parts)?;
    let names = ["kubernetes", "helm"].map(str::to_owned);
    parts::ensure(&parts::select(&names)?, progress)?;
    let kubectl = Kubectl::new(path);
    install::charts(&kubectl, image.as_ref(), install::Earlier::Kept, progress)?;
    if sample::create(&kubectl, progress)? {
        sample::say_what_next(&kubectl);
    } else {
        println!("\nThe operator runs. docs/quickstart.md says how to make a tenant.");
    }
    Ok(())
}

fn local(options: &Options, progress: &Progress) -> Result<()> {
    prerequisites::check(Need::Cluster)?;
    let _lock = lock::take()?;
    packages::ensure_with(&options.with, progress)?;
    parts::ensure(&parts::select(&[])?, progress)?;
    let built = build::run(!options.cluster_only, options.debug, progress)?;
    images::build(&options.with, progress)?;

    let kubectl = Kubectl::new(admin_kubeconfig());
    start(&kubectl, &built.add_ons, progress)?;
    let Some(operator) = built.operator else {
        eprintln!("\nThe cluster runs. Its kubeconfig: {}", admin_kubeconfig().display());
        return Ok(());
    };
    let image = install::local_image(&operator, progress)?;
    install::charts(&kubectl, Some(&image), install::Earlier::Forgotten, progress)?;
    sample::create(&kubectl, progress)?;
    sample::say_what_next(&kubectl);
    Ok(())
}

/// Starts what does not run yet of the cluster, and waits until pods can run and names resolve.
fn start(kubectl: &Kubectl, add_ons_binary: &Path, progress: &Progress) -> Result<()> {
    let step = progress.step("local cluster");
    daemon::forget_dead()?;
    for folder in ["logs", "pod-logs", "volumes"] {
        std::fs::create_dir_all(state(folder))?;
    }
    step.note("network");
    Cgroup::cluster().create()?;
    network::create()?;
    step.note("certificates");
    pki::create()?;
    step.note("etcd and kube-apiserver");
    control_plane::start_api(kubectl)?;
    step.note("node");
    control_plane::start_controllers()?;
    add_ons::start(add_ons_binary)?;
    node::start()?;
    step.note("add-ons");
    add_ons::apply(kubectl)?;
    step.note("waiting for the node and for DNS");
    add_ons::wait(kubectl)?;
    check_alive()?;
    step.done(&format!("kubeconfig: {}", admin_kubeconfig().display()));
    Ok(())
}
