//! The log pump's thread, seen from the owner loop.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logs::{Attach, Event, Format, Passage, Pump, Rotation, Side, Stamp, StreamId, Times};
use pm2::dates::Pattern;
use pm2::env::{LogFormat, Pm2Env};
use supervisor::{Incarnation, ProcId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::clock;
use crate::journal::Level;
use crate::keeper_link::KeeperLink;
use crate::lines::Line;
use crate::owner::{Daemon, process_ref};

/// Bytes of text on the way from the pump to the loop.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// What the keeper stores the pump's passage under.
pub(crate) const PASSAGE: &str = "logs/passage";

/// The way to the pump.
#[derive(Debug)]
pub(crate) struct LogPump {
    pump: Pump,
    /// Copies of the passage, for a new keeper. None: there is no passage.
    passage: Vec<OwnedFd>,
    listening: bool,
}

/// The way back. Text that does not fit is refused, and counted by the pump; the other news are few and always fit.
#[derive(Debug)]
pub(crate) struct PumpNews {
    events: UnboundedReceiver<Event>,
    queued: Arc<AtomicUsize>,
}

impl LogPump {
    /// Starts the pump. `stored` is the passage that a former daemon left with the keeper.
    pub(crate) fn start(
        times: PathBuf,
        stored: Option<Vec<OwnedFd>>,
        keeper: &mut KeeperLink,
    ) -> Result<(Self, PumpNews), logs::Error> {
        // Without one floods are slower, and that is all.
        let (passage, copies) = passage(stored, keeper).map_or((None, Vec::new()), |(p, c)| (Some(p), c));
        let (sender, events) = unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let budget = Arc::clone(&queued);
        let pump = Pump::start(Some(Times::new(times)), passage, move |event| {
            if let Event::Chunk(chunk) = &event {
                let len = chunk.text.len();
                if budget.load(Ordering::Relaxed) + len > MAX_TEXT {
                    return false;
                }
                budget.fetch_add(len, Ordering::Relaxed);
            }
            sender.send(event).is_ok()
        })?;
        Ok((
            Self {
                pump,
                passage: copies,
                listening: false,
            },
            PumpNews { events, queued },
        ))
    }

    /// Give the passage to a new keeper.
    pub(crate) fn hand_over(&self, keeper: &mut KeeperLink) -> io::Result<()> {
        if self.passage.is_empty() {
            return Ok(());
        }
        let copies: io::Result<_> = self.passage.iter().map(os::fd::duplicate).collect();
        keeper.put(PASSAGE, copies?)
    }

    /// The output of all lives that were taken over is being carried.
    pub(crate) fn all_attached(&self) {
        self.pump.all_attached();
    }

    /// Carry the output of a life to the files of its entry.
    pub(crate) fn attach(
        &self,
        incarnation: Incarnation,
        side: Side,
        pipe: OwnedFd,
        env: &Pm2Env,
        id: ProcId,
        rotation: Option<Rotation>,
    ) {
        let own = match side {
            Side::Out => env.out_log(),
            Side::Err => env.err_log(),
        };
        let files = [env.combined_log(), own]
            .into_iter()
            .flatten()
            .map(PathBuf::from)
            .collect();
        let format = match env.log_format() {
            LogFormat::Raw => Format::Raw,
            LogFormat::Dated(pattern) => Format::Dated(Self::stamp(pattern)),
            LogFormat::Json(pattern) => Format::Json {
                stamp: pattern.map_or_else(iso_stamp, |pattern| Self::stamp(pattern)),
                process_id: id.0,
                app_name: env.name().to_owned(),
            },
        };
        let id = stream_id(incarnation, side);
        self.pump.attach(Attach {
            id,
            side,
            pipe,
            files,
            format,
            disabled: env.logs_disabled(),
            rotation,
        });
    }

    /// When the files of a stream are put aside from now on.
    pub(crate) fn set_rotation(&self, incarnation: Incarnation, side: Side, rotation: Option<Rotation>) {
        self.pump.set_rotation(stream_id(incarnation, side), rotation);
    }

    /// Put the files of a stream aside now.
    pub(crate) fn rotate(&self, incarnation: Incarnation, side: Side) {
        self.pump.rotate(stream_id(incarnation, side));
    }

    /// Open all files anew.
    pub(crate) fn reopen(&self) {
        self.pump.reopen();
    }

    fn listen(&mut self, somebody: bool) {
        if self.listening != somebody {
            self.listening = somebody;
            self.pump.listen(somebody);
        }
    }

    fn stamp(pattern: &str) -> Stamp {
        let pattern = Pattern::new(pattern);
        Arc::new(move |at_ms, out| pattern.write(at_ms, clock::zone(), out))
    }
}

impl PumpNews {
    /// The next news; `None` when the pump has gone.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        if let Event::Chunk(chunk) = &event {
            self.queued.fetch_sub(chunk.text.len(), Ordering::Relaxed);
        }
        Some(event)
    }
}

