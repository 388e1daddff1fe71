//! Which of the hub's addresses a request came in by, and what agents are told of them. Pure.
//!
//! By default everything goes by one port. A hub can have two more, for networks that tell data from commands by their ports:
//! agents of ours then bring their data to the one and fetch commands from the other, and what a firewall does to the one it
//! does not do to the other. PM2's agents have but one socket, which takes the first port; the others are named to them as
//! their protocol has it.

use std::net::SocketAddr;

use crate::options::SeparatePorts;

/// By which address a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The one for everything, and for everybody.
    Main,
    /// The one for data of agents.
    Push,
    /// The one from which agents fetch commands.
    Reverse,
}

/// The addresses that a hub listens on.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    separate: Option<Separate>,
}

#[derive(Clone, Debug)]
struct Separate {
    main: u16,
    push: Extra,
    reverse: Extra,
}

#[derive(Clone, Debug)]
struct Extra {
    port: u16,
    url: Option<String>,
}

/// Root addresses of the two further ports, as an agent is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For data.
    pub push: String,
    /// For commands.
    pub reverse: String,
}

impl Ports {
    /// What is listened on: everything, and data and commands besides.
    pub fn separate(
        main: SocketAddr,
        push: SocketAddr,
        reverse: SocketAddr,
        options: &SeparatePorts,
    ) -> Self {
        let extra = |address: SocketAddr, url: &Option<String>| Extra {
            port: address.port(),
            url: url.clone(),
        };
        Self {
            separate: Some(Separate {
                main: main.port(),
                push: extra(push, &options.push.url),
                reverse: extra(reverse, &options.reverse.url),
            }),
        }
    }

    /// What an agent is told that calls this hub `origin`; `None` if all goes by one port.
    ///
    /// The hub itself speaks no TLS: whoever comes by `https` is told only addresses that its operator gave, so that keys
    /// that were sent sealed are never asked for in the clear.
    pub fn told(&self, origin: &str) -> Option<Told> {
        let separate = self.separate.as_ref()?;
        let url = |extra: &Extra| match &extra.url {
            Some(url) => Some(url.clone()),
            None if origin.starts_with("http://") => Some(with_port(origin, extra.port)),
            None => None,
        };
        Some(Told {
            push: url(&separate.push)?,
            reverse: url(&separate.reverse)?,
        })
    }

    /// The root of the hub for one who came by another door, under `origin`.
    pub fn root(&self, origin: String, door: Door) -> String {
        match &self.separate {
            Some(separate) if door != Door::Main => with_port(&origin, separate.main),
            _ => origin,
        }
    }
}

/// The same host on another port.
fn with_port(origin: &str, port: u16) -> String {
    let (scheme, place) = origin.split_once("://").unwrap_or(("http", origin));
    let host = match place.rsplit_once(':') {
        // An IPv6 address has colons of its own, inside its brackets.
        Some((host, port)) if !port.contains(']') => host,
        _ => place,
    };
    format!("{scheme}://{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ExtraPort;

    fn ports(push: Option<&str>, reverse: Option<&str>) -> Ports {
        let extra = |url: Option<&str>| ExtraPort {
            listen: String::new(),
            url: url.map(str::to_owned),
        };
        let options = SeparatePorts {
            push: extra(push),
            reverse: extra(reverse),
        };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ports::separate(at(8484), at(80), at(43_554), &options)
    }

    #[test]
    fn agents_are_told_the_name_that_they_use_with_the_other_ports() {
        let told = |ports: &Ports, origin| ports.told(origin).map(|told| (told.push, told.reverse));
        let both = |push: &str, reverse: &str| Some((push.to_owned(), reverse.to_owned()));
        let here = ports(None, None);
        assert_eq!(
            told(&here, "http://hub:8484"),
            both("http://hub:80", "http://hub:43554")
        );
        assert_eq!(
            told(&here, "http://[::1]"),
            both("http://[::1]:80", "http://[::1]:43554")
        );
        assert_eq!(told(&here, "https://hub"), None, "never from TLS into the clear");
        let named = ports(Some("https://push.hub"), Some("https://back.hub"));
        assert_eq!(
            told(&named, "https://hub"),
            both("https://push.hub", "https://back.hub")
        );
        assert_eq!(told(&Ports::default(), "http://hub:8484"), None);
    }

    #[test]
    fn who_came_by_another_door_is_shown_the_way_to_the_first() {
        let here = ports(None, None);
        assert_eq!(here.root("http://hub:80".into(), Door::Push), "http://hub:8484");
        assert_eq!(here.root("http://hub".into(), Door::Reverse), "http://hub:8484");
        assert_eq!(here.root("http://hub:1".into(), Door::Main), "http://hub:1");
    }
}
