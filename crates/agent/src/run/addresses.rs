//! Where connections go: one address for everything, and two more where ports are separate.

use super::socket::{Address, host_port};
use crate::config::{AddressError, LinkSettings, socket_url};
use crate::ports::Way;
use std::sync::Arc;
use wire::MachineId;

/// The addresses of a link.
pub(super) struct Addresses {
    main: Address,
    /// For data and for commands.
    separate: Option<(Address, Address)>,
}

impl Addresses {
    pub(super) fn new(
        settings: &LinkSettings,
        machine: MachineId,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Self, AddressError> {
        let address = |root: &str, path: &str| {
            let url = socket_url(root, path)?;
            Ok::<_, AddressError>(Address {
                host_port: host_port(&url),
                url,
                proxy: settings.proxy.clone(),
                tls: tls.clone(),
                authorization: format!("Bearer {}.{}", settings.public_key, settings.secret_key),
                machine: machine.to_string(),
                user_agent: format!("Pilothouse agent {}", env!("CARGO_PKG_VERSION")),
            })
        };
        let separate = match &settings.ports.separate {
            None => None,
            Some(ports) => Some((
                address(&ports.push, wire::PATH)?,
                address(&ports.reverse, wire::REVERSE_PATH)?,
            )),
        };
        Ok(Self {
            main: address(&settings.root, wire::PATH)?,
            separate,
        })
    }

    /// Where the link goes by this way.
    pub(super) fn of(&self, way: Way) -> &Address {
        match (way, &self.separate) {
            (Way::Push, Some((push, _))) => push,
            _ => &self.main,
        }
    }

    /// Where commands are fetched, if not with the data.
    pub(super) fn reverse(&self) -> Option<&Address> {
        self.separate.as_ref().map(|(_, reverse)| reverse)
    }

    /// `host:port` of each, or of what stands before them.
    pub(super) fn places(&self) -> Vec<String> {
        let mut places: Vec<String> = Vec::new();
        let further = self.separate.iter().flat_map(|(push, reverse)| [push, reverse]);
        for address in std::iter::once(&self.main).chain(further) {
            let place = address.first_stop();
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}
