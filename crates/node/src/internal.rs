//! Node's own messages on the channel: told apart and checked.
//!
//! They are the ones whose `cmd` begins with `NODE_`. Bun marks them with a byte 2 before the line and does not wrap those that
//! bring a descriptor; Deno speaks as Node does.

use serde::Deserialize;
use serde_json::Value;

/// What Bun puts before an internal message.
pub const BUN_MARK: u8 = 2;
/// A longer address is none: file systems and resolvers stop far below.
const MAX_ADDRESS: usize = 4096;
/// What is kept of a reason, characters.
const MAX_REASON: usize = 1000;
/// TLS ticket keys take a hundred bytes.
const MAX_DATA: usize = 64 * 1024;

/// Which runtime's framing a child uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Node's, and Deno's.
    #[default]
    Node,
    /// Bun's.
    Bun,
}

/// One internal message.
#[derive(Clone, Debug, PartialEq)]
pub struct Internal {
    /// How it was framed.
    pub dialect: Dialect,
    /// What it says.
    pub kind: Kind,
}

/// What an internal message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The descriptor arrived.
    HandleAck,
    /// The message arrived without its descriptor.
    HandleNack,
    /// The child sends a descriptor along with a message. It sends nothing else until that is acknowledged.
    Handle {
        /// The message.
        message: Value,
    },
    /// A worker's half of the cluster conversation.
    Cluster(FromWorker),
    /// Ours: its main module could not be loaded, and it stays all the same.
    LoadFailed {
        /// Why, in one line.
        reason: String,
    },
    /// Anything else; it means nothing to a parent.
    Other,
}

/// What a cluster worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// It runs.
    Online,
    /// It wants to listen.
    Query(Query),
    /// It listens.
    Listening {
        /// Its running number.
        seq: Option<u64>,
        /// Where, as `address:port:type`.
        address: String,
    },
    /// One of its servers was closed.
    Close {
        /// Its running number.
        seq: Option<u64>,
        /// Our name for that socket.
        key: String,
    },
    /// It is about to disconnect by its own wish, and waits for the answer.
    ExitedAfterDisconnect {
        /// Its running number.
        seq: u64,
    },
    /// The answer to one of ours.
    Reply {
        /// Our number.
        ack: u64,
        /// It took the connection.
        accepted: bool,
    },
    /// Something of a later version.
    Unknown,
}

/// A worker wants to listen.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its running number; the answer repeats it.
    pub seq: u64,
    /// Counts the worker's queries for one address.
    pub index: u64,
    /// Where; `None` if that makes no sense.
    pub address: Option<Address>,
    /// Node's name of the address, the same for the same address.
    pub name: String,
    /// What the first worker says here is told to all (TLS ticket keys).
    pub data: Value,
    /// How many connections may wait, if it said so.
    pub backlog: Option<i32>,
}

/// Where a worker wants to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp {
        /// `None`: all interfaces, IPv6 with IPv4 where that exists.
        host: Option<String>,
        /// 0: any free one.
        port: u16,
        /// Not IPv4 too.
        v6_only: bool,
    },
    /// UDP.
    Udp {
        /// `None`: all interfaces.
        host: Option<String>,
        /// 0: any free one.
        port: u16,
        /// IPv6.
        v6: bool,
        /// Not IPv4 too.
        v6_only: bool,
        /// Others may bind it as well.
        reuse: bool,
    },
    /// A UNIX socket.
    Unix {
        /// Its path.
        path: String,
        /// Everybody may read.
        readable_all: bool,
        /// Everybody may write.
        writable_all: bool,
    },
    /// A descriptor of the parent, by its number.
    Descriptor(u32),
}

impl Address {
    /// Whether the kernel is to choose the port.
    #[must_use]
    pub fn any_port(&self) -> bool {
        matches!(self, Self::Tcp { port: 0, .. } | Self::Udp { port: 0, .. })
    }

    /// Whether workers can only share it: there are no connections that could be handed out.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        matches!(self, Self::Udp { .. })
    }
}

/// The line as an internal message, if its bytes say at once that it is one. The rest is found by [`crate::message::classify`].
pub(crate) fn recognise(line: &[u8]) -> Option<Internal> {
    let (dialect, text) = match line.split_first() {
        Some((&BUN_MARK, rest)) => (Dialect::Bun, rest),
        _ => match line.strip_prefix(b"{\"cmd\":\"NODE_").and_then(<[u8]>::first) {
            Some(next) if *next != b'"' => (Dialect::Node, line),
            _ => return None,
        },
    };
    let kind = serde_json::from_slice::<Raw>(text).map_or(Kind::Other, Raw::into_kind);
    Some(Internal { dialect, kind })
}

