//! The add-ons process of the local cluster: what a cloud would do for Services and volumes, and an image registry.
//!
//! Built with `--features addons`, started by `cargo xtask up`.

mod load_balancer;
mod registry;
mod volumes;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Add-ons of the local cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kubeconfig of the cluster's administrator.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// OCI image layout to serve.
    #[arg(long)]
    images: PathBuf,
    /// Where the registry listens.
    #[arg(long)]
    registry: SocketAddr,
    /// Folder that holds one folder per volume.
    #[arg(long)]
    volumes: PathBuf,
    /// Networks that load balancer addresses come from.
    #[arg(long, value_delimiter = ',')]
    load_balancer_cidrs: Vec<load_balancer::Pool>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig)
        .with_context(|| format!("cannot read {}", arguments.kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    tokio::try_join!(
        registry::serve(arguments.registry, arguments.images),
        load_balancer::run(client.clone(), arguments.load_balancer_cidrs),
        volumes::run(client, arguments.volumes),
    )?;
    Ok(())
}
