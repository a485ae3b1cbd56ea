//! Starts real Kubernetes parts for tests, and knows where they are.
//!
//! Tests of the API server ring begin with [`api_server::ApiServer::shared`], or with [`cluster::Cluster::shared`]
//! where controllers and pods matter. Nothing that is started here outlives the test binary.

pub mod address_pool;
pub mod api_server;
pub mod certificate;
pub mod cluster;
pub mod component;
pub mod controller_manager;
pub mod dump;
pub mod etcd;
pub mod fault_proxy;
pub mod http_get;
pub mod kubeconfig;
pub mod kwok;
pub mod load_balancer;
pub mod mariadb;
pub mod mock_api;
pub mod nats;
pub mod parts;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod scheduler;
pub mod scratch;
pub mod server;
pub mod wait;
