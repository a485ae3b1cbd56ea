//! A real kube-controller-manager: Deployments get pods, Services get EndpointSlices, owners take their dependents
//! with them, namespaces empty themselves.

use crate::api_server::{ApiServer, SERVICE_CIDR};
use crate::component::{self, Error};
use crate::process::Process;

/// A running kube-controller-manager; ends when dropped.
#[derive(Debug)]
pub struct ControllerManager {
    process: Process,
}

impl ControllerManager {
    /// Starts it with every controller that is on by default.
    ///
    /// Its garbage collector looks for new kinds only every 30 seconds: install CustomResourceDefinitions whose
    /// objects own others before this.
    pub async fn start(server: &ApiServer) -> Result<Self, Error> {
        let file = |name: &str| server.folder().join(name).display().to_string();
        let args = [
            format!("--service-account-private-key-file={}", file("sa.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            format!("--cluster-signing-cert-file={}", file("ca.crt")),
            format!("--cluster-signing-key-file={}", file("ca.key")),
            format!("--service-cluster-ip-range={SERVICE_CIDR}"),
            "--use-service-account-credentials=false".to_owned(),
            // The default of 20 requests per second makes a test with many objects wait for the client.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ];
        component::start(server, "kube-controller-manager", &args).await.map(|process| Self { process })
    }

    /// Its process, to pause or resume it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
