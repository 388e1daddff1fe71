//! Who asks, where a proxy stands in front of the hub: it says so in `X-Forwarded-For`, and is believed if the operator named it.
//! Pure.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::HeaderMap;

/// Addresses whose word on where a request came from counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// One address, or those that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count.
    bits: u32,
}

/// The text is no address and no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address (10.0.0.7) and no network (10.0.0.0/8)")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| wrong())?,
            None => all,
        };
        if bits > all {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let rest = u32::MAX.checked_shr(self.bits).unwrap_or(0);
                u32::from(own) | rest == u32::from(other) | rest
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let rest = u128::MAX.checked_shr(self.bits).unwrap_or(0);
                u128::from(own) | rest == u128::from(other) | rest
            }
            _ => false,
        }
    }
}

impl FromIterator<Network> for Proxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Proxies {
    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// Where a request came from that `peer` brought. Each proxy adds whom it heard it from at the end of the list; what stands
    /// before the first that is not known is anybody's word.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let told = headers.get_all("x-forwarded-for");
        let told: Vec<&str> = told.iter().filter_map(|value| value.to_str().ok()).collect();
        for one in told.iter().rev().flat_map(|list| list.rsplit(',')) {
            if !self.has(client) {
                break;
            }
            match address(one.trim()) {
                Some(before) => client = before.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// An address; some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    plain
        .unwrap_or(text)
        .parse()
        .ok()
        .or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.has(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.has(outside.parse().unwrap()), "{network:?} {outside}");
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.0/-1", "::/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_proxies_that_were_named_are_believed() {
        let proxies: Proxies = ["127.0.0.1", "10.0.0.0/8"]
            .map(|n| n.parse().unwrap())
            .into_iter()
            .collect();
        let client = |peer: &str, told: &[&str]| {
            let mut headers = HeaderMap::new();
            for one in told {
                headers.append("x-forwarded-for", one.parse().unwrap());
            }
            proxies.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("::ffff:127.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            client("192.0.2.9", &["192.0.2.1"]),
            "192.0.2.9",
            "anybody can say that"
        );
        assert_eq!(client("127.0.0.1", &["6.6.6.6, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            client("127.0.0.1", &["6.6.6.6, 192.0.2.1, 10.1.1.1"]),
            "192.0.2.1"
        );
        assert_eq!(
            client("127.0.0.1", &["6.6.6.6", "192.0.2.1", "10.1.1.1"]),
            "192.0.2.1"
        );
        assert_eq!(client("127.0.0.1", &["192.0.2.1, nonsense"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(
            Proxies::default()
                .client("127.0.0.1".parse().unwrap(), &HeaderMap::new())
                .to_string(),
            "127.0.0.1"
        );
    }
}
