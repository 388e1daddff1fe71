//! From observations to what is sent: the live view, and batches of samples, events and exceptions.

use crate::api::ProcessObservation;
use crate::redact::{self, clip};
use crate::rules::Rules;
use std::collections::{BTreeMap, BTreeSet};
use wire::live::{Delta, Snapshot, View};
use wire::message::{Events, Exceptions, ReportBody};
use wire::telemetry::{
    Event, Exception, Host, LogLine, METRIC_CPU, METRIC_MEMORY, Metrics, Process, SampleBatch, Series,
};

/// Most bytes of JSON that comes with an event, an exception or a result.
pub(crate) const MAX_DATA: usize = 256 << 10;
const MAX_NAME: usize = 256;
const MAX_TEXT: usize = 64 << 10;
const MAX_EVENTS: usize = 512;
const MAX_EXCEPTIONS: usize = 64;
/// Most series of one batch: with a handful of ticks well below what the hub accepts.
const MAX_SERIES: usize = 16_000;

/// The live view: what the hub was told, and what there is now.
#[derive(Debug, Default)]
pub(crate) struct Live {
    now: View,
    told: Option<View>,
}

impl Live {
    /// Takes in what there is now, without what the host keeps to itself.
    pub(crate) fn observe(
        &mut self,
        at: u64,
        mut host: Host,
        processes: Vec<ProcessObservation>,
        rules: &Rules,
    ) {
        rules.metrics(&mut host.metrics);
        self.now.at = at;
        self.now.host = host;
        self.now.processes = processes
            .into_iter()
            .take(wire::MAX_PROCESSES)
            .map(|mut o| {
                rules.process(&mut o.process);
                (o.pm_id, bounded(o.process))
            })
            .collect();
    }

    /// The machine's address on the way to the hub: known only when there is a connection.
    pub(crate) fn set_internal_ip(&mut self, ip: String) {
        self.now.host.internal_ip = ip;
    }

    pub(crate) fn view(&self) -> &View {
        &self.now
    }

    /// Forgets what the hub was told: the next update is a snapshot.
    pub(crate) fn forget(&mut self) {
        self.told = None;
    }

    /// What the hub has to be told to know what there is now.
    pub(crate) fn update(&mut self) -> Option<Update> {
        let Some(told) = &self.told else {
            self.now.rev += 1;
            return Some(Update::Whole(self.now.snapshot()));
        };
        self.now.rev = told.rev + 1;
        let delta = told.diff(&self.now);
        (!delta.is_empty()).then_some(Update::Change(delta))
    }

    /// The last update is on its way. If it is not called the next update holds everything since.
    pub(crate) fn mark_told(&mut self) {
        self.told = Some(self.now.clone());
    }
}

pub(crate) enum Update {
    Whole(Snapshot),
    Change(Delta),
}

fn bounded(mut p: Process) -> Process {
    for text in [
        &mut p.name,
        &mut p.namespace,
        &mut p.interpreter,
        &mut p.version,
        &mut p.node_version,
        &mut p.node_env,
    ] {
        shorten(text, MAX_NAME);
    }
    shorten(&mut p.script, 4096);
    p.interpreter_args.truncate(256);
    p.actions.truncate(512);
    for action in &mut p.actions {
        shorten(&mut action.name, MAX_NAME);
        action.opts = redact::json(&action.opts, 4096);
    }
    if !p.cpu.is_finite() {
        p.cpu = 0.0;
    }
    p.metrics = bounded_metrics(p.metrics);
    p
}

fn bounded_metrics(metrics: Metrics) -> Metrics {
    let fits = metrics.len() <= wire::MAX_METRICS
        && metrics.iter().all(|(name, m)| {
            let text = if let wire::telemetry::Value::Text(t) = &m.value {
                t.len()
            } else {
                0
            };
            name.len() <= MAX_NAME && m.unit.len() <= MAX_NAME && m.kind.len() <= MAX_NAME && text <= MAX_NAME
        });
    if fits {
        return metrics;
    }
    metrics
        .0
        .into_iter()
        .take(wire::MAX_METRICS)
        .map(|(mut name, mut metric)| {
            shorten(&mut name, MAX_NAME);
            shorten(&mut metric.unit, MAX_NAME);
            shorten(&mut metric.kind, MAX_NAME);
            if let wire::telemetry::Value::Text(text) = &mut metric.value {
                shorten(text, MAX_NAME);
            }
            (name, metric)
        })
        .collect()
}