/// The value as an internal message; the caller knows that it is one.
pub(crate) fn from_value(value: Value) -> Internal {
    Internal {
        dialect: Dialect::Node,
        kind: serde_json::from_value::<Raw>(value).map_or(Kind::Other, Raw::into_kind),
    }
}

/// Every field that matters to a parent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    cmd: Option<String>,
    act: Option<String>,
    seq: Option<u64>,
    ack: Option<u64>,
    accepted: Option<bool>,
    key: Option<String>,
    index: Option<u64>,
    address: Option<String>,
    port: Option<i64>,
    address_type: Value,
    fd: Option<i64>,
    flags: Option<i64>,
    backlog: Value,
    data: Value,
    readable_all: Option<bool>,
    writable_all: Option<bool>,
    msg: Value,
    reason: Option<String>,
}

impl Raw {
    fn into_kind(self) -> Kind {
        match self.cmd.as_deref() {
            Some("NODE_HANDLE_ACK") => Kind::HandleAck,
            Some("NODE_HANDLE_NACK") => Kind::HandleNack,
            Some("NODE_HANDLE") => Kind::Handle { message: self.msg },
            Some("NODE_CLUSTER") => Kind::Cluster(self.into_cluster()),
            Some("NODE_PM_LOAD_FAILED") => Kind::LoadFailed {
                reason: one_line(&self.reason.unwrap_or_default()),
            },
            _ => Kind::Other,
        }
    }

    fn into_cluster(self) -> FromWorker {
        if let Some(ack) = self.ack {
            return FromWorker::Reply {
                ack,
                accepted: self.accepted == Some(true),
            };
        }
        match (self.act.as_deref(), self.seq) {
            (Some("online"), _) => FromWorker::Online,
            (Some("queryServer"), Some(seq)) => FromWorker::Query(self.into_query(seq)),
            (Some("listening"), seq) => FromWorker::Listening {
                seq,
                address: self.name_of_address(),
            },
            (Some("close"), seq) => FromWorker::Close {
                seq,
                key: self.key.unwrap_or_default(),
            },
            (Some("exitedAfterDisconnect"), Some(seq)) => FromWorker::ExitedAfterDisconnect { seq },
            _ => FromWorker::Unknown,
        }
    }

    fn into_query(self, seq: u64) -> Query {
        let name = self.name_of_address();
        let address = self.address();
        let too_long = self.data != Value::Null && self.data.to_string().len() > MAX_DATA;
        Query {
            seq,
            index: self.index.unwrap_or(0),
            address: if too_long { None } else { address },
            name,
            data: self.data,
            backlog: self
                .backlog
                .as_i64()
                .filter(|n| *n > 0)
                .map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        }
    }

