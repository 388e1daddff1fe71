//! What is on the screen. Holds facts and choices; changes only by [`Model::update`](super::update).

use super::logs::Logs;
use crate::process::Process;
use crate::render::{Field, Order};
use ratatui::layout::Rect;
use std::collections::{HashMap, VecDeque};

/// Samples of a sparkline, one a second.
pub(super) const HISTORY: usize = 60;
/// How long a notice stays.
const NOTICE_MS: i64 = 6_000;

/// The past of one process.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Percent of one core, oldest first.
    pub(super) cpu: VecDeque<f64>,
    /// Resident bytes, oldest first.
    pub(super) memory: VecDeque<f64>,
}

impl History {
    fn push(&mut self, cpu: f64, memory: f64) {
        for (values, value) in [(&mut self.cpu, cpu), (&mut self.memory, memory)] {
            if values.len() == HISTORY {
                values.pop_front();
            }
            values.push_back(value);
        }
    }
}

/// The part that the keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    List,
    Logs,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Restart,
    Reload,
    Stop,
    Start,
    Delete,
    Reset,
    Flush,
    /// To this many instances.
    Scale(usize),
}

impl Action {
    /// As it is asked: `Restart api (0)?`
    pub(super) fn title(self) -> &'static str {
        match self {
            Action::Restart => "Restart",
            Action::Reload => "Reload",
            Action::Stop => "Stop",
            Action::Start => "Start",
            Action::Delete => "Stop and delete",
            Action::Reset => "Reset the counters of",
            Action::Flush => "Empty the log files of",
            Action::Scale(_) => "Scale",
        }
    }
}

/// An action on a process, before or after it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) id: u32,
    pub(super) name: String,
}

impl Command {
    /// Whom or what it is about.
    pub(super) fn subject(&self) -> String {
        match self.action {
            Action::Scale(count) => format!("{} to {count}", self.name),
            _ => format!("{} ({})", self.name, self.id),
        }
    }
}

/// A line being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Names that are shown.
    Filter,
    /// What is looked for in the logs.
    Search,
}

/// What lies over the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    Help,
    Confirm(Command),
}

/// One sentence about what happened last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) error: bool,
    since_ms: i64,
}

/// Where things were drawn, for the mouse.
#[derive(Clone, Debug, Default)]
pub(super) struct Areas {
    /// Rows of the list, without header and frame.
    pub(super) rows: Rect,
    /// The header's cells and what a click on them sorts by.
    pub(super) header: Vec<(Rect, Field)>,
    /// The log pane.
    pub(super) logs: Rect,
}

/// Everything that is shown.
pub(super) struct Model {
    pub(super) now_ms: i64,
    pub(super) colour: bool,
    /// As the daemon told them last.
    pub(super) processes: Vec<Process>,
    pub(super) history: HashMap<u32, History>,
    /// The machine's figures, as `list` shows them.
    pub(super) host: Option<String>,
    /// Why the list is not the present one.
    pub(super) lost: Option<String>,
    pub(super) order: Order,
    pub(super) filter: String,
    /// Indices of what is shown, in order.
    pub(super) shown: Vec<usize>,
    pub(super) selected: Option<u32>,
    /// The first row on the screen.
    pub(super) top: usize,
    pub(super) focus: Focus,
    /// The logs take the whole screen.
    pub(super) zoomed: bool,
    /// Facts and metrics beside the logs.
    pub(super) details: bool,
    pub(super) logs: Logs,
    pub(super) overlay: Option<Overlay>,
    pub(super) prompt: Option<Prompt>,
    pub(super) notice: Option<Notice>,
    /// Actions that are not answered yet.
    pub(super) under_way: usize,
    pub(super) areas: Areas,
}