/// The passage that was stored, or a new one that the keeper has before anything is in it; and copies of it.
fn passage(stored: Option<Vec<OwnedFd>>, keeper: &mut KeeperLink) -> io::Result<(Passage, Vec<OwnedFd>)> {
    if let Some(Ok(passage)) = stored.map(Passage::restore) {
        let copies = passage.copies()?;
        return Ok((passage, copies));
    }
    let passage = Passage::create()?;
    keeper.put_through(PASSAGE, passage.copies()?)?;
    let copies = passage.copies()?;
    Ok((passage, copies))
}

fn iso_stamp() -> Stamp {
    Arc::new(|at_ms, out| out.push_str(&pm2::dates::iso(at_ms)))
}

/// The pump's number of a stream.
fn stream_id(incarnation: Incarnation, side: Side) -> StreamId {
    StreamId(incarnation.0 * 2 + u64::from(side == Side::Err))
}

fn side_of(id: StreamId) -> Side {
    if id.0.is_multiple_of(2) {
        Side::Out
    } else {
        Side::Err
    }
}

fn life_of_stream(id: StreamId) -> Incarnation {
    Incarnation(id.0 / 2)
}

impl Daemon {
    /// Ask the pump for text only while somebody wants it.
    pub(crate) fn listen_to_logs(&mut self) {
        let somebody = self.bus.has_listeners() || self.agent.wants_logs();
        self.pump.listen(somebody);
    }

    pub(crate) fn on_pump(&mut self, event: Event) {
        match event {
            Event::Chunk(chunk) => {
                let Some(life) = self.lives.get(&life_of_stream(chunk.id)) else {
                    return;
                };
                let id = life.id;
                let Some(app) = self.apps.get(&id) else { return };
                if self.bus.has_listeners() {
                    let process = process_ref(&app.env, id);
                    let frame = pm2::bus::log(chunk.side == Side::Err, &process, chunk.at_ms, &chunk.text);
                    let newly_slow = frame.map_or(0, |frame| self.bus.publish(frame));
                    self.tell_slow(newly_slow);
                }
                let lines = self.agent.join_lines(&chunk);
                self.tell_lines(lines);
            }
            Event::Failing { path, reason, .. } => {
                self.complain(&format!(
                    "writing {}: {reason}; the output waits, as far as there is room",
                    path.display()
                ));
            }
            Event::NotRotated { path, reason } => {
                self.complain(&format!(
                    "rotating {}: {reason}; it goes on growing, `logrotate:enabled false` ends the attempts",
                    path.display()
                ));
            }
            Event::Recovered { dropped, id } => {
                let label = self.label(life_of_stream(id));
                let text = match dropped {
                    0 => format!("App [{label}]: its log can be written again, nothing was lost"),
                    bytes => format!("App [{label}]: its log can be written again, {bytes} bytes were lost"),
                };
                self.say(Level::Log, &text);
            }
            Event::Ended { id } => {
                let last = self.agent.last_line(id);
                self.tell_lines(last);
                let incarnation = life_of_stream(id);
                if let Some(life) = self.lives.get_mut(&incarnation) {
                    life.open_streams = life.open_streams.saturating_sub(1);
                }
                self.forget_if_over(incarnation);
            }
        }
    }

    /// Tell the hub lines of apps.
    pub(crate) fn tell_lines(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            let app = self
                .lives
                .get(&life_of_stream(line.stream))
                .and_then(|life| self.apps.get(&life.id));
            if let Some(app) = app {
                self.agent.log(&app.env, side_of(line.stream), line);
            }
        }
    }

    /// `name:id` of a life, for lines in the log.
    pub(crate) fn label(&self, incarnation: Incarnation) -> String {
        let app = self
            .lives
            .get(&incarnation)
            .and_then(|life| Some((life.id, self.apps.get(&life.id)?)));
        app.map_or_else(|| "?".into(), |(id, app)| format!("{}:{}", app.env.name(), id.0))
    }
}