    fn type_text(&self) -> String {
        match &self.address_type {
            Value::String(text) => text.chars().take(8).collect(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        }
    }

    fn name_of_address(&self) -> String {
        let address = self.address.as_deref().unwrap_or("null");
        let address: String = address.chars().take(MAX_ADDRESS).collect();
        let port = self.port.map_or("null".to_owned(), |port| port.to_string());
        let fd = self.fd.filter(|fd| *fd >= 0).map(|fd| fd.to_string());
        format!("{address}:{port}:{}:{}", self.type_text(), fd.unwrap_or_default())
    }

    fn address(&self) -> Option<Address> {
        if let Some(fd) = self.fd.filter(|fd| *fd >= 0) {
            return u32::try_from(fd).ok().map(Address::Descriptor);
        }
        let host = self.address.clone().filter(|host| !host.is_empty());
        if host.as_ref().is_some_and(|host| host.len() > MAX_ADDRESS) {
            return None;
        }
        let flag = |bit: i64| self.flags.unwrap_or(0) & bit != 0;
        let port = || self.port.and_then(|port| u16::try_from(port).ok());
        match self.type_text().as_str() {
            "4" | "6" => Some(Address::Tcp {
                host,
                port: port()?,
                v6_only: flag(1),
            }),
            kind @ ("udp4" | "udp6") => Some(Address::Udp {
                host,
                port: port()?,
                v6: kind == "udp6",
                v6_only: flag(1),
                reuse: flag(4),
            }),
            "-1" => Some(Address::Unix {
                path: host?,
                readable_all: self.readable_all == Some(true),
                writable_all: self.writable_all == Some(true),
            }),
            _ => None,
        }
    }
}

fn one_line(text: &str) -> String {
    let line = text.chars().filter(|c| !c.is_control()).take(MAX_REASON);
    match line.collect::<String>() {
        empty if empty.is_empty() => "an unknown error".to_owned(),
        line => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> FromWorker {
        match recognise(text.as_bytes()).unwrap().kind {
            Kind::Cluster(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn query(fields: &str) -> Query {
        let text =
            format!(r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"seq":1,{fields}}}"#);
        match cluster(&text) {
            FromWorker::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_worker_is_understood() {
        assert_eq!(
            cluster(r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#),
            FromWorker::Online
        );
        assert_eq!(
            cluster(
                r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"address":null,"port":8000,"addressType":4,"seq":2}"#
            ),
            FromWorker::Listening {
                seq: Some(2),
                address: "null:8000:4:".into()
            }
        );
        assert_eq!(
            cluster(r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":true,"seq":3}"#),
            FromWorker::Reply {
                ack: 7,
                accepted: true
            }
        );
        assert_eq!(
            cluster(r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":5}"#),
            FromWorker::ExitedAfterDisconnect { seq: 5 }
        );
    }

    #[test]
    fn every_address_that_node_asks_for() {
        let tcp = query(r#""address":null,"port":8000,"addressType":4,"backlog":0,"flags":1"#);
        assert_eq!((tcp.name.as_str(), tcp.backlog), ("null:8000:4:", None));
        assert_eq!(
            tcp.address,
            Some(Address::Tcp {
                host: None,
                port: 8000,
                v6_only: true
            })
        );
        let udp = query(r#""address":"::","port":53,"addressType":"udp6","fd":-1,"flags":4"#);
        assert_eq!(
            udp.address,
            Some(Address::Udp {
                host: Some("::".into()),
                port: 53,
                v6: true,
                v6_only: false,
                reuse: true
            })
        );
        let unix = query(r#""address":"/a/b","port":-1,"addressType":-1,"readableAll":true"#);
        assert_eq!(
            unix.address,
            Some(Address::Unix {
                path: "/a/b".into(),
                readable_all: true,
                writable_all: false
            })
        );
        let fd = query(r#""address":null,"port":null,"addressType":null,"fd":3"#);
        assert_eq!(
            (fd.address, fd.name.as_str()),
            (Some(Address::Descriptor(3)), "null:null::3")
        );
    }

    #[test]
    fn a_main_module_that_could_not_be_loaded() {
        let reason = |text: &str| match recognise(text.as_bytes()).unwrap().kind {
            Kind::LoadFailed { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(r#"{"cmd":"NODE_PM_LOAD_FAILED","reason":"Error: \u001b[31mno\nmodule"}"#),
            "Error: [31mnomodule"
        );
        assert_eq!(reason(r#"{"cmd":"NODE_PM_LOAD_FAILED"}"#), "an unknown error");
        let long = "x".repeat(5_000);
        let line = format!(r#"{{"cmd":"NODE_PM_LOAD_FAILED","reason":"{long}"}}"#);
        assert_eq!(reason(&line).len(), MAX_REASON);
    }

    #[test]
    fn nonsense_is_no_address() {
        for fields in [
            r#""address":null,"port":70000,"addressType":4"#,
            r#""address":null,"port":-1,"addressType":-1"#,
            r#""address":"x","port":1,"addressType":{}"#,
        ] {
            assert_eq!(query(fields).address, None, "{fields}");
        }
        assert_eq!(
            recognise(br#"{"cmd":"NODE_CLUSTER","seq":-5}"#).unwrap().kind,
            Kind::Other
        );
        assert_eq!(recognise(b"{\"cmd\":\"NODE_CLUSTER\"").unwrap().kind, Kind::Other);
        assert_eq!(recognise(b"\"ready\""), None);
    }

    #[test]
    fn bun_marks_its_messages() {
        let internal = recognise(b"\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}").unwrap();
        assert_eq!(internal.dialect, Dialect::Bun);
        assert_eq!(internal.kind, Kind::Cluster(FromWorker::Online));
    }
}
