//! Looks at the health of processes: each is a task of its own with a time limit, and its answer an event.

mod command;
mod http;

use std::sync::Arc;
use std::time::Duration;

use pm2::env::{HealthShown, Pm2Env};
use pm2::health::{Check, HealthCheck};
use supervisor::{Health, Incarnation, Input, ProcId};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use self::command::CommandLook;
use crate::event::Event;
use crate::journal::Level;
use crate::owner::Daemon;

/// Looks under way at once, over all processes. One that gets no room in its time has failed.
const LOOKS: usize = 64;
/// What is kept of a reason.
const REASON: usize = 300;

/// Room for looks.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKS))
}

/// What is looked at, with everything that it takes.
#[derive(Debug)]
enum Look {
    Http { host: String, port: u16, path: String },
    Tcp { host: String, port: u16 },
    Command(CommandLook),
}

impl Look {
    fn of(env: &Pm2Env, check: Check) -> Result<Self, String> {
        let port_of = |port: Option<u16>| {
            let own = || env.int("PORT").and_then(|port| u16::try_from(port).ok());
            port.or_else(own).filter(|port| *port > 0).ok_or_else(|| {
                "its health check names no port, and the process has no variable PORT".to_owned()
            })
        };
        Ok(match check {
            Check::Http { host, port, path } => Self::Http {
                host,
                port: port_of(port)?,
                path,
            },
            Check::Tcp { host, port } => Self::Tcp {
                host,
                port: port_of(port)?,
            },
            Check::Command(line) => Self::Command(CommandLook::of(env, line)?),
        })
    }

    async fn run(self) -> Result<(), String> {
        match self {
            Self::Http { host, port, path } => http::get(&host, port, &path).await,
            Self::Tcp { host, port } => match TcpStream::connect((host.as_str(), port)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("connecting to {host}:{port}: {error}")),
            },
            Self::Command(look) => look.run().await,
        }
    }
}

