//! Where HTTP is served, and what is asked of its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::UsageError;
use super::file::File;
use crate::cli::MonitorArgs;
use crate::export::Address;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Settings of the listener.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// Where HTTP is served; empty where systemd hands over the sockets.
    pub addresses: Vec<Address>,
    /// The web configuration file.
    pub config: Option<PathBuf>,
    /// The path of the metrics, if it is not `/metrics` alone.
    pub metrics_path: Option<String>,
}

impl WebSettings {
    /// Flags win over the file.
    pub(super) fn merge(args: &MonitorArgs, file: &File) -> Result<Self, UsageError> {
        let listen = if args.listen.is_empty() { &file.listen } else { &args.listen };
        let listen = listen.iter().map(|listen| listen.0.clone());
        let inherits = args.systemd_socket || (file.systemd_socket && args.listen.is_empty());
        if inherits && !file.listen.is_empty() {
            let text =
                "systemd-socket and listen: systemd hands over the sockets, so give one of them";
            return Err(UsageError(text.into()));
        }
        let mut addresses: Vec<Address> = if inherits { Vec::new() } else { listen.collect() };
        if !inherits && addresses.is_empty() {
            addresses.push(Address::Tcp(DEFAULT_LISTEN));
        }
        let path = args.metrics_path.as_ref().or(file.metrics_path.as_ref());
        Ok(Self {
            addresses,
            config: args.web_config.clone().or(file.web_config.clone()),
            metrics_path: path.map(|path| path.0.clone()),
        })
    }
}
