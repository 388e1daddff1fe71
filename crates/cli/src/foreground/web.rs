//! `--web`: host and processes as JSON over HTTP, for whoever asks `GET /`.
//!
//! A thread of this command answers, one caller after another: it is asked once in a while, by a person or a probe. Variables of the apps
//! are left out, since anybody who reaches the port may ask.

use crate::client::Client;
use crate::context::{Context, var};
use crate::failure::Failure;
use pm2::home::Home;
use pm2::rpc::method;
use serde_json::{Value, json};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PORT: u16 = 9615;
/// From all sides, as in a container it must be.
const ADDRESS: &str = "0.0.0.0";
/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;
/// A caller that is slower than this is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens, if it is asked for, until this command ends.
pub(super) fn serve_if_asked(context: &Context<'_>) -> Result<(), Failure> {
    if !context.typed.on("web") {
        return Ok(());
    }
    let port = match context
        .typed
        .text("web")
        .map(str::to_owned)
        .or_else(|| var("PM2_WEB_PORT"))
    {
        None => var("PM2_API_PORT")
            .and_then(|port| port.parse().ok())
            .unwrap_or(PORT),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Error(format!("--web {text}: say a port, a number from 0 to 65535")))?,
    };
    let address = var("PM2_API_IPADDR").unwrap_or_else(|| ADDRESS.to_owned());
    let place = format!("{address}:{port}");
    let listener =
        TcpListener::bind((address.as_str(), port)).map_err(Failure::file("listening on", &place))?;
    let place = listener.local_addr().map_or(place, |at| at.to_string());
    context
        .console
        .complain(format_args!("[PM2] Web interface listening on {place}"));
    let home = context.home.clone();
    let keep_variables = var("PM2_WEB_STRIP_ENV_VARS").is_some_and(|value| value == "false");
    std::thread::Builder::new()
        .name("web".into())
        .spawn(move || {
            for caller in listener.incoming().flatten() {
                // One that went away, or was too slow, is nobody's trouble.
                let _ = answer(caller, &home, keep_variables);
            }
        })
        .map_err(Failure::file("starting", "a thread"))?;
    Ok(())
}

fn answer(mut caller: TcpStream, home: &Home, keep_variables: bool) -> io::Result<()> {
    caller.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut caller)?;
    let (status, body) = match route(&head) {
        Route::All => match everything(home, keep_variables) {
            Ok(all) => ("200 OK", all),
            Err(failure) => ("503 Service Unavailable", json!({ "err": failure.to_string() })),
        },
        Route::Nowhere => ("404 Not Found", json!({ "err": "404" })),
        Route::Otherwise => ("405 Method Not Allowed", json!({ "err": "405" })),
        Route::Nonsense => ("400 Bad Request", json!({ "err": "400" })),
    };
    let body = body.to_string();
    write!(
        caller,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET\r\n\r\n",
        body.len()
    )?;
    if !head.starts_with(b"HEAD ") {
        caller.write_all(body.as_bytes())?;
    }
    caller.flush()
}

/// The head of a request, or as much of it as may be.
fn head(caller: &mut TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        caller.set_read_timeout(Some(left))?;
        match caller.read(&mut part)? {
            0 => break,
            n => head.extend_from_slice(&part[..n]),
        }
    }
    Ok(head)
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    All,
    Nowhere,
    Otherwise,
    Nonsense,
}

fn route(head: &[u8]) -> Route {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else {
        return Route::Nonsense;
    };
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
            match target.split(['?', '#']).next() {
                Some("/") => Route::All,
                _ => Route::Nowhere,
            }
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/1.") => Route::Otherwise,
        _ => Route::Nonsense,
    }
}

fn everything(home: &Home, keep_variables: bool) -> Result<Value, Failure> {
    let mut client = Client::connect(home)?;
    let mut processes = client.ask(method::GET_MONITOR_DATA, &(pm2::Object::new(),))?;
    if !keep_variables {
        processes
            .as_array_mut()
            .into_iter()
            .flatten()
            .for_each(without_variables);
    }
    let host = os::host::Host::read();
    let memory = os::host::memory().unwrap_or_default();
    let cpu = vec![json!({ "model": host.cpu_model }); host.cpus];
    let interfaces: pm2::Object = os::devices::interfaces()
        .unwrap_or_default()
        .into_iter()
        .map(|one| {
            let counted = json!({ "received_bytes": one.received_bytes, "sent_bytes": one.sent_bytes });
            (one.name, counted)
        })
        .collect();
    Ok(json!({
        "system_info": { "hostname": host.hostname, "uptime": os::host::uptime_seconds() },
        "monit": {
            "loadavg": os::host::load_average(),
            "total_mem": memory.total_bytes,
            "free_mem": memory.available_bytes,
            "cpu": cpu,
            "interfaces": interfaces,
        },
        "processes": processes,
    }))
}

/// They stand in `env`, and once more among the attributes.
fn without_variables(process: &mut Value) {
    let Some(pm2_env) = process.get_mut("pm2_env").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::Object(env)) = pm2_env.shift_remove("env") {
        for name in env.keys() {
            pm2_env.shift_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", Route::All),
            ("GET /?x=1 HTTP/1.0\r\n\r\n", Route::All),
            ("HEAD / HTTP/1.1\r\n\r\n", Route::All),
            ("GET /env HTTP/1.1\r\n\r\n", Route::Nowhere),
            ("POST / HTTP/1.1\r\n\r\n", Route::Otherwise),
            ("GET /\r\n\r\n", Route::Nonsense),
            ("", Route::Nonsense),
            ("\u{16}\u{3}\u{1}", Route::Nonsense),
        ] {
            assert_eq!(route(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn variables_are_left_out_in_both_places() {
        let mut process =
            json!({ "pm2_env": { "SECRET": "x", "status": "online", "env": { "SECRET": "x" } } });
        without_variables(&mut process);
        assert_eq!(process, json!({ "pm2_env": { "status": "online" } }));
    }
}
