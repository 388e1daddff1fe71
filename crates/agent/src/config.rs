//! The settings of a link: `agent.json5` as PM2 writes it, and where each setting comes from.

use crate::identity::{self, FileError};
use crate::ports::{PortSettings, PortsError, StoredPorts};
use crate::proxy::{self, Proxy, ProxyError, Said};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the file in `$PM2_HOME`.
pub const FILE: &str = "agent.json5";
/// Larger files are not a link configuration.
const MAX_BYTES: u64 = 1 << 20;

/// What is needed to link.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// Public key, or the secret one when they were given the wrong way round; the hub tells.
    pub public_key: String,
    /// Secret key, or the public one.
    pub secret_key: String,
    /// Label of this server.
    pub machine_name: String,
    /// Root address of the hub, with scheme and without a slash at its end.
    pub root: String,
    /// Whether the hub may ask for actions.
    pub reverse: bool,
    /// What stands between this host and the hub.
    pub proxy: Option<Proxy>,
    /// Its address as it was given, with the password: for the file alone.
    pub proxy_address: String,
    /// Whether data and commands take ports of their own.
    pub ports: PortSettings,
}

impl std::fmt::Debug for LinkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkSettings")
            .field("public_key", &mask(&self.public_key))
            .field("secret_key", &mask(&self.secret_key))
            .field("machine_name", &self.machine_name)
            .field("root", &self.root)
            .field("reverse", &self.reverse)
            .field("proxy", &self.proxy)
            .field("ports", &self.ports)
            .finish()
    }
}

/// Shows enough of a key to tell two apart, and not more.
pub fn mask(key: &str) -> String {
    let shown: String = if key.chars().count() >= 12 {
        key.chars().take(3).collect()
    } else {
        String::new()
    };
    format!("{shown}********")
}

/// The content of `agent.json5`, in PM2's order of fields. What it does not know is kept as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentFile {
    /// Whether git metadata is reported.
    #[serde(default)]
    pub version_management: VersionManagement,
    /// Public key.
    #[serde(default)]
    pub public_key: String,
    /// Secret key.
    #[serde(default)]
    pub secret_key: String,
    /// Label of this server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine_name: String,
    /// Version of PM2 that wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pm2_version: String,
    /// Whether the hub may ask for actions.
    #[serde(default = "yes")]
    pub reverse_interact: bool,
    /// Root address of the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub info_node: String,
    /// Address of the proxy, with user and password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// Ports of their own for data and commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<StoredPorts>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// See [`AgentFile::version_management`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionManagement {
    /// Whether it is on.
    #[serde(default = "yes")]
    pub active: bool,
}

impl Default for VersionManagement {
    fn default() -> Self {
        Self { active: true }
    }
}

fn yes() -> bool {
    true
}

/// Why `agent.json5` cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what it should be.
    #[error("{path} is not a link configuration ({reason}); link again or remove it")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where it fails; never its content.
        reason: String,
    },
}

/// Path of the file in a home.
pub fn path(home: &Path) -> PathBuf {
    home.join(FILE)
}

/// Reads the file; `None` if there is none, that is: not linked.
pub fn load(home: &Path) -> Result<Option<AgentFile>, ConfigError> {
    let path = path(home);
    let Some(text) = identity::read_small(&path, MAX_BYTES)? else {
        return Ok(None);
    };
    let malformed = |reason: String| ConfigError::Malformed {
        path: path.clone(),
        reason,
    };
    match serde_json::from_str(&text) {
        Ok(file) => Ok(Some(file)),
        // People edit it, and PM2 reads JSON5. The parser's own message could quote a key, so only the place is told.
        Err(strict) => json5::from_str(&text)
            .map(Some)
            .map_err(|_| malformed(format!("line {}, column {}", strict.line(), strict.column()))),
    }
}

/// Writes the file for its owner alone, in one step.
pub fn save(home: &Path, file: &AgentFile) -> Result<(), ConfigError> {
    let mut text = Vec::new();
    let pretty = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, pretty);
    let path = path(home);
    file.serialize(&mut serializer)
        .map_err(|e| ConfigError::Malformed {
            path: path.clone(),
            reason: e.to_string(),
        })?;
    Ok(identity::write_private(&path, &text)?)
}

