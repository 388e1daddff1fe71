//! Starting, stopping and everything in between.

use pm2::Object;
use pm2::env::{Entry, Pm2Env, PrepareFacts};
use serde_json::{Value, json};
use supervisor::{Command, Policy, ProcId};

use super::Args;
use crate::app::App;
use crate::clock;
use crate::jobs::JobId;
use crate::journal::Level;
use crate::owner::{Daemon, Then};
use crate::rpc::Responder;

/// A new app, or an element of a dump.
pub(super) fn prepare(daemon: &mut Daemon, args: Args, responder: Responder) {
    let Value::Object(app) = args.into_first() else {
        return responder.error("preparing an app: the argument is not an object");
    };
    match daemon.enter_app(
        app,
        Then::Started {
            responder,
            one: false,
        },
    ) {
        Ok(()) => {}
        Err((then, text)) => {
            if let Then::Started { responder, .. } = then {
                responder.error(&text);
            }
        }
    }
}

/// One more instance.
pub(super) fn duplicate(daemon: &mut Daemon, args: &Args, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            let job = daemon.jobs.open(Then::Started { responder, one: true });
            daemon.duplicate(id, job);
        }
        None => responder.error(&format!("{} id unknown", args.process_text())),
    }
}

pub(super) fn start(daemon: &mut Daemon, args: &Args, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => one(daemon, id, Command::Start(id), responder),
        None => responder.error(&format!("{} id unknown", args.process_text())),
    }
}

pub(super) fn stop(daemon: &mut Daemon, args: &Args, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            daemon.announce_stop(id);
            one(daemon, id, Command::Stop(id), responder);
        }
        None => responder.error(&format!("{} : id unknown", args.process_text())),
    }
}

pub(super) fn delete(daemon: &mut Daemon, args: &Args, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            daemon.announce_stop(id);
            let job = daemon.jobs.open(Then::ShowGone(responder));
            daemon.command_for(job, id, Command::Delete(id));
        }
        None => responder.error(&format!("{} : id unknown", args.process_text())),
    }
}

pub(super) fn restart(daemon: &mut Daemon, args: Args, responder: Responder) {
    let Value::Object(mut opts) = args.into_first() else {
        return responder.error("opts.id not passed to restartProcessId");
    };
    if opts.get("id").is_none_or(Value::is_null) {
        return responder.error("opts.id not passed to restartProcessId");
    }
    match known(daemon, &opts) {
        Some(id) => {
            let brought = take_object(&mut opts, "env");
            let job = daemon.jobs.open(Then::ShowOne(responder));
            daemon.restart(id, &brought, job);
        }
        None => responder.error("God db process id unknown"),
    }
}

pub(super) fn reload(daemon: &mut Daemon, args: Args, soft: bool, responder: Responder) {
    let Value::Object(mut opts) = args.into_first() else {
        return responder.error("PM2 ID unknown");
    };
    match known(daemon, &opts) {
        Some(id) => {
            let brought = take_object(&mut opts, "env");
            let job = daemon.jobs.open(Then::ShowOne(responder));
            daemon.reload(id, &brought, soft, job);
        }
        // PM2's two kinds of reload say it differently.
        None if soft => {
            let id = super::id_text(opts.get("id").unwrap_or(&Value::Null));
            responder.error(&format!("pm_id {id} not available in {id}"));
        }
        None => responder.error("PM2 ID unknown"),
    }
}

pub(super) fn reset(daemon: &mut Daemon, args: &Args, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            let job = daemon.jobs.open(Then::ShowEverything(responder));
            daemon.command_for(job, id, Command::Reset(id));
        }
        None => responder.error(&format!("{} id unknown", args.process_text())),
    }
}

pub(super) fn set_monitored(daemon: &mut Daemon, args: &Args, monitored: bool, responder: Responder) {
    match args.process_id().filter(|id| daemon.apps.contains_key(id)) {
        Some(id) => {
            daemon.set_monitored(id, monitored);
            responder.value(&json!({ "success": true, "pm_id": args.get(0) }));
        }
        None => responder.error("Unknown pm_id"),
    }
}

fn one(daemon: &mut Daemon, id: ProcId, command: Command, responder: Responder) {
    let job = daemon.jobs.open(Then::ShowOne(responder));
    daemon.command_for(job, id, command);
}

fn known(daemon: &Daemon, opts: &Object) -> Option<ProcId> {
    let id = opts.get("id").and_then(pm2::rpc::process_id).map(ProcId)?;
    daemon.apps.contains_key(&id).then_some(id)
}

fn take_object(opts: &mut Object, key: &str) -> Object {
    match opts.remove(key) {
        Some(Value::Object(map)) => map,
        _ => Object::new(),
    }
}