/// Runs a look in its time, if there is room for it.
async fn look_in_time(look: Look, limit: Duration, room: Arc<Semaphore>) -> Result<(), String> {
    let work = async {
        let Ok(_permit) = room.acquire().await else {
            return Ok(());
        };
        look.run().await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(seen) => seen,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

impl Daemon {
    /// Carry out [`supervisor::Effect::Probe`].
    pub(crate) fn probe(&mut self, id: ProcId, incarnation: Incarnation, round: u32) {
        let Some(app) = self.apps.get(&id) else { return };
        let Some(HealthCheck { rules, check }) = app.env.health() else {
            return;
        };
        let look = Look::of(&app.env, check);
        let (events, room) = (self.events.clone(), Arc::clone(&self.looks));
        tokio::spawn(async move {
            let seen = match look {
                Ok(look) => look_in_time(look, rules.timeout, room).await,
                Err(reason) => Err(reason),
            };
            let event = Event::Probed {
                id,
                incarnation,
                round,
                seen,
            };
            // The loop has ended: nobody wants to know.
            let _ = events.send(event).await;
        });
    }

    /// A look is over.
    pub(crate) fn on_probed(
        &mut self,
        id: ProcId,
        incarnation: Incarnation,
        round: u32,
        seen: Result<(), String>,
    ) {
        let good = seen.is_ok();
        let present = self.sup.view(id).and_then(|view| view.incarnation) == Some(incarnation);
        if let Some(app) = self.apps.get_mut(&id)
            && present
        {
            app.ailment = seen.err().map(|reason| reason.chars().take(REASON).collect());
        }
        self.handle(Input::Probed {
            id,
            incarnation,
            round,
            good,
        });
    }

    /// The verdict on a process has changed.
    pub(crate) fn health_changed(&mut self, id: ProcId, health: Health) {
        let Some(app) = self.apps.get(&id) else { return };
        let label = format!("{}:{}", app.env.name(), id.0);
        let reason = app.ailment.as_deref().unwrap_or("its check did not answer");
        let (level, text) = match health {
            Health::Unhealthy => (Level::Error, format!("App [{label}] is unhealthy: {reason}")),
            Health::Healthy | Health::Starting => (Level::Log, format!("App [{label}] is healthy")),
        };
        let shown = app.env.clone();
        self.say(level, &text);
        self.publish_entry(pm2::env::health_text(health), false, &shown);
    }

    /// What lists show of the health of a process.
    pub(crate) fn shown_health(&self, id: ProcId) -> Option<HealthShown<'_>> {
        let (health, failures) = self.sup.view(id)?.health?;
        Some(HealthShown {
            status: pm2::env::health_text(health),
            failures,
            reason: self.apps.get(&id)?.ailment.as_deref(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn env(value: serde_json::Value) -> Pm2Env {
        match value {
            serde_json::Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    async fn seen(env: &Pm2Env, limit: Duration) -> Result<(), String> {
        let check = env.health().expect("a check").check;
        look_in_time(Look::of(env, check)?, limit, room()).await
    }

    const LONG: Duration = Duration::from_secs(20);

    /// A server that answers one connection with these bytes; its port.
    async fn answers(bytes: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let _ = peer.read(&mut [0; 1000]).await;
            let _ = peer.write_all(bytes).await;
            // Held open: the status line alone must do.
            let _ = peer.read(&mut [0; 1000]).await;
        });
        port
    }

    #[tokio::test]
    async fn http_status_decides() {
        for (bytes, good) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], true),
            (b"HTTP/1.0 301 Moved\r\n", true),
            (b"HTTP/1.1 503 Busy\r\n\r\n", false),
            (b"SSH-2.0-OpenSSH_9.6\r\n", false),
            (b"HTTP/1.1 2x0 OK\r\n", false),
        ] {
            let port = answers(bytes).await;
            let env = env(json!({ "PORT": port.to_string(), "health": { "http": "/live" } }));
            assert_eq!(seen(&env, LONG).await.is_ok(), good, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn tcp_and_its_failures() {
        let port = answers(b"").await;
        let open = env(json!({ "health": { "tcp": port } }));
        assert_eq!(seen(&open, LONG).await, Ok(()));
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let reason = seen(&env(json!({ "health": { "tcp": closed } })), LONG).await;
        assert!(reason.unwrap_err().contains("connecting to 127.0.0.1"));
        let nowhere = env(json!({ "health": { "http": "/live" } }));
        assert!(seen(&nowhere, LONG).await.unwrap_err().contains("PORT"));
    }

    #[tokio::test]
    async fn silence_is_cut_short() {
        let port = answers(b"HTTP/1.1 200").await;
        let env = env(json!({ "health": { "http": format!(":{port}/") } }));
        assert!(
            seen(&env, Duration::from_millis(50))
                .await
                .unwrap_err()
                .contains("50ms")
        );
    }

    #[tokio::test]
    async fn a_command_runs_with_the_process_variables_and_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let at = |line: &str| {
            env(json!({
                "pm_cwd": dir.path(), "PATH": std::env::var("PATH").unwrap(), "GREETING": "hello",
                "health": { "command": line },
            }))
        };
        assert_eq!(
            seen(&at("test \"$GREETING\" = hello && touch seen"), LONG).await,
            Ok(())
        );
        assert!(dir.path().join("seen").exists());
        let failed = seen(&at("echo the disk is full >&2; exit 3"), LONG)
            .await
            .unwrap_err();
        assert!(
            failed.contains("code 3") && failed.contains("the disk is full"),
            "{failed}"
        );
        let slow = at("sleep 1000 & echo $! > child; wait");
        let late = seen(&slow, Duration::from_millis(500)).await;
        assert!(late.is_err());
        let child: u32 = std::fs::read_to_string(dir.path().join("child"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let gone = async {
            while os::process::exists(child) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, gone)
            .await
            .expect("the child was ended");
    }
}