impl Model {
    pub(super) fn new(colour: bool) -> Model {
        Model {
            now_ms: 0,
            colour,
            processes: Vec::new(),
            history: HashMap::new(),
            host: None,
            lost: None,
            order: Order::BY_NAME,
            filter: String::new(),
            shown: Vec::new(),
            selected: None,
            top: 0,
            focus: Focus::List,
            zoomed: false,
            details: true,
            logs: Logs::default(),
            overlay: None,
            prompt: None,
            notice: None,
            under_way: 0,
            areas: Areas::default(),
        }
    }

    /// A new list from the daemon.
    pub(super) fn replace(&mut self, processes: Vec<Process>) {
        self.history
            .retain(|id, _| processes.iter().any(|process| process.pm_id == *id));
        for process in &processes {
            self.history
                .entry(process.pm_id)
                .or_default()
                .push(process.cpu, process.memory as f64);
        }
        let row = self.row();
        self.processes = processes;
        self.arrange_from(row);
    }

    /// Filters and sorts anew, and keeps the selection on the process it was on.
    pub(super) fn arrange(&mut self) {
        self.arrange_from(self.row());
    }

    /// `row`: where the selection was; its neighbour takes over if it is gone.
    fn arrange_from(&mut self, row: Option<usize>) {
        let wanted = self.filter.to_lowercase();
        let matches = |process: &Process| {
            wanted.is_empty()
                || process.name.to_lowercase().contains(&wanted)
                || process.env.namespace().to_lowercase().contains(&wanted)
                || process.status().contains(&wanted)
                || process.pm_id.to_string() == wanted
        };
        let mut shown: Vec<(usize, &Process)> = self
            .processes
            .iter()
            .enumerate()
            .filter(|(_, process)| matches(process))
            .collect();
        let order = self.order;
        shown.sort_by(|(_, a), (_, b)| order.compare(a, b));
        self.shown = shown.into_iter().map(|(at, _)| at).collect();
        let still_there = self
            .selected
            .is_some_and(|id| self.shown.iter().any(|at| self.processes[*at].pm_id == id));
        if !still_there {
            let row = row.unwrap_or(0).min(self.shown.len().saturating_sub(1));
            self.selected = self.shown.get(row).map(|at| self.processes[*at].pm_id);
        }
    }

    /// The selected process.
    pub(super) fn current(&self) -> Option<&Process> {
        let id = self.selected?;
        self.processes.iter().find(|process| process.pm_id == id)
    }

    /// The row of the selection.
    pub(super) fn row(&self) -> Option<usize> {
        let id = self.selected?;
        self.shown
            .iter()
            .position(|at| self.processes.get(*at).is_some_and(|process| process.pm_id == id))
    }

    /// Selects a row; rows beyond the end are the last one.
    pub(super) fn select_row(&mut self, row: usize) {
        let row = row.min(self.shown.len().saturating_sub(1));
        self.selected = self.shown.get(row).map(|at| self.processes[*at].pm_id);
    }

    /// Brings the selection onto a screen of `height` rows.
    pub(super) fn scroll_to_selection(&mut self, height: usize) {
        let row = self.row().unwrap_or(0);
        if row < self.top {
            self.top = row;
        } else if row >= self.top + height {
            self.top = row + 1 - height;
        }
        self.top = self.top.min(self.shown.len().saturating_sub(height));
    }

    pub(super) fn tell(&mut self, text: impl Into<String>, error: bool) {
        self.notice = Some(Notice {
            text: text.into(),
            error,
            since_ms: self.now_ms,
        });
    }

    /// The notice, as long as it is news.
    pub(super) fn news(&self) -> Option<&Notice> {
        self.notice
            .as_ref()
            .filter(|notice| self.now_ms - notice.since_ms < NOTICE_MS)
    }

    /// How many are in each state: online, errored, all others.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        let count = |status: &str| self.processes.iter().filter(|p| p.status() == status).count();
        let (online, errored) = (count("online"), count("errored"));
        (online, errored, self.processes.len() - online - errored)
    }
}
