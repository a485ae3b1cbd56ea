//! An API server with controllers, scheduler and one simulated node: pods become ready, owners take their dependents
//! with them. No container runs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::sync::OnceCell;

use crate::api_server::{self, ApiServer};
use crate::component;
use crate::controller_manager::ControllerManager;
use crate::kwok::{self, Kwok};
use crate::scheduler::Scheduler;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server failed.
    #[error(transparent)]
    ApiServer(#[from] api_server::Error),
    /// The controller manager or the scheduler failed.
    #[error(transparent)]
    Component(#[from] component::Error),
    /// kwok failed.
    #[error(transparent)]
    Kwok(#[from] kwok::Error),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::ApiServer(error) => error.category(),
            Self::Component(error) => error.category(),
            Self::Kwok(error) => error.category(),
        }
    }
}

/// A running cluster; everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // In this order: whoever talks to the API server ends before it.
    kwok: Kwok,
    scheduler: Scheduler,
    controller_manager: ControllerManager,
    api_server: ApiServer,
}

impl Cluster {
    /// Starts one with these definitions, which the garbage collector knows from the beginning.
    pub async fn start(crds: &[CustomResourceDefinition]) -> Result<Self, Error> {
        Self::start_with(api_server::Options::default(), crds).await
    }

    /// As [`Cluster::start`], on an API server of this kind.
    pub async fn start_with(options: api_server::Options, crds: &[CustomResourceDefinition]) -> Result<Self, Error> {
        let api_server = ApiServer::start_with(options).await?;
        api_server.install_crds(crds).await?;
        let (controller_manager, scheduler, kwok) = tokio::join!(
            ControllerManager::start(&api_server),
            Scheduler::start(&api_server),
            Kwok::start(&api_server),
        );
        Ok(Self { kwok: kwok?, scheduler: scheduler?, controller_manager: controller_manager?, api_server })
    }

    /// The one cluster that all tests of this binary share, with the definitions of whoever comes first: all tests of
    /// a binary pass the same.
    pub async fn shared(crds: &[CustomResourceDefinition]) -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(crds)).await
    }

    /// Its API server.
    pub fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    /// Its API server, to stop or restart it.
    pub fn api_server_mut(&mut self) -> &mut ApiServer {
        &mut self.api_server
    }

    /// Its controller manager.
    pub fn controller_manager(&self) -> &ControllerManager {
        &self.controller_manager
    }

    /// Its scheduler.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Its simulated node.
    pub fn kwok(&self) -> &Kwok {
        &self.kwok
    }
}
