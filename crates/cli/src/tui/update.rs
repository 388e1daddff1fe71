//! What a key, a click or a piece of news changes. Pure: what has to be done outside comes back as [`Effect`]s.

use super::logs::{Line, Subject};
use super::model::{Action, Command, Focus, Model, Overlay, Prompt};
use crate::process::Process;
use crate::render::{Field, Order};
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Position;

/// Text that one can type into a prompt.
const LONGEST_PROMPT: usize = 200;
/// Rows of one turn of the wheel.
const WHEEL: usize = 3;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Message {
    /// The keyboard, the mouse, or the terminal's size.
    Terminal(Event),
    /// The daemon's list and the machine's figures, or why there is none.
    List(Result<(Vec<Process>, Option<String>), String>),
    /// A line of output.
    Line(Line),
    /// The end of the log files of what was asked for.
    Past(Subject, Vec<Line>),
    /// What became of an action.
    Done(Command, Result<(), String>),
    /// The program is asked to end.
    End,
}

/// Whose files are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TailWish {
    pub(super) subject: Subject,
    /// Id, name, standard output and standard error of each.
    pub(super) files: Vec<(u32, String, Option<String>, Option<String>)>,
}

/// Something to do outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    Suspend,
    /// Read the end of log files.
    Tail(TailWish),
    /// Run an action.
    Run(Command),
    /// Look at the list now, not in a second.
    Poll,
}