fn shorten(text: &mut String, max: usize) {
    let len = clip(text, max).len();
    text.truncate(len);
}

/// Collects samples tick by tick.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    at: Vec<u64>,
    columns: BTreeMap<Key, Column>,
}

/// Process (none = the machine), app, metric.
type Key = (Option<u32>, String, String);

#[derive(Debug, Default)]
struct Column {
    unit: String,
    values: Vec<Option<f64>>,
}

impl Samples {
    /// Takes in one tick.
    pub(crate) fn add(&mut self, view: &View) {
        // Times ascend within a batch; a clock that was set back starts no second entry for a moment.
        if self.at.last().is_some_and(|&last| last >= view.at) {
            return;
        }
        let ticks = self.at.len();
        self.at.push(view.at);
        for (&pm_id, process) in &view.processes {
            // What does not run has no use of anything: a gap, not a zero.
            if process.pid == 0 {
                continue;
            }
            let of = |metric: &str| (Some(pm_id), process.name.clone(), metric.to_owned());
            self.put(ticks, of(METRIC_CPU), "%", process.cpu);
            #[expect(clippy::cast_precision_loss, reason = "memory stays below 2^53 bytes")]
            self.put(ticks, of(METRIC_MEMORY), "B", process.memory as f64);
            self.put_all(ticks, &process.metrics, of);
        }
        self.put_all(ticks, &view.host.metrics, |metric| {
            (None, String::new(), metric.to_owned())
        });
        #[expect(clippy::cast_precision_loss, reason = "memory stays below 2^53 bytes")]
        self.put(
            ticks,
            (None, String::new(), "free_mem".to_owned()),
            "B",
            view.host.free_mem as f64,
        );
        self.put(
            ticks,
            (None, String::new(), "load1".to_owned()),
            "",
            view.host.load1,
        );
    }

    fn put_all(&mut self, ticks: usize, metrics: &Metrics, key: impl Fn(&str) -> Key) {
        for (name, metric) in metrics.iter() {
            let key = key(name);
            // An app's own metric never hides the two that every process has.
            let own = key.0.is_none() || ![METRIC_CPU, METRIC_MEMORY].contains(&name.as_str());
            if let Some(value) = metric.value.as_number().filter(|_| own) {
                self.put(ticks, key, &metric.unit, value);
            }
        }
    }

    fn put(&mut self, ticks: usize, key: Key, unit: &str, value: f64) {
        if self.columns.len() >= MAX_SERIES && !self.columns.contains_key(&key) {
            return;
        }
        let column = self.columns.entry(key).or_default();
        if column.unit != unit {
            unit.clone_into(&mut column.unit);
        }
        column.values.resize(ticks, None);
        column.values.push(value.is_finite().then_some(value));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.at.len() >= wire::telemetry::MAX_TICKS || self.at.len() * self.columns.len() >= 400_000
    }

    /// The time from the first tick to `now`, milliseconds; `None` if there is no tick.
    pub(crate) fn age(&self, now: u64) -> Option<u64> {
        self.at.first().map(|first| now.saturating_sub(*first))
    }

    /// What was collected; nothing stays.
    pub(crate) fn take(&mut self) -> Option<ReportBody> {
        let at = std::mem::take(&mut self.at);
        let columns = std::mem::take(&mut self.columns);
        if at.is_empty() || columns.is_empty() {
            return None;
        }
        let series = columns
            .into_iter()
            .map(|((pm_id, app, metric), mut column)| {
                column.values.resize(at.len(), None);
                Series {
                    pm_id,
                    app,
                    metric,
                    unit: column.unit,
                    values: column.values,
                }
            })
            .collect();
        Some(ReportBody::Samples(SampleBatch { at, series }))
    }
}

/// Collects what happened until it is reported, a fraction of a second later.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    events: Vec<Event>,
    exceptions: Vec<Exception>,
}

impl Happened {
    pub(crate) fn event(&mut self, mut event: Event, rules: &Rules) {
        rules.event(&mut event, MAX_DATA);
        shorten(&mut event.name, MAX_NAME);
        self.events.push(event);
    }

