//! `monit`: the list, the logs and what can be done about them, full screen.
//!
//! Three parts that know nothing of each other's business: the *model* is what is shown and never does anything
//! ([`model`], [`logs`], [`update`]), the *view* draws it ([`view`]), and the *sources* are threads that ask the daemon, listen to the
//! bus and read the keyboard ([`source`]). Actions on processes are this program's own verbs, run beside.

mod logs;
mod model;
mod source;
mod update;
mod view;

use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use model::Model;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use source::Sources;
use std::io::{self, Stdout, stdin, stdout};
use std::sync::Once;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use update::Effect;

/// Between two drawings. Faster than this nobody sees.
const FRAME: Duration = Duration::from_millis(33);
/// How long more messages are waited for before they are drawn.
const GATHER: Duration = Duration::from_millis(8);
/// The uptimes on the screen grow by themselves.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the user leaves.
pub(crate) fn run(context: &Context<'_>) -> Result<(), Failure> {
    if !os::terminal::is_terminal(stdout()) || !os::terminal::is_terminal(stdin()) {
        return Err(Failure::Error(
            "monit draws on a terminal, and this is none; for scripts there is `jlist`, and `list --watch`"
                .into(),
        ));
    }
    // Starts a daemon where none runs, and says why it can't, while there still is a normal screen to say it on.
    let client = context.client()?;
    context.console.flush();
    let signals = os::signal::SignalFd::new(&[os::signal::SIGTERM, os::signal::SIGHUP])
        .map_err(Failure::file("waiting for signals in", "this process"))?;
    let sources = Sources::start(&context.home, client, signals)
        .map_err(Failure::file("starting the threads of", "monit"))?;
    let mut screen = Screen::open().map_err(Failure::file("drawing on", "the terminal"))?;
    let mut model = Model::new(context.console.brush.on);
    let outcome = turn(&mut screen, &sources, &mut model);
    drop(screen);
    outcome.map_err(Failure::file("drawing on", "the terminal"))
}

fn turn(screen: &mut Screen, sources: &Sources, model: &mut Model) -> io::Result<()> {
    let mut drawn = Instant::now();
    model.now_ms = now_ms();
    screen.draw(model)?;
    loop {
        let mut next = match sources.messages.recv_timeout(IDLE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        model.now_ms = now_ms();
        // What comes within one frame is drawn once; a flood does not keep the screen from being drawn.
        let until = (drawn + FRAME).max(Instant::now() + GATHER);
        while let Some(message) = next {
            for effect in model.update(message) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Suspend => screen.suspend()?,
                    Effect::Tail(wish) => sources.tail(wish),
                    Effect::Run(command) => sources.run(command),
                    Effect::Poll => sources.poll(),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            next = match left.is_zero() {
                true => None,
                false => sources.messages.recv_timeout(left).ok(),
            };
        }
        screen.draw(model)?;
        drawn = Instant::now();
    }
}

/// The terminal in our hands; it is given back however we leave.
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn open() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        enter()?;
        Terminal::new(CrosstermBackend::new(stdout()))
            .map(Screen)
            .inspect_err(|_| give_back())
    }

    fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        self.0.draw(|frame| view::draw(frame, model)).map(|_| ())
    }

    /// Ctrl-Z: the shell comes back, and after `fg` so do we.
    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        enter()?;
        self.0.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableMouseCapture).inspect_err(|_| give_back())
}

/// Nobody is left to be told if this fails: the terminal is gone.
fn give_back() {
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
