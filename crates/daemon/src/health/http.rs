//! One GET request; only the status line of the answer is read.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A status line longer than this is none.
const LONGEST_LINE: usize = 1024;

/// `Ok` for 2xx and 3xx.
pub(super) async fn get(host: &str, port: u16, path: &str) -> Result<(), String> {
    let url = format!("http://{host}:{port}{path}");
    let wrong = |what: &str| format!("asking {url}: {what}");
    let failed = |error: std::io::Error| wrong(&error.to_string());
    let mut stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: pilothouse/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut line = Vec::new();
    let mut piece = [0; 256];
    while !line.contains(&b'\n') {
        let n = stream.read(&mut piece).await.map_err(failed)?;
        line.extend_from_slice(&piece[..n]);
        if n == 0 || line.len() > LONGEST_LINE {
            return Err(wrong("the answer has no status line"));
        }
    }
    match status(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(wrong(&format!("status {status}"))),
        None => Err(wrong("the answer is not HTTP")),
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
