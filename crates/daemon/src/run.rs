//! The loop.

use std::fs::File;
use std::future::pending;
use std::io::Write;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::DaemonOptions;
use crate::boot::{BootError, Booted, boot};
use crate::clock;
use crate::event::Event;
use crate::owner::Daemon;

/// One thing that came out of the `select!`.
enum Turn {
    Task(Event),
    Keeper(Result<keeper::protocol::Event, keeper::client::ClientError>),
    Pump(logs::Event),
    Agent(Option<agent::Request>),
    Signal(i32),
    Talkative,
    Time,
}

impl Turn {
    /// What it is called in a profile.
    fn name(&self, daemon: &Daemon) -> String {
        match self {
            Turn::Task(event) => daemon.name_of(event),
            Turn::Keeper(_) => "news of the keeper".into(),
            Turn::Pump(_) => "output of apps".into(),
            Turn::Agent(_) => "agent".into(),
            Turn::Signal(_) => "signal".into(),
            Turn::Talkative => "messages of those that say much".into(),
            Turn::Time => "time".into(),
        }
    }
}

/// Be the daemon of a home until it is told to end. Call it from `main`, before any other thread exists. What goes wrong is told on
/// standard error, which is the daemon's log.
#[must_use]
pub fn run(options: DaemonOptions) -> ExitCode {
    let title = std::env::var("PM2_DAEMON_TITLE")
        .ok()
        .filter(|title| !title.is_empty())
        .unwrap_or_else(|| {
            format!(
                "PM2 v{}: God Daemon ({})",
                pm2::COMPAT_VERSION,
                options.home.root.display()
            )
        });
    os::memory::be_thrifty();
    // Both are comfort: without them the daemon works all the same.
    let _ = os::process::set_title(&title);
    let _ = os::process::raise_descriptor_limit();
    match try_run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "PM2 error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(mut options: DaemonOptions) -> Result<(), BootError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(BootError::Runtime)?;
    let ready = options.ready.take();
    runtime.block_on(async {
        let signals = Signals::new().map_err(BootError::Runtime)?;
        let booted = boot(options).await?;
        if let Some(ready) = ready {
            // Whoever started us may have gone; then nobody waits.
            let _ = File::from(ready).write_all(b"1");
        }
        own(booted, signals).await
    })
}

async fn own(booted: Booted, mut signals: Signals) -> Result<(), BootError> {
    let Booted {
        mut daemon,
        mut events,
        mut pump,
    } = booted;
    while !daemon.has_ended() {
        let wake = daemon.next_wake();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep(clock::until(at)).await,
                None => pending().await,
            }
        };
        let has_backlog = !daemon.talkative.is_empty();
        let turn = tokio::select! {
            Some(event) = events.recv() => Turn::Task(event),
            event = daemon.keeper.next() => Turn::Keeper(event),
            Some(event) = pump.next() => Turn::Pump(event),
            request = daemon.agent.next_request() => Turn::Agent(request),
            signal = signals.next() => Turn::Signal(signal),
            () = std::future::ready(()), if has_backlog => Turn::Talkative,
            () = timer => Turn::Time,
        };
        if !matches!(turn, Turn::Time) {
            daemon.rest.disturb(clock::mono());
        }
        let recorded = daemon.turn_begins(|daemon| turn.name(daemon));
        match turn {
            Turn::Task(event) => daemon.on_event(event),
            Turn::Keeper(Ok(event)) => daemon.on_keeper(event),
            Turn::Keeper(Err(error)) => daemon.replace_keeper(&error)?,
            Turn::Pump(event) => daemon.on_pump(event),
            Turn::Agent(request) => daemon.on_agent(request),
            Turn::Signal(os::signal::SIGUSR2) => daemon.reload_logs(),
            Turn::Signal(number) => daemon.end_by_signal(number),
            Turn::Talkative => hear_next(&mut daemon),
            Turn::Time => daemon.on_time(),
        }
        daemon.settle();
        daemon.turn_ended(recorded);
    }
    Ok(())
}

/// Give the next of those that had more to say its turn.
fn hear_next(daemon: &mut Daemon) {
    if let Some(incarnation) = daemon.talkative.pop_front() {
        daemon.read_channel(incarnation);
    }
}

/// The signals that mean something. SIGHUP is taken and passed over.
struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    usr2: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            usr2: signal(SignalKind::user_defined2())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Cancel-safe.
    async fn next(&mut self) -> i32 {
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => return os::signal::SIGTERM,
                Some(()) = self.int.recv() => return os::signal::SIGINT,
                Some(()) = self.quit.recv() => return os::signal::SIGQUIT,
                Some(()) = self.usr2.recv() => return os::signal::SIGUSR2,
                Some(()) = self.hup.recv() => {}
            }
        }
    }
}
