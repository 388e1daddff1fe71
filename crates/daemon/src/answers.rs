//! From finished jobs to answers.

use supervisor::{ProcId, Refusal};

use crate::jobs::Job;
use crate::owner::{Daemon, Then};

impl Daemon {
    /// All commands of a job are answered.
    pub(crate) fn finish_job(&mut self, job: Job<Then>) {
        let failure = job
            .refused
            .first()
            .map(|(id, refusal)| self.failure_text(*id, *refusal));
        match job.then {
            Then::End => self.all_stopped(),
            Then::Agent(waiting) => self.finish_remote(waiting, &job.ids, failure),
            Then::ShowOne(responder) => match (failure, job.ids.first()) {
                (Some(text), _) => responder.error(&text),
                (None, Some(id)) => self.show_one(responder, *id),
                (None, None) => responder.reply(&[(); 0]),
            },
            Then::ShowGone(responder) => match (failure, job.ids.first()) {
                (Some(text), _) => responder.error(&text),
                (None, Some(id)) => match self.apps.get_mut(id) {
                    Some(app) => {
                        app.env
                            .set("status", pm2::env::status_text(supervisor::Status::Stopped));
                        responder.value(&app.shown(0));
                    }
                    None => responder.reply(&[(); 0]),
                },
                (None, None) => responder.reply(&[(); 0]),
            },
            Then::ShowEverything(responder) => match failure {
                Some(text) => responder.error(&text),
                None => self.show_everything(responder),
            },
            Then::Started { responder, one } => {
                for id in &job.ids {
                    self.publish_event(*id, "start", true, None);
                }
                match (failure, job.ids.first()) {
                    (Some(text), _) => responder.error(&text),
                    (None, Some(id)) if one => self.show_one(responder, *id),
                    (None, _) => self.show_all(responder, &job.ids),
                }
            }
        }
    }

    /// What a failed command is answered with: a refusal, and what is known of its cause.
    fn failure_text(&self, id: ProcId, refusal: Refusal) -> String {
        let app = self.apps.get(&id);
        let known = match refusal {
            Refusal::ReloadFailed => app.and_then(|app| app.reload_trouble.as_deref()).map(|how| {
                format!(
                    "process {}: its new instance {how}; the former one serves on",
                    id.0
                )
            }),
            Refusal::SpawnFailed => app
                .and_then(|app| app.start_trouble.as_deref())
                .map(|why| format!("process {} could not be started: {why}", id.0)),
            _ => None,
        };
        known.unwrap_or_else(|| refusal_text(id, refusal))
    }

    /// Answer with one process.
    pub(crate) fn show_one(&mut self, responder: crate::rpc::Responder, id: ProcId) {
        self.refresh(id);
        let pid = self.pid_of(id);
        match self.apps.get(&id) {
            Some(app) => responder.value(&app.shown(pid)),
            None => responder.error(&refusal_text(id, Refusal::UnknownId(id))),
        }
    }

    /// Answer with the whole list, as PM2 does after a signal or a reset.
    pub(crate) fn show_everything(&mut self, responder: crate::rpc::Responder) {
        let ids: Vec<_> = self.apps.keys().copied().collect();
        self.show_all(responder, &ids);
    }

    /// Answer with a list of processes.
    pub(crate) fn show_all(&mut self, responder: crate::rpc::Responder, ids: &[ProcId]) {
        for id in ids {
            self.refresh(*id);
        }
        let list: Vec<_> = ids
            .iter()
            .filter_map(|id| Some(self.apps.get(id)?.shown(self.pid_of(*id))))
            .collect();
        responder.value(&list);
    }
}

/// A refusal in the words that clients know, where PM2 has some.
pub(crate) fn refusal_text(id: ProcId, refusal: Refusal) -> String {
    let id = id.0;
    match refusal {
        Refusal::UnknownId(_) => format!("{id} : id unknown"),
        Refusal::Exists(_) => format!("process {id} exists already"),
        Refusal::AlreadyOnline => "process already online".into(),
        Refusal::AlreadyStarted => "process already started".into(),
        Refusal::StillAlive { pid: Some(pid) } => format!("Process with pid {pid} already exists"),
        Refusal::StillAlive { pid: None } => format!("process {id} has not ended yet"),
        Refusal::BeingDeleted => format!("process {id} is being deleted"),
        Refusal::Superseded => format!("process {id}: a later command took the place of this one"),
        Refusal::Unkillable => format!("process {id} could not be stopped, it survived SIGKILL"),
        Refusal::ReloadInProgress => {
            format!("Reload already in progress for process id {id}, retry later")
        }
        Refusal::ReloadFailed => format!(
            "process {id}: its new instance did not come up, the former one serves on; the daemon's log says why"
        ),
        Refusal::SpawnFailed => format!("process {id} could not be started, the daemon's log says why"),
    }
}
