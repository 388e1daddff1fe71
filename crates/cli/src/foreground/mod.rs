//! A manager in the foreground: the daemon and its apps live as long as this command does, and what they write comes out here.
//!
//! The daemon is the same as ever, under the same keeper; this command is its audience. As the first process of a container it also
//! collects the dead that nobody else waits for.

mod dev;
mod runtime;
mod stream;
mod web;

pub(crate) use dev::dev;
pub(crate) use runtime::runtime;
pub(crate) use stream::Form;

use crate::client::{Bus, Client, Heard};
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::verbs::kill::ended;
use jiff::tz::TimeZone;
use os::signal::{SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SignalFd};
use pm2::bus::Message;
use pm2::dates::Pattern;
use pm2::rpc::method;
use serde_json::json;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};
use stream::{Out, lines};

/// When it is looked for the first time whether any app is left, and how often from then on.
const FIRST_LOOK: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_secs(2);
/// So many times in a row there must be none.
const RETRIES: u32 = 3;
/// What an audience of nobody ends with.
const NOTHING_RUNS: u8 = 2;
/// Without anything to do, the daemon's presence is looked at this often.
const IDLE: Duration = Duration::from_secs(5);
/// How long the last words of apps are waited for at the end, beyond their kill timeouts.
const LAST_WORDS: Duration = Duration::from_secs(600);
/// Messages shown before they are handed to the kernel.
const BATCH: usize = 256;

/// Called for each message, before it is shown.
pub(crate) type OnMessage<'f> = Box<dyn FnMut(&Message) + 'f>;

/// This command as the place where a manager runs.
pub(crate) struct Foreground<'f> {
    context: &'f Context<'f>,
    signals: SignalFd,
    bus: Bus,
    form: Form,
    zone: TimeZone,
    on_message: Option<OnMessage<'f>>,
}

/// Why the loop has ended.
enum End {
    /// A signal asks for it.
    Signal,
    /// No app has been running for some time.
    NothingRuns,
    /// The manager was ended by another command.
    Gone,
}

impl<'f> Foreground<'f> {
    /// Starts the daemon if there is none, and listens. From here on signals end it in an orderly way.
    pub(crate) fn begin(context: &'f Context<'f>, form: Form) -> Result<(Foreground<'f>, Client), Failure> {
        let signals = SignalFd::new(&[SIGINT, SIGTERM, SIGQUIT, SIGCHLD])
            .map_err(Failure::file("waiting for signals in", "this process"))?;
        let client = context.client()?;
        let path = &context.home.pub_sock;
        let bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
        let foreground = Foreground {
            context,
            signals,
            bus,
            form,
            zone: TimeZone::system(),
            on_message: None,
        };
        Ok((foreground, client))
    }

    /// Looks at each message too.
    pub(crate) fn watch(&mut self, on_message: OnMessage<'f>) {
        self.on_message = Some(on_message);
    }

    /// Streams until a signal comes, or, where `auto_exit` is asked for, until nothing runs any more; then ends everything.
    /// Gives the exit code.
    pub(crate) fn run(mut self, auto_exit: bool) -> u8 {
        match self.stream(auto_exit) {
            End::Gone => 0,
            End::Signal => self.end(0),
            End::NothingRuns => self.end(NOTHING_RUNS),
        }
    }

    fn stream(&mut self, auto_exit: bool) -> End {
        let mut look_at = auto_exit.then(|| Instant::now() + FIRST_LOOK);
        let mut retries = RETRIES;
        let mut shown = 0;
        loop {
            // What is there already is shown first, and all at once.
            let patience = match look_at {
                _ if shown > 0 => Duration::ZERO,
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => IDLE,
            };
            match self.bus.hear(self.signals.as_fd(), patience) {
                Heard::Message(message) => {
                    self.show(&message);
                    shown += 1;
                }
                Heard::Other if self.take_signals() => return End::Signal,
                Heard::Other | Heard::Nothing => shown = 0,
                Heard::Lost if self.is_gone() => return End::Gone,
                Heard::Lost => {}
            }
            if shown == 0 || shown >= BATCH {
                self.context.console.flush();
                shown = 0;
            }
            if let Some(at) = look_at
                && Instant::now() >= at
            {
                look_at = Some(Instant::now() + LOOK);
                if self.something_runs() {
                    retries = RETRIES;
                    continue;
                }
                self.say(&format!("0 application online, retry = {retries}"));
                match retries.checked_sub(1) {
                    Some(left) => retries = left,
                    None => return End::NothingRuns,
                }
            }
        }
    }

