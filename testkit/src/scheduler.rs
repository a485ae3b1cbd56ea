//! A real kube-scheduler: pods get a node.

use crate::api_server::ApiServer;
use crate::component::{self, Error};
use crate::process::Process;

/// A running kube-scheduler; ends when dropped.
#[derive(Debug)]
pub struct Scheduler {
    process: Process,
}

impl Scheduler {
    /// Starts it with its default profile.
    pub async fn start(server: &ApiServer) -> Result<Self, Error> {
        let args = ["--kube-api-qps=500".to_owned(), "--kube-api-burst=1000".to_owned()];
        component::start(server, "kube-scheduler", &args).await.map(|process| Self { process })
    }

    /// Its process, to pause or resume it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
