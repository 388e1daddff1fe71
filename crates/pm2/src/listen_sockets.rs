//! Sockets that are bound for an app before it starts, as users write them: the attribute [`SECTION`], a list of addresses such as
//! `"8080"`, `"tcp:127.0.0.1:8080"`, `"udp:5353"`, `"unix:/run/app.sock"`, or of objects with the address as `listen` and further settings.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::{Object, js};

/// The attribute of an app.
pub const SECTION: &str = "sockets";
/// More than this for one app is a mistake.
const MAX_SOCKETS: usize = 32;
/// Connections that may wait, if nothing was said.
const BACKLOG: i32 = 511;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSocket {
    /// What the app finds it by, in `LISTEN_FDNAMES`.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
    /// Connections that may wait.
    pub backlog: i32,
    /// Other programs that say the same may bind the port as well.
    pub reuse_port: bool,
    /// Handed over in blocking mode.
    pub blocking: bool,
    /// Permissions of a UNIX socket.
    pub mode: Option<u32>,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; without an address on all interfaces.
    Tcp(Option<IpAddr>, u16),
    /// UDP; without an address on all interfaces.
    Udp(Option<IpAddr>, u16),
    /// A UNIX socket; relative to the app's working directory.
    Unix(String),
}

impl ListenSocket {
    /// Text that is the same for sockets that are the same.
    pub fn key(&self) -> String {
        let place = |host: &Option<IpAddr>, port: &u16| match host {
            Some(host) => SocketAddr::new(*host, *port).to_string(),
            None => format!("*:{port}"),
        };
        let address = match &self.address {
            ListenAddress::Tcp(host, port) => format!("tcp:{}", place(host, port)),
            ListenAddress::Udp(host, port) => format!("udp:{}", place(host, port)),
            ListenAddress::Unix(path) => format!("unix:{path}"),
        };
        if self.reuse_port {
            format!("{address} shared")
        } else {
            address
        }
    }
}

/// What a value of the attribute means.
pub fn parse(value: &Value) -> Result<Vec<ListenSocket>, String> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list.as_slice(),
        _ => return Err("sockets: a list of addresses, such as [\"tcp:127.0.0.1:8080\"]".into()),
    };
    if list.len() > MAX_SOCKETS {
        return Err(format!(
            "sockets: {} are too many, at most {MAX_SOCKETS}",
            list.len()
        ));
    }
    let mut sockets: Vec<ListenSocket> = Vec::new();
    for (index, element) in list.iter().enumerate() {
        let socket = one(element, index).map_err(|reason| format!("sockets[{index}]: {reason}"))?;
        if sockets.iter().any(|other| other.key() == socket.key()) {
            return Err(format!("sockets[{index}]: {} is there already", socket.key()));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

fn one(element: &Value, index: usize) -> Result<ListenSocket, String> {
    let empty = Object::new();
    let (listen, settings) = match element {
        Value::String(_) | Value::Number(_) => (element, &empty),
        Value::Object(map) => (map.get("listen").ok_or("`listen` is missing")?, map),
        _ => return Err("neither an address nor an object with `listen`".into()),
    };
    let mut socket = ListenSocket {
        name: format!("socket{index}"),
        address: address(&js::to_text(listen))?,
        backlog: BACKLOG,
        reuse_port: false,
        blocking: false,
        mode: None,
    };
    for (key, value) in settings {
        match (key.as_str(), value) {
            ("listen", _) => {}
            ("name", Value::String(name)) if is_name(name) => socket.name.clone_from(name),
            ("name", _) => return Err("name: letters, digits, `-`, `_` and `.`, at most 64".into()),
            ("backlog", Value::Number(number)) => {
                socket.backlog = number
                    .as_i64()
                    .and_then(|number| i32::try_from(number).ok())
                    .filter(|number| *number > 0)
                    .ok_or("backlog: a number above 0")?;
            }
            ("reuse_port", Value::Bool(on)) => socket.reuse_port = *on,
            ("blocking", Value::Bool(on)) => socket.blocking = *on,
            ("mode", Value::String(mode)) => {
                let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777);
                socket.mode = Some(mode.ok_or("mode: permissions in octal, such as \"0660\"")?);
            }
            _ => return Err(format!("{key}: not a setting of a socket, or not of its kind")),
        }
    }
    if socket.reuse_port && matches!(socket.address, ListenAddress::Unix(_)) {
        return Err("reuse_port is for ports".into());
    }
    Ok(socket)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn address(text: &str) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() || path.contains('\0') {
            Err("unix: a path is missing".into())
        } else {
            Ok(ListenAddress::Unix(path.to_owned()))
        };
    }
    if let Some(place) = text.strip_prefix("udp:") {
        let (host, port) = place_of(place)?;
        return Ok(ListenAddress::Udp(host, port));
    }
    let (host, port) = place_of(text.strip_prefix("tcp:").unwrap_or(text))?;
    Ok(ListenAddress::Tcp(host, port))
}

fn place_of(text: &str) -> Result<(Option<IpAddr>, u16), String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err("port 0: name the port, clients have to know it".into()),
            port => Ok((Some(address.ip()), port)),
        };
    }
    match text.trim_start_matches("*:").parse::<u16>() {
        Ok(port) if port > 0 => Ok((None, port)),
        _ => Err(format!(
            "{text:?} is no address: tcp:<ip>:<port>, udp:<ip>:<port>, <port> or unix:<path>"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_write_one() {
        let sockets = parse(
            &json!([8080, "tcp:127.0.0.1:81", "udp:[::1]:53", "unix:run/a.sock",
            { "listen": "*:443", "name": "https", "backlog": 9, "reuse_port": true, "blocking": true },
            { "listen": "unix:/b", "mode": "0660" }]),
        )
        .unwrap();
        let keys: Vec<_> = sockets.iter().map(ListenSocket::key).collect();
        assert_eq!(
            keys,
            [
                "tcp:*:8080",
                "tcp:127.0.0.1:81",
                "udp:[::1]:53",
                "unix:run/a.sock",
                "tcp:*:443 shared",
                "unix:/b"
            ]
        );
        assert_eq!(
            (sockets[0].name.as_str(), sockets[4].name.as_str()),
            ("socket0", "https")
        );
        assert_eq!(
            (sockets[4].backlog, sockets[4].blocking, sockets[5].mode),
            (9, true, Some(0o660))
        );
        assert_eq!(parse(&Value::Null), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (value, part) in [
            (json!("8080"), "a list"),
            (
                json!(["tcp:localhost:80"]),
                "sockets[0]: \"localhost:80\" is no address",
            ),
            (json!([0]), "is no address"),
            (json!(["127.0.0.1:0"]), "port 0"),
            (json!([1, 1]), "sockets[1]: tcp:*:1 is there already"),
            (json!([true]), "neither"),
            (json!([{}]), "`listen` is missing"),
            (json!([{ "listen": 1, "name": "a:b" }]), "name:"),
            (json!([{ "listen": 1, "backlog": 0 }]), "backlog:"),
            (json!([{ "listen": "unix:/a", "mode": "rw" }]), "mode:"),
            (json!([{ "listen": "unix:/a", "reuse_port": true }]), "for ports"),
            (json!([{ "listen": 1, "speed": 5 }]), "speed:"),
            (json!(["unix:"]), "a path is missing"),
            (Value::Array(vec![json!(1); 40]), "too many"),
        ] {
            let error = parse(&value).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
    }
}