/// Removes the file; no file is no error.
pub fn delete(home: &Path) -> Result<(), ConfigError> {
    let path = path(home);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(FileError {
            path,
            doing: "removing",
            source: e,
        }
        .into()),
        _ => Ok(()),
    }
}

/// When the file was last written, milliseconds since the epoch; 0 if it is not there.
pub fn linked_at(home: &Path) -> u64 {
    std::fs::metadata(path(home))
        .and_then(|m| m.modified())
        .ok()
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
}

/// Where a setting came from; the CLI says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An environment variable, by its name.
    Env(&'static str),
    /// The command line.
    Argument,
    /// `agent.json5`.
    Saved,
    /// The name of the host.
    Hostname,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Argument => f.write_str("command line"),
            Self::Saved => f.write_str("saved configuration"),
            Self::Hostname => f.write_str("host name"),
        }
    }
}

/// What was typed after `link`, in the order it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkArgs {
    /// First key: by PM2's grammar the secret one.
    pub secret: Option<String>,
    /// Second key: by PM2's grammar the public one.
    pub public: Option<String>,
    /// Name of the server.
    pub name: Option<String>,
    /// Address of the hub.
    pub info_node: Option<String>,
}

/// Settings, and where each came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The settings.
    pub settings: LinkSettings,
    /// Of the public key.
    pub public_from: Origin,
    /// Of the secret key.
    pub secret_from: Origin,
    /// Of the name.
    pub name_from: Origin,
    /// Of the address.
    pub root_from: Origin,
    /// Of the proxy, if there is one.
    pub proxy_from: Option<Origin>,
}

/// Something needed is nowhere to be found.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// No public key.
    #[error("no public key: use `link <secret_key> <public_key> [name] --info-node <hub address>`")]
    NoPublicKey,
    /// No secret key.
    #[error("no secret key: use `link <secret_key> <public_key> [name] --info-node <hub address>`")]
    NoSecretKey,
    /// No hub.
    #[error("no hub address: pass `--info-node <address>` or set KEYMETRICS_NODE")]
    NoHub,
    /// A key that cannot be one.
    #[error("the {0} key must be printable ASCII without spaces")]
    BadKey(&'static str),
    /// An address that cannot be one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A proxy that cannot be one.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// Ports that cannot be.
    #[error(transparent)]
    Ports(#[from] PortsError),
}

/// The address of the hub makes no sense.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("hub address `{0}` is not understood: give it as https://host[:port][/path]")]
pub struct AddressError(pub String);

/// Finds each setting: environment, then command line, then file; for the name at last the host's.
pub fn resolve(
    env: impl Fn(&str) -> Option<String>,
    args: &LinkArgs,
    file: Option<&AgentFile>,
    hostname: &str,
) -> Result<Resolved, ResolveError> {
    let from_env = |names: &[&'static str]| {
        names.iter().copied().find_map(|name| {
            env(name)
                .filter(|v| !v.is_empty())
                .map(|v| (v, Origin::Env(name)))
        })
    };
    let typed = |arg: &Option<String>| {
        arg.clone()
            .filter(|v| !v.is_empty())
            .map(|v| (v, Origin::Argument))
    };
    let saved = |get: fn(&AgentFile) -> &String| {
        file.map(get)
            .filter(|v| !v.is_empty())
            .map(|v| (v.clone(), Origin::Saved))
    };
    let (public_key, public_from) = from_env(&["PM2_PUBLIC_KEY", "KEYMETRICS_PUBLIC"])
        .or_else(|| typed(&args.public))
        .or_else(|| saved(|f| &f.public_key))
        .ok_or(ResolveError::NoPublicKey)?;
    let (secret_key, secret_from) = from_env(&["PM2_SECRET_KEY", "KEYMETRICS_SECRET"])
        .or_else(|| typed(&args.secret))
        .or_else(|| saved(|f| &f.secret_key))
        .ok_or(ResolveError::NoSecretKey)?;
    for (what, key) in [("public", &public_key), ("secret", &secret_key)] {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ResolveError::BadKey(what));
        }
    }
    let (machine_name, name_from) = from_env(&["PM2_MACHINE_NAME", "INSTANCE_NAME"])
        .or_else(|| typed(&args.name))
        .or_else(|| saved(|f| &f.machine_name))
        .or_else(|| {
            env("HOSTNAME")
                .filter(|v| !v.is_empty())
                .map(|v| (v, Origin::Hostname))
        })
        .unwrap_or_else(|| (hostname.to_owned(), Origin::Hostname));
    let (root, root_from) = from_env(&["KEYMETRICS_NODE"])
        .or_else(|| typed(&args.info_node))
        .or_else(|| saved(|f| &f.info_node))
        .ok_or(ResolveError::NoHub)?;
    let reverse = match env("PM2_REVERSE_INTERACT").as_deref() {
        Some("false" | "0") => false,
        Some("true" | "1") => true,
        _ => file.is_none_or(|f| f.reverse_interact),
    };
    let root = normal_root(&root)?;
    let (proxy_address, proxy_from) = match proxy::from_environment(&env, &root) {
        Said::By(address, name) => (address, Some(Origin::Env(name))),
        Said::Direct => (String::new(), None),
        Said::Nothing => match saved(|f| &f.proxy) {
            Some((address, from)) => (address, Some(from)),
            None => (String::new(), None),
        },
    };
    let proxy = match proxy_from {
        None => None,
        Some(Origin::Env(name)) => Some(Proxy::parse(&proxy_address, name)?),
        Some(_) => Some(Proxy::parse(&proxy_address, "the saved proxy")?),
    };
    let same_root = file.is_some_and(|file| normal_root(&file.info_node).as_ref() == Ok(&root));
    let ports = match PortSettings::from_environment(&env)? {
        Some(ports) => ports,
        None => PortSettings::from_stored(file.and_then(|file| file.ports.as_ref()), same_root),
    };
    let settings = LinkSettings {
        public_key,
        secret_key,
        machine_name,
        root,
        reverse,
        proxy,
        proxy_address,
        ports,
    };
    Ok(Resolved {
        settings,
        public_from,
        secret_from,
        name_from,
        root_from,
        proxy_from,
    })
}