/// What both clients and the hub may do.
impl Daemon {
    /// Enter a resolved app. Gives `then` back with a reason if it can't be taken.
    pub(crate) fn enter_app(&mut self, app: Object, then: Then) -> Result<(), (Then, String)> {
        if self.ending.is_some() {
            return Err((then, "the daemon is ending".into()));
        }
        let unique_id = match fresh_uuid() {
            Ok(uuid) => uuid,
            Err(error) => return Err((then, format!("making a unique id: {error}"))),
        };
        let prepared = {
            let existing: Vec<&Pm2Env> = self.apps.values().map(|app| &app.env).collect();
            pm2::env::prepare(app, &self.prepare_facts(unique_id, &existing))
        };
        match prepared {
            Ok(entries) => {
                let job = self.jobs.open(then);
                self.enter(entries, job);
                Ok(())
            }
            Err(error) => Err((then, error.to_string())),
        }
    }

    /// One more instance of a process.
    pub(crate) fn duplicate(&mut self, id: ProcId, job: JobId) {
        let entry = {
            let Some(app) = self.apps.get(&id) else { return };
            let existing: Vec<&Pm2Env> = self.apps.values().map(|app| &app.env).collect();
            pm2::env::duplicate(
                &app.env,
                &self.prepare_facts(fresh_uuid().unwrap_or_default(), &existing),
            )
        };
        self.enter(vec![entry], job);
    }

    fn prepare_facts<'a>(&self, unique_id: String, existing: &'a [&'a Pm2Env]) -> PrepareFacts<'a> {
        PrepareFacts {
            cpus: || u32::try_from(os::host::cpus()).unwrap_or(1),
            now_ms: clock::wall_ms(),
            unique_id,
            next_id: self.next_id,
            instance_var: self.settings.instance_var.clone(),
            existing,
        }
    }

    fn enter(&mut self, entries: Vec<Entry>, job: JobId) {
        for Entry { pm_id, env, execute } in entries {
            let id = ProcId(pm_id);
            self.next_id = self.next_id.max(pm_id.saturating_add(1));
            let mut policy = env.to_policy(&self.settings.defaults);
            policy.autostart &= execute;
            self.apps.insert(id, App::new(env));
            self.follow_entry(id, clock::wall_ms());
            self.command_for(
                job,
                id,
                Command::Add {
                    id,
                    policy: Box::new(policy),
                },
            );
        }
    }

    /// Restart with what the caller brought.
    pub(crate) fn restart(&mut self, id: ProcId, brought: &Object, job: JobId) {
        let policy = self.take_in(id, brought);
        if self.sup.view(id).is_some_and(|view| view.is_up()) {
            self.announce_stop(id);
        }
        self.command_for(job, id, Command::Restart { id, policy });
    }

    /// Merge what a restart or reload brings into the entry. The rules that follow from it.
    pub(crate) fn take_in(&mut self, id: ProcId, brought: &Object) -> Option<Box<Policy>> {
        let app = self.apps.get_mut(&id)?;
        let mut env = std::mem::take(&mut app.env);
        env.merge_restart(brought);
        let policy = env.to_policy(&self.settings.defaults);
        if let Some(app) = self.apps.get_mut(&id) {
            app.env = env;
        }
        self.follow_entry(id, clock::wall_ms());
        Some(Box::new(policy))
    }

    /// Show a process to the hub, or hide it from it.
    pub(crate) fn set_monitored(&mut self, id: ProcId, monitored: bool) {
        if let Some(app) = self.apps.get_mut(&id) {
            app.env.set("_km_monitored", monitored);
            self.keep(id);
        }
    }

    /// The attributes of an entry may have changed: what is done by itself follows. Changes of files since that time count, ms since the epoch.
    pub(crate) fn follow_entry(&mut self, id: ProcId, since_ms: i64) {
        self.follow_watch(id, since_ms);
        self.follow_cron(id);
    }

    /// The line of the log that says that a process is about to be stopped.
    pub(crate) fn announce_stop(&mut self, id: ProcId) {
        if let Some(app) = self.apps.get(&id) {
            let text = format!("Stopping app:{} id:{}", app.env.name(), id.0);
            self.say(Level::Log, &text);
        }
    }
}

/// A random UUID (version 4) of the kernel's bytes.
fn fresh_uuid() -> std::io::Result<String> {
    let bytes = os::host::random_bytes::<16>()?;
    Ok(uuid_text(bytes))
}

/// RFC 9562, version 4.
fn uuid_text(bytes: [u8; 16]) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let number = u128::from_be_bytes(bytes) & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_its_version_whatever_its_bytes() {
        assert_eq!(uuid_text([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_text([255; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_ne!(fresh_uuid().unwrap(), fresh_uuid().unwrap());
    }
}
