//! A stream to the hub: names, TCP, and the proxy in between if there is one.

use crate::proxy::{Proxy, Scheme};
use base64::Engine as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What TCP may take: by then its first three tries are out.
const CONNECT_TIME: Duration = Duration::from_secs(4);
/// What a proxy may take for its answer.
const PROXY_TIME: Duration = Duration::from_secs(8);
/// Longest head of a proxy's answer.
const MAX_HEAD: usize = 8 << 10;

/// Bytes both ways, whatever carries them.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream to the hub.
pub(super) struct Line {
    pub(super) io: Box<dyn Io>,
    /// The address of this host on it.
    pub(super) local_ip: Option<IpAddr>,
}

/// Opens a stream to `host_port`; an error is a sentence for people.
pub(super) async fn dial(
    host_port: &str,
    proxy: Option<&Proxy>,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Line, String> {
    let Some(proxy) = proxy else {
        let tcp = connect(host_port).await?;
        return Ok(Line {
            local_ip: tcp.local_addr().ok().map(|a| a.ip()),
            io: Box::new(tcp),
        });
    };
    let tcp = connect(&place_of(proxy))
        .await
        .map_err(|e| format!("the proxy {proxy}: {e}"))?;
    let local_ip = tcp.local_addr().ok().map(|a| a.ip());
    let through = tokio::time::timeout(PROXY_TIME, pass(tcp, proxy, host_port, tls));
    let io = match through.await {
        Ok(Ok(io)) => io,
        Ok(Err(why)) => return Err(format!("reaching {host_port} by the proxy {proxy}: {why}")),
        Err(_) => {
            let seconds = PROXY_TIME.as_secs();
            return Err(format!("the proxy {proxy} did not answer within {seconds} s"));
        }
    };
    Ok(Line { io, local_ip })
}

/// `host:port` of a proxy.
pub(super) fn place_of(proxy: &Proxy) -> String {
    match proxy.host.contains(':') {
        true => format!("[{}]:{}", proxy.host, proxy.port),
        false => format!("{}:{}", proxy.host, proxy.port),
    }
}

/// The addresses behind a name.
pub(super) async fn look_up(host_port: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host(host_port).await?.collect())
}

async fn connect(host_port: &str) -> Result<TcpStream, String> {
    let addresses = look_up(host_port)
        .await
        .map_err(|e| format!("looking up {host_port}: {e}"))?;
    let connecting = TcpStream::connect(addresses.as_slice());
    let tcp = tokio::time::timeout(CONNECT_TIME, connecting)
        .await
        .map_err(|_| {
            let seconds = CONNECT_TIME.as_secs();
            format!("connecting to {host_port}: no answer within {seconds} s; a firewall may drop it")
        })?
        .map_err(|e| format!("connecting to {host_port}: {e}"))?;
    // Live updates are small and each is wanted at once.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

/// Through a proxy that was connected to.
pub(super) async fn pass(
    tcp: TcpStream,
    proxy: &Proxy,
    host_port: &str,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Box<dyn Io>, String> {
    let login = proxy
        .login
        .as_ref()
        .map(|(user, password)| (user.as_str(), password.as_str()));
    match proxy.scheme {
        Scheme::Http => {
            let mut io = tcp;
            tunnel(&mut io, login, host_port).await?;
            Ok(Box::new(io))
        }
        Scheme::Https => {
            let name =
                rustls::pki_types::ServerName::try_from(proxy.host.clone()).map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(tls.clone());
            let mut io = connector
                .connect(name, tcp)
                .await
                .map_err(|e| format!("TLS: {e}"))?;
            tunnel(&mut io, login, host_port).await?;
            Ok(Box::new(io))
        }
        Scheme::Socks5 => {
            let opened = match login {
                Some((user, password)) => {
                    tokio_socks::tcp::Socks5Stream::connect_with_password_and_socket(
                        tcp, host_port, user, password,
                    )
                    .await
                }
                None => tokio_socks::tcp::Socks5Stream::connect_with_socket(tcp, host_port).await,
            };
            Ok(Box::new(opened.map_err(|e| e.to_string())?.into_inner()))
        }
        Scheme::Socks4 => {
            let opened = match login {
                Some((user, _)) => {
                    tokio_socks::tcp::Socks4Stream::connect_with_userid_and_socket(tcp, host_port, user).await
                }
                None => tokio_socks::tcp::Socks4Stream::connect_with_socket(tcp, host_port).await,
            };
            Ok(Box::new(opened.map_err(|e| e.to_string())?.into_inner()))
        }
    }
}

/// Asks for a tunnel. The answer is read byte by byte, so that nothing behind its head is taken away.
async fn tunnel(
    io: &mut (impl Io + ?Sized),
    login: Option<(&str, &str)>,
    host_port: &str,
) -> Result<(), String> {
    let mut ask = format!("CONNECT {host_port} HTTP/1.1\r\nHost: {host_port}\r\n");
    if let Some((user, password)) = login {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        ask.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
    }
    ask.push_str("\r\n");
    io.write_all(ask.as_bytes()).await.map_err(|e| e.to_string())?;
    io.flush().await.map_err(|e| e.to_string())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err("its answer is too long".to_owned());
        }
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Err("it closed the connection".to_owned()),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(()),
        "407" if login.is_some() => Err("it does not accept this user and password".to_owned()),
        "407" => Err("it asks for a user and a password".to_owned()),
        other => Err(format!("it answered {}", crate::redact::clip(other, 20))),
    }
}