/// The address with a scheme and without a slash at its end.
pub fn normal_root(address: &str) -> Result<String, AddressError> {
    let wrong = || AddressError(address.to_owned());
    let address = address.trim();
    let address = if address.contains("://") {
        address.to_owned()
    } else {
        format!("https://{address}")
    };
    websocket_url(&address).map_err(|_| wrong())?;
    Ok(address.trim_end_matches('/').to_owned())
}

/// The address of the link's socket under a root.
pub fn websocket_url(root: &str) -> Result<String, AddressError> {
    socket_url(root, wire::PATH)
}

/// The address of a socket under a root.
pub fn socket_url(root: &str, path: &str) -> Result<String, AddressError> {
    let wrong = || AddressError(root.to_owned());
    let (scheme, rest) = root.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(wrong()),
    };
    let url = format!("{scheme}://{}{path}", rest.trim_end_matches('/'));
    let uri: tokio_tungstenite::tungstenite::http::Uri = url.parse().map_err(|_| wrong())?;
    // User and password in an address end up in logs; the keys are the credentials.
    let plain = uri
        .authority()
        .is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty());
    if plain && uri.query().is_none() {
        Ok(url)
    } else {
        Err(wrong())
    }
}

/// The file that goes with settings; unknown fields of an older one are kept.
pub fn to_file(settings: &LinkSettings, pm2_version: &str, before: Option<AgentFile>) -> AgentFile {
    AgentFile {
        public_key: settings.public_key.clone(),
        secret_key: settings.secret_key.clone(),
        machine_name: settings.machine_name.clone(),
        pm2_version: pm2_version.to_owned(),
        reverse_interact: settings.reverse,
        info_node: settings.root.clone(),
        proxy: settings.proxy_address.clone(),
        ports: settings.ports.to_stored(),
        ..before.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