    pub(crate) fn exception(&mut self, mut exception: Exception, rules: &Rules) {
        // Before anything is cut: half of what a rule fits would stay.
        rules.exception(&mut exception, MAX_DATA);
        for text in [
            &mut exception.message,
            &mut exception.stack,
            &mut exception.context,
        ] {
            shorten(text, MAX_TEXT);
        }
        shorten(&mut exception.name, MAX_NAME);
        shorten(&mut exception.callsite, 4096);
        exception.last_logs.truncate(64);
        exception
            .last_logs
            .iter_mut()
            .for_each(|line| shorten(line, 4096));
        self.exceptions.push(exception);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.exceptions.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        let data: usize = self.events.iter().map(|e| e.data.len()).sum();
        self.events.len() >= MAX_EVENTS || self.exceptions.len() >= MAX_EXCEPTIONS || data >= 2 << 20
    }

    /// What was collected; nothing stays.
    pub(crate) fn take(&mut self) -> Vec<ReportBody> {
        let mut bodies = Vec::new();
        if !self.events.is_empty() {
            bodies.push(ReportBody::Events(Events {
                list: std::mem::take(&mut self.events),
            }));
        }
        // A few at a time: each can be large, and a report has a bound.
        while !self.exceptions.is_empty() {
            let rest = self.exceptions.split_off(self.exceptions.len().min(4));
            let list = std::mem::replace(&mut self.exceptions, rest);
            bodies.push(ReportBody::Exceptions(Exceptions { list }));
        }
        bodies
    }
}

/// Who wants logs, and lines that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    subscriptions: BTreeMap<u64, Subscription>,
    lines: Vec<LogLine>,
    bytes: usize,
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Subscription {
    app: Option<String>,
    until: crate::link::Moment,
}

/// Most subscriptions at once.
const MAX_SUBSCRIPTIONS: usize = 256;
/// What waits between two sendings is at most this.
const MAX_WAITING: (usize, usize) = (5_000, 1 << 20);

impl Logs {
    /// Begins or renews a subscription.
    pub(crate) fn subscribe(&mut self, id: u64, app: Option<String>, until: crate::link::Moment) -> bool {
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS && !self.subscriptions.contains_key(&id) {
            return false;
        }
        self.subscriptions.insert(id, Subscription { app, until });
        true
    }

    pub(crate) fn unsubscribe(&mut self, id: u64) {
        self.subscriptions.remove(&id);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn wanted(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    /// When the next subscription runs out.
    pub(crate) fn next_deadline(&self) -> Option<crate::link::Moment> {
        self.subscriptions.values().map(|s| s.until).min()
    }

    /// Ends what has run out, and says which.
    pub(crate) fn expire(&mut self, now: crate::link::Moment) -> BTreeSet<u64> {
        let over: BTreeSet<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, s)| s.until <= now)
            .map(|(&id, _)| id)
            .collect();
        self.subscriptions.retain(|_, s| s.until > now);
        over
    }

    /// Takes in a line, if somebody wants it.
    pub(crate) fn line(&mut self, mut line: LogLine, rules: &Rules) {
        let wanted = |s: &Subscription| s.app.as_ref().is_none_or(|app| *app == line.name);
        if !self.subscriptions.values().any(wanted) {
            return;
        }
        rules.text(&mut line.data);
        shorten(&mut line.data, MAX_TEXT);
        if self.lines.len() >= MAX_WAITING.0 || self.bytes + line.data.len() > MAX_WAITING.1 {
            self.dropped += 1;
            return;
        }
        self.bytes += line.data.len();
        self.lines.push(line);
    }

    /// Forgets the lines that wait, and counts them.
    pub(crate) fn drop_lines(&mut self) {
        self.dropped += self.take_lines().len() as u64;
    }

    fn take_lines(&mut self) -> Vec<LogLine> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn has_lines(&self) -> bool {
        !self.lines.is_empty() || self.dropped > 0
    }

    pub(crate) fn take(&mut self) -> wire::message::LogBatch {
        wire::message::LogBatch {
            lines: self.take_lines(),
            dropped: std::mem::take(&mut self.dropped),
        }
    }

    /// A batch could not be sent: its lines are lost and counted in the next one. Says how many.
    pub(crate) fn lost(&mut self, batch: &wire::message::LogBatch) -> u64 {
        self.dropped += batch.dropped + batch.lines.len() as u64;
        batch.lines.len() as u64
    }
}

#[cfg(test)]
mod tests;
