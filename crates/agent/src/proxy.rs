//! Which proxy stands between this host and the hub. Pure.
//!
//! `PM2_PROXY` goes first, as PM2's agent has it; then what other programs know: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`. It is found out at `link` and stored with the link, because the daemon's environment is that of whoever
//! started it, long ago.

use thiserror::Error;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `CONNECT` in clear.
    Http,
    /// `CONNECT` inside TLS.
    Https,
    /// SOCKS 4, with names looked up there (4a).
    Socks4,
    /// SOCKS 5, with names looked up there.
    Socks5,
}

/// A proxy. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password, if it asks for them.
    pub login: Option<(String, String)>,
}

/// An address that is none of a proxy. The address is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "{0} is not understood: give it as http://, https://, socks4:// or socks5://[user:password@]host:port"
)]
pub struct ProxyError(pub &'static str);

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Socks4 => "socks4",
            Scheme::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Proxy {
    /// Reads an address; `from` says where it came from, for the error.
    pub fn parse(address: &str, from: &'static str) -> Result<Self, ProxyError> {
        let wrong = ProxyError(from);
        let (scheme, rest) = address
            .trim()
            .split_once("://")
            .unwrap_or(("http", address.trim()));
        let (scheme, default) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks4" | "socks4a" => (Scheme::Socks4, 1080),
            "socks" | "socks5" | "socks5h" => (Scheme::Socks5, 1080),
            _ => return Err(wrong),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (Some((decoded(user), decoded(password))), place)
            }
        };
        let (host, port) = match place.rsplit_once(':') {
            // An IPv6 address has colons of its own, inside its brackets.
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong)?),
            _ => (place, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong);
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            login,
        })
    }
}

/// `%40` for `@` and the like: how a password with such characters is written in an address.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What an environment says about the way to `root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// Explicitly none.
    Direct,
    /// By this address, which came from that variable.
    By(String, &'static str),
}

/// Finds what the environment says about the way to the hub at `root`.
pub fn from_environment(env: impl Fn(&str) -> Option<String>, root: &str) -> Said {
    match env("PM2_PROXY").as_deref().map(str::trim) {
        Some("" | "none" | "direct") => return Said::Direct,
        Some(address) => return Said::By(address.to_owned(), "PM2_PROXY"),
        None => {}
    }
    let secure = !root.starts_with("http://");
    let names: &[&'static str] = if secure {
        &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let found = names
        .iter()
        .find_map(|name| env(name).filter(|v| !v.trim().is_empty()).map(|v| (v, *name)));
    match found {
        None => Said::Nothing,
        Some(_)
            if is_exempt(
                &host_of(root),
                &env("NO_PROXY").or_else(|| env("no_proxy")).unwrap_or_default(),
            ) =>
        {
            Said::Direct
        }
        Some((address, name)) => Said::By(address, name),
    }
}

fn host_of(root: &str) -> String {
    let rest = root.split_once("://").map_or(root, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    let host = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => place,
    };
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase()
}

/// `NO_PROXY`: names, their domains with or without a dot before, or `*`.
fn is_exempt(host: &str, list: &str) -> bool {
    list.split([',', ' '])
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || host.ends_with(&format!(".{domain}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Proxy, ProxyError> {
        Proxy::parse(text, "PM2_PROXY")
    }

    #[test]
    fn addresses() {
        let proxy = parse("http://user:p%40ss:word@proxy.example:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.login, Some(("user".into(), "p@ss:word".into())));
        assert!(
            !format!("{proxy:?} {proxy}").contains("word"),
            "no password is shown"
        );
        for (text, scheme, port) in [
            ("proxy:8080", Scheme::Http, 8080),
            ("https://proxy", Scheme::Https, 443),
            ("socks4://proxy", Scheme::Socks4, 1080),
            ("socks5h://proxy:9", Scheme::Socks5, 9),
            ("SOCKS://proxy", Scheme::Socks5, 1080),
        ] {
            let proxy = parse(text).unwrap();
            assert_eq!((proxy.scheme, proxy.port), (scheme, port), "{text}");
        }
        assert_eq!(parse("http://[::1]:3128").unwrap().host, "::1");
        assert_eq!(parse("http://[::1]").unwrap().port, 80);
        for text in ["", "ftp://x", "http://", "http://x:port", "http://a b:1"] {
            let error = parse(text).unwrap_err();
            assert!(
                error.to_string().starts_with("PM2_PROXY is not understood"),
                "{text}"
            );
        }
    }

    fn said(vars: &[(&str, &str)], root: &str) -> Said {
        let env = |name: &str| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        from_environment(env, root)
    }

    #[test]
    fn variables() {
        let (hub, plain) = ("https://hub.example.org/base", "http://10.0.0.1:8080");
        assert_eq!(said(&[], hub), Said::Nothing);
        let both = [("PM2_PROXY", "socks5://a"), ("HTTPS_PROXY", "http://b")];
        assert_eq!(said(&both, hub), Said::By("socks5://a".into(), "PM2_PROXY"));
        assert_eq!(
            said(&[("PM2_PROXY", "none"), ("HTTPS_PROXY", "http://b")], hub),
            Said::Direct
        );
        assert_eq!(
            said(&[("HTTPS_PROXY", "http://b")], hub),
            Said::By("http://b".into(), "HTTPS_PROXY")
        );
        assert_eq!(said(&[("HTTPS_PROXY", "http://b")], plain), Said::Nothing);
        assert_eq!(
            said(&[("http_proxy", "http://b")], plain),
            Said::By("http://b".into(), "http_proxy")
        );
        for list in [
            "*",
            "example.org",
            ".example.org",
            "x, hub.example.org",
            "*.example.org",
        ] {
            let vars = [("ALL_PROXY", "http://b"), ("NO_PROXY", list)];
            assert_eq!(said(&vars, hub), Said::Direct, "{list}");
        }
        let other = [("ALL_PROXY", "http://b"), ("no_proxy", "ample.org,org.example")];
        assert_eq!(said(&other, hub), Said::By("http://b".into(), "ALL_PROXY"));
    }

    proptest::proptest! {
        #[test]
        fn no_address_makes_it_panic(text in ".{0,80}") {
            let _ = parse(&text);
            let _ = said(&[("ALL_PROXY", &text), ("NO_PROXY", &text)], &text);
        }
    }
}