    /// Collects the dead. `true`: a signal asks for the end.
    fn take_signals(&self) -> bool {
        let mut end = false;
        while let Ok(Some(signal)) = self.signals.next() {
            if signal == SIGCHLD {
                // Nothing of it is wanted; one signal may stand for many.
                while matches!(os::wait::reap_any(), Ok(Some(_))) {}
            } else {
                end = true;
            }
        }
        end
    }

    /// An app is up, coming up, or waits to be started again.
    fn something_runs(&self) -> bool {
        let list = Client::connect(&self.context.home)
            .map_err(Failure::from)
            .and_then(|mut client| client.table_list());
        let alive = |status: &str| matches!(status, "online" | "launching" | "waiting restart");
        list.is_ok_and(|list| list.iter().any(|p| !p.is_module() && alive(p.status())))
    }

    /// Neither daemon nor keeper is left: one that merely died is back in a moment.
    fn is_gone(&self) -> bool {
        let home = &self.context.home;
        Client::connect(home).is_err()
            && matches!(os::lock::FileLock::try_exclusive(&home.keeper_lock), Ok(Some(_)))
    }

    /// Stops all apps, shows their last words, and waits until nothing is left.
    pub(crate) fn end(&mut self, code: u8) -> u8 {
        let context = self.context;
        let daemon = std::fs::read_to_string(&context.home.pid_file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let asked = Client::connect(&context.home)
            .map_err(Failure::from)
            .and_then(|mut client| {
                client.tell(method::NOTIFY_KILL_PM2, &(pm2::Object::new(),))?;
                // It would answer by a signal to whom it is told; the end of the bus tells as well.
                client.tell(method::KILL_ME, &(json!({ "pid": 0 }),))?;
                Ok(client)
            });
        match asked {
            Ok(_client) => {
                let deadline = Instant::now() + LAST_WORDS;
                while Instant::now() < deadline {
                    match self.bus.hear(self.signals.as_fd(), LOOK) {
                        Heard::Message(message) => self.show(&message),
                        Heard::Other => {
                            // It is ending already.
                            self.take_signals();
                        }
                        Heard::Nothing => context.console.flush(),
                        Heard::Lost => break,
                    }
                }
            }
            Err(failure) => {
                failure.report(context.console);
            }
        }
        context.console.flush();
        if !ended(context, daemon) {
            context.console.warn("the daemon has not ended");
        }
        code
    }

    fn show(&mut self, message: &Message) {
        if let Some(on_message) = &mut self.on_message {
            on_message(message);
        }
        let console = self.context.console;
        for (out, line) in lines(self.form, message, console.brush, &self.zone, now_ms) {
            match out {
                Out::Plain => console.put(line),
                Out::Error => console.put_err(line),
            }
        }
    }

    /// A line as the daemon's own come out here.
    fn say(&self, text: &str) {
        let date = Pattern::new("YYYY-MM-DDTHH:mm:ss").format(now_ms(), &self.zone);
        self.context
            .console
            .put(format_args!("{date}: PM2 log: {text}\n"));
        self.context.console.flush();
    }
}

/// `--no-daemon` behind any verb: what it started stays, and is streamed.
pub(crate) fn stay(context: &Context<'_>) -> Result<u8, Failure> {
    context
        .console
        .info("[--no-daemon] Logs follow; ctrl-c ends everything");
    let (foreground, _client) = Foreground::begin(context, Form::Stamped)?;
    Ok(foreground.run(false))
}
