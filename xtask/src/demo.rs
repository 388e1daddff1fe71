//! `make run`: a hub on loopback, two sample apps under a private home, linked; ends with Ctrl-C.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::steps::{build_binary, root};
use crate::web;

const HUB_PORT: u16 = 8800;
const APP_PORT: u16 = 3000;
const EMAIL: &str = "you@example.com";

/// Everything that must end when the demo ends.
struct Demo {
    binary: PathBuf,
    home: PathBuf,
    hub: Option<Child>,
}

/// Builds, starts, links, prints where to look, and waits for Ctrl-C.
pub(crate) fn run(rest: &[String]) -> Result<()> {
    let release = !rest.iter().any(|a| a == "--debug");
    println!("Building the dashboard and the binary (the first time takes some minutes)");
    web::build()?;
    let binary = build_binary(release)?;
    let place = root().join("target/demo");
    let home = place.join("home");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;

    let (ended, end) = mpsc::channel();
    on_interrupt(ended.clone())?;
    let mut demo = Demo {
        binary,
        home,
        hub: None,
    };
    let outcome = demo.start(&place, ended).and_then(|hub_gone| {
        if end.recv().is_ok_and(|why| why == End::Hub) {
            bail!("the hub ended by itself: {hub_gone}")
        }
        Ok(())
    });
    println!("\nEnding the apps, the daemon and the hub");
    demo.end();
    outcome
}

#[derive(PartialEq, Eq)]
enum End {
    Asked,
    Hub,
}

impl Demo {
    fn start(&mut self, place: &Path, ended: mpsc::Sender<End>) -> Result<String> {
        let hub_port = free_port(HUB_PORT, "the hub")?;
        let app_port = free_port(APP_PORT, "the sample web app")?;
        let password = password();
        let facts = self.start_hub(place, hub_port, &password, ended.clone())?;
        let text = |key: &str| {
            facts[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("the hub told no {key}"))
        };
        let (url, public, secret) = (text("url")?, text("public_key")?, text("secret_key")?);

        let apps = root().join("samples/ecosystem.config.js");
        self.manager(&["start", &apps.display().to_string()])
            .env("PORT", app_port.to_string())
            .status()
            .context("starting the sample apps")?;
        let linked = self
            .manager(&["link", &secret, &public, "demo", "--info-node", &url])
            .status()
            .context("linking the daemon to the hub")?;
        if !linked.success() {
            bail!(
                "the daemon could not be linked to the hub; see {}",
                self.home.join("agent.log").display()
            );
        }

        let bin = self.binary.display();
        let home = self.home.display();
        println!(
            "
  Dashboard   {url}
  Login       {EMAIL}
  Password    {password}
  Sample app  http://127.0.0.1:{app_port}/

  To try next, in another terminal:
    export PM2_HOME={home}
    {bin} list
    {bin} logs web
    {bin} restart worker

  Ctrl-C ends all of it."
        );
        Ok(format!("see {}", place.join("hub.log").display()))
    }

    fn start_hub(
        &mut self,
        place: &Path,
        port: u16,
        password: &str,
        ended: mpsc::Sender<End>,
    ) -> Result<Value> {
        let data = place.join("hub");
        // A fresh hub each time: the password that is printed is the one that works.
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| format!("emptying {}", data.display()))?;
        }
        let log = std::fs::File::create(place.join("hub.log")).context("opening the hub's log")?;
        let mut child = Command::new(&self.binary)
            .args(["hub", "--data"])
            .arg(&data)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--json"])
            .env("PILOTHOUSE_OWNER_EMAIL", EMAIL)
            .env("PILOTHOUSE_OWNER_PASSWORD", password)
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting the hub")?;
        let stdout = child.stdout.take().context("the hub's output")?;
        self.hub = Some(child);
        let mut lines = BufReader::new(stdout).lines();
        let first = lines
            .next()
            .context("the hub ended before it was ready; see target/demo/hub.log")??;
        std::thread::spawn(move || {
            for _ in lines.map_while(Result::ok) {}
            let _ = ended.send(End::Hub);
        });
        serde_json::from_str(&first).with_context(|| format!("reading the hub's start line {first:?}"))
    }

    /// A verb of the process manager under the demo's home, away from the terminal's signals.
    fn manager(&self, args: &[&str]) -> Command {
        let mut cmd = Command::new(&self.binary);
        cmd.args(args).env("PM2_HOME", &self.home).process_group(0);
        cmd
    }

    fn end(&mut self) {
        let _ = self.manager(&["kill"]).stdout(Stdio::null()).status();
        if let Some(mut hub) = self.hub.take() {
            let _ = Command::new("kill")
                .args(["-TERM", &hub.id().to_string()])
                .status();
            let _ = hub.wait();
        }
    }
}

/// The wished port, or the next free one, said aloud.
fn free_port(wished: u16, whose: &str) -> Result<u16> {
    let port = (wished..wished.saturating_add(100))
        .find(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, *p)).is_ok())
        .with_context(|| format!("no free port from {wished} on for {whose}"))?;
    if port != wished {
        println!("Port {wished} is taken: {whose} uses {port}");
    }
    Ok(port)
}

/// A password for this run, from the kernel's random numbers.
fn password() -> String {
    use std::io::Read;
    let mut bytes = [0u8; 9];
    if let Ok(mut file) = std::fs::File::open("/dev/urandom") {
        let _ = file.read_exact(&mut bytes);
    }
    bytes
        .iter()
        .map(|b| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[usize::from(*b) % 32]))
        .collect()
}

/// Tells `ended` once Ctrl-C, or a polite termination, is asked for.
fn on_interrupt(ended: mpsc::Sender<End>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening for Ctrl-C")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = ended.send(End::Asked);
        }
    });
    Ok(())
}