impl Model {
    pub(super) fn update(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Terminal(Event::Key(key)) if key.kind != KeyEventKind::Release => self.key(key),
            Message::Terminal(Event::Mouse(mouse)) => self.mouse(mouse),
            Message::Terminal(_) => Vec::new(),
            Message::List(Ok((processes, host))) => {
                let before = self.selected;
                self.lost = None;
                self.host = host;
                self.replace(processes);
                self.follow_selection(before)
            }
            Message::List(Err(reason)) => {
                self.lost = Some(reason);
                Vec::new()
            }
            Message::Line(line) => {
                self.logs.push(line);
                Vec::new()
            }
            Message::Past(subject, lines) => {
                // Somebody else may be looked at by now.
                if subject == self.logs.subject {
                    self.logs.prepend(lines);
                }
                Vec::new()
            }
            Message::Done(command, outcome) => {
                self.under_way = self.under_way.saturating_sub(1);
                match outcome {
                    Ok(()) => self.tell(format!("{}: done", said(&command)), false),
                    Err(reason) => self.tell(format!("{}: {reason}", said(&command)), true),
                }
                vec![Effect::Poll]
            }
            Message::End => vec![Effect::Quit],
        }
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (control, key.code) {
            (true, KeyCode::Char('c')) => return vec![Effect::Quit],
            (true, KeyCode::Char('z')) => return vec![Effect::Suspend],
            (true, _) => return Vec::new(),
            (false, _) => {}
        }
        if self.prompt.is_some() {
            return self.prompt_key(key.code);
        }
        if let Some(overlay) = self.overlay.take() {
            return self.overlay_key(overlay, key.code);
        }
        let before = self.selected;
        match key.code {
            KeyCode::Char('q') => return vec![Effect::Quit],
            KeyCode::Char('?') | KeyCode::F(1) => self.overlay = Some(Overlay::Help),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::List => Focus::Logs,
                    Focus::Logs => Focus::List,
                }
            }
            KeyCode::Enter => {
                self.zoomed = !self.zoomed;
                self.focus = if self.zoomed { Focus::Logs } else { Focus::List };
            }
            KeyCode::Esc if self.zoomed => (self.zoomed, self.focus) = (false, Focus::List),
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Esc => self.logs.search.clear(),
            KeyCode::Char('i') => self.details = !self.details,
            KeyCode::Char('/') => {
                self.prompt = Some(match self.focus {
                    Focus::List => Prompt::Filter,
                    Focus::Logs => Prompt::Search,
                });
            }
            KeyCode::Char('n') => self.look_for(true),
            KeyCode::Char('N') => self.look_for(false),
            KeyCode::Char('a') => return self.toggle_all(),
            KeyCode::Char('o') => self.sort_by(next_field(self.order.field)),
            KeyCode::Char('O') => self.sort_by(self.order.field),
            KeyCode::Char('r') => self.ask(Action::Restart),
            KeyCode::Char('R') => self.ask(Action::Reload),
            KeyCode::Char('s') => match self.current().map(Process::status) {
                Some("online" | "launching" | "waiting restart") => self.ask(Action::Stop),
                _ => self.ask(Action::Start),
            },
            KeyCode::Char('d') | KeyCode::Delete => self.ask(Action::Delete),
            KeyCode::Char('z') => self.ask(Action::Reset),
            KeyCode::Char('f') => self.ask(Action::Flush),
            KeyCode::Char('+') => self.ask_scale(1),
            KeyCode::Char('-') => self.ask_scale(-1),
            code => self.travel(code),
        }
        self.follow_selection(before)
    }

    /// Arrows and their kin, in the pane that has the focus.
    fn travel(&mut self, code: KeyCode) {
        let page = match self.focus {
            Focus::List => self.areas.rows.height,
            Focus::Logs => self.areas.logs.height,
        };
        let page = usize::from(page).saturating_sub(1).max(1);
        let all = usize::MAX / 2;
        let (up, by) = match code {
            KeyCode::Up | KeyCode::Char('k') => (true, 1),
            KeyCode::Down | KeyCode::Char('j') => (false, 1),
            KeyCode::PageUp => (true, page),
            KeyCode::PageDown | KeyCode::Char(' ') => (false, page),
            KeyCode::Home | KeyCode::Char('g') => (true, all),
            KeyCode::End | KeyCode::Char('G') => (false, all),
            _ => return,
        };
        match (self.focus, up) {
            (Focus::List, up) => {
                let row = self.row().unwrap_or(0);
                self.select_row(if up {
                    row.saturating_sub(by)
                } else {
                    row.saturating_add(by)
                });
            }
            (Focus::Logs, true) => self.logs.scroll_back(by),
            (Focus::Logs, false) => self.logs.scroll_on(by),
        }
    }

    fn prompt_key(&mut self, code: KeyCode) -> Vec<Effect> {
        let before = self.selected;
        let Some(prompt) = self.prompt else {
            return Vec::new();
        };
        let text = match prompt {
            Prompt::Filter => &mut self.filter,
            Prompt::Search => &mut self.logs.search,
        };
        match code {
            KeyCode::Char(c) if !c.is_control() && text.len() < LONGEST_PROMPT => text.push(c),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Esc => {
                text.clear();
                self.prompt = None;
            }
            KeyCode::Enter => {
                self.prompt = None;
                if prompt == Prompt::Search {
                    self.look_for(true);
                }
            }
            // The list can be travelled while its filter is typed.
            code @ (KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown) => self.travel(code),
            _ => {}
        }
        if prompt == Prompt::Filter {
            self.arrange();
        }
        self.follow_selection(before)
    }

    fn overlay_key(&mut self, overlay: Overlay, code: KeyCode) -> Vec<Effect> {
        match (overlay, code) {
            (Overlay::Confirm(command), KeyCode::Char('y' | 'Y') | KeyCode::Enter) => self.carry_out(command),
            (Overlay::Confirm(_), KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc) | (Overlay::Help, _) => {
                Vec::new()
            }
            // A key that says neither yes nor no answers nothing.
            (confirm, _) => {
                self.overlay = Some(confirm);
                Vec::new()
            }
        }
    }

    fn carry_out(&mut self, command: Command) -> Vec<Effect> {
        self.under_way += 1;
        self.tell(format!("{} …", said(&command)), false);
        vec![Effect::Run(command)]
    }

    fn ask(&mut self, action: Action) {
        if let Some(process) = self.current() {
            self.overlay = Some(Overlay::Confirm(Command {
                action,
                id: process.pm_id,
                name: process.name.clone(),
            }));
        }
    }

    /// One instance more, or one less but never none: that would be a delete.
    fn ask_scale(&mut self, by: isize) {
        let Some(name) = self.current().map(|process| process.name.clone()) else {
            return;
        };
        let present = self
            .processes
            .iter()
            .filter(|process| process.name == name)
            .count();
        match present.saturating_add_signed(by) {
            0 => self.tell(format!("{name} has one instance left; d deletes it"), true),
            count => self.ask(Action::Scale(count)),
        }
    }

    fn mouse(&mut self, mouse: MouseEvent) -> Vec<Effect> {
        if self.overlay.is_some() {
            return Vec::new();
        }
        let before = self.selected;
        let at = Position::new(mouse.column, mouse.row);
        let over_logs = self.areas.logs.contains(at);
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                let header = self.areas.header.iter().find(|(area, _)| area.contains(at));
                if let Some((_, field)) = header {
                    self.sort_by(*field);
                } else if self.areas.rows.contains(at) {
                    self.focus = Focus::List;
                    let row = self.top + usize::from(at.y - self.areas.rows.y);
                    if row < self.shown.len() {
                        self.select_row(row);
                    }
                } else if over_logs {
                    self.focus = Focus::Logs;
                }
            }
            MouseEventKind::ScrollUp if over_logs => self.logs.scroll_back(WHEEL),
            MouseEventKind::ScrollDown if over_logs => self.logs.scroll_on(WHEEL),
            MouseEventKind::ScrollUp => self.select_row(self.row().unwrap_or(0).saturating_sub(WHEEL)),
            MouseEventKind::ScrollDown => self.select_row(self.row().unwrap_or(0) + WHEEL),
            _ => {}
        }
        self.follow_selection(before)
    }

    /// By this field; by the same one again: the other way round.
    fn sort_by(&mut self, field: Field) {
        let descending = if field == self.order.field {
            !self.order.descending
        } else {
            // Who uses most is what one wants to know.
            matches!(field, Field::Cpu | Field::Memory)
        };
        self.order = Order { field, descending };
        self.arrange();
    }

    fn look_for(&mut self, older: bool) {
        if !self.logs.search.is_empty() && !self.logs.find(older) {
            let way = if older { "above" } else { "below" };
            self.tell(format!("no more {:?} {way}", self.logs.search), true);
        }
    }

    fn toggle_all(&mut self) -> Vec<Effect> {
        match self.logs.subject {
            Subject::One(_) => self.turn_logs_to(Subject::All),
            Subject::All => match self.selected {
                Some(id) => self.turn_logs_to(Subject::One(id)),
                None => Vec::new(),
            },
        }
    }

    /// The log pane shows whom the selection is on, unless it shows all.
    fn follow_selection(&mut self, before: Option<u32>) -> Vec<Effect> {
        match self.selected {
            Some(id)
                if before.is_none() || (self.selected != before && self.logs.subject != Subject::All) =>
            {
                self.turn_logs_to(Subject::One(id))
            }
            _ => Vec::new(),
        }
    }

    fn turn_logs_to(&mut self, subject: Subject) -> Vec<Effect> {
        self.logs.turn_to(subject);
        let files = self
            .processes
            .iter()
            .filter(|process| matches!(subject, Subject::One(id) if id == process.pm_id))
            .map(|process| {
                let owned = |path: Option<&str>| path.map(str::to_owned);
                (
                    process.pm_id,
                    process.name.clone(),
                    owned(process.env.out_log()),
                    owned(process.env.err_log()),
                )
            })
            .collect();
        vec![Effect::Tail(TailWish { subject, files })]
    }
}

/// `Restart api (0)`
fn said(command: &Command) -> String {
    format!("{} {}", command.action.title(), command.subject())
}

fn next_field(field: Field) -> Field {
    match field {
        Field::Name => Field::Cpu,
        Field::Cpu => Field::Memory,
        Field::Memory => Field::Status,
        Field::Status => Field::Uptime,
        Field::Uptime => Field::Id,
        Field::Id => Field::Namespace,
        Field::Namespace | Field::Pid => Field::Name,
    }
}
