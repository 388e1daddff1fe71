//! Which of the addresses that an agent connects to cannot be reached from here, each tried for itself.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// What one address may take; they are tried at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Those of the places, `host:port`, that take no connection, each with the reason.
pub(super) fn unreachable(places: &[String]) -> Vec<String> {
    std::thread::scope(|scope| {
        let tries: Vec<_> = places
            .iter()
            .map(|place| (place, scope.spawn(move || connect(place))))
            .collect();
        tries
            .into_iter()
            .filter_map(|(place, tried)| match tried.join() {
                Ok(Err(reason)) => Some(format!("{place}: {reason}")),
                Ok(Ok(())) | Err(_) => None,
            })
            .collect()
    })
}

fn connect(place: &str) -> Result<(), String> {
    let addresses = place
        .to_socket_addrs()
        .map_err(|e| format!("looking it up: {e}"))?;
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                last = format!(
                    "no answer within {} s; a firewall may drop it",
                    PATIENCE.as_secs()
                );
            }
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_reached_is_named() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let [open, shut] = [&open, &closed].map(|listener| listener.local_addr().unwrap().to_string());
        drop(closed);
        let named = unreachable(&[open, shut.clone(), "no port".to_owned()]);
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named[0].starts_with(&format!("{shut}: ")), "{named:?}");
        assert!(named[1].starts_with("no port: looking it up: "), "{named:?}");
    }
}
