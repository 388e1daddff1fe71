//! Everything a verb may look at: what was typed, who calls, where the home is.

use crate::LinkStore;
use crate::args::{Typed, Verb};
use crate::client::{Answer, CallError, Client, ConnectError, spawn_daemon};
use crate::console::Console;
use crate::failure::Failure;
use crate::process::{Process, TABLE_FIELDS, asked, parse_list};
use pm2::Object;
use pm2::home::Home;
use pm2::rpc::method;
use pm2::schema::Caller;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// One run of the program.
pub(crate) struct Context<'c> {
    pub(crate) program: &'static str,
    pub(crate) typed: Typed,
    pub(crate) console: &'c Console,
    pub(crate) links: &'c dyn LinkStore,
    pub(crate) home: Home,
    pub(crate) cwd: PathBuf,
    /// No spawn messages, no banner.
    pub(crate) discreet: bool,
    /// Ids of the processes that this run started or restarted, for `--attach`.
    pub(crate) acted_on: RefCell<BTreeSet<u32>>,
}

/// A variable of the environment, if it is set to something.
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl<'c> Context<'c> {
    pub(crate) fn new(
        program: &'static str,
        typed: Typed,
        console: &'c Console,
        links: &'c dyn LinkStore,
    ) -> Result<Context<'c>, Failure> {
        let cwd = std::env::current_dir().map_err(Failure::file("finding the working directory", "."))?;
        // Only asked for when HOME does not say it.
        let user_home = var("HOME")
            .is_none()
            .then(os::users::current)
            .flatten()
            .map(|user| user.home);
        let mut home = Home::resolve(|name| std::env::var(name).ok(), &cwd, user_home.as_deref());
        let development = typed.verb == Some(Verb::Dev);
        if development && var("PM2_HOME").is_none() && var("OVER_HOME").is_none() {
            // Not among what runs for good.
            home = Home::at(&home.root.with_file_name(".pm2-dev"), |name| {
                std::env::var(name).ok()
            });
        }
        let discreet = var("PM2_DISCRETE_MODE").is_some()
            || var("PM2_SILENT").is_some()
            || typed.on("silent")
            || matches!(typed.verb, Some(Verb::Runtime | Verb::Dev));
        Ok(Context {
            program,
            typed,
            console,
            links,
            home,
            cwd,
            discreet,
            acted_on: RefCell::default(),
        })
    }

    /// Connects; starts a daemon if there is none.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        match Client::connect(&self.home) {
            Ok(client) => Ok(client),
            Err(ConnectError::NotRunning(_)) => {
                crate::home::prepare(&self.home)?;
                crate::home::greet(self);
                if !self.discreet {
                    self.console.info(format_args!(
                        "Spawning PM2 daemon with pm2_home={}",
                        self.home.root.display()
                    ));
                    self.console.flush();
                }
                spawn_daemon(&self.home)?;
                if !self.discreet {
                    self.console.info("PM2 Successfully daemonized");
                }
                let mut client = Client::connect(&self.home)?;
                crate::modules::start_all(self, &mut client)?;
                Ok(client)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Connects only if a daemon is there.
    pub(crate) fn client_if_running(&self) -> Result<Option<Client>, Failure> {
        match Client::connect(&self.home) {
            Ok(client) => Ok(Some(client)),
            Err(ConnectError::NotRunning(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Facts about the caller, for the resolution of apps.
    pub(crate) fn caller(&self) -> Caller {
        let mut env: Object = std::env::vars_os()
            .map(|(key, value)| {
                (
                    key.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned().into(),
                )
            })
            .collect();
        // PM2's CLI leaves these two in its environment, and apps inherit them.
        env.insert("PM2_USAGE".into(), "CLI".into());
        env.insert(
            "PM2_HOME".into(),
            self.home.root.to_string_lossy().into_owned().into(),
        );
        let user = os::users::current();
        let user_home = var("HOME")
            .map(PathBuf::from)
            .or_else(|| user.as_ref().map(|user| user.home.clone()));
        Caller {
            cwd: self.cwd.clone(),
            env,
            username: user
                .map(|user| user.name)
                .or_else(|| var("USER"))
                .unwrap_or_else(|| "unknown".into()),
            user_home: user_home.unwrap_or_else(|| PathBuf::from("/")),
            is_root: os::users::effective_ids().0 == 0,
            home: self.home.clone(),
            km_link: false,
            module_conf: crate::home::module_conf(&self.home),
        }
    }

    /// Remembers the processes that a `prepare` made, and says how many they are.
    pub(crate) fn note_started(&self, answer: &Answer) -> usize {
        match parse_list(answer.json(), Some(&[])) {
            Ok(list) if !list.is_empty() => {
                let ids = list.iter().map(|process| process.pm_id);
                self.acted_on.borrow_mut().extend(ids);
                list.len()
            }
            // A daemon of another make may say it otherwise.
            _ => {
                let value = answer.to_value();
                self.note_ids(&value);
                value.as_array().map_or(1, Vec::len)
            }
        }
    }

    /// Remembers the processes of a parsed answer.
    pub(crate) fn note_ids(&self, answer: &serde_json::Value) {
        let ids = answer.as_array().into_iter().flatten().filter_map(|process| {
            let id = process
                .get("pm_id")
                .or_else(|| process.get("pm2_env").and_then(|env| env.get("pm_id")));
            id.and_then(pm2::rpc::process_id)
        });
        self.acted_on.borrow_mut().extend(ids);
    }

    /// The absolute path that a target would be as a file.
    pub(crate) fn as_script(&self, target: &str) -> String {
        pm2::home::clean(&self.cwd.join(target))
            .to_string_lossy()
            .into_owned()
    }
}

impl Client {
    /// The list with the fields of the table, and of a target's resolution.
    pub(crate) fn table_list(&mut self) -> Result<Vec<Process>, Failure> {
        let mut keep = TABLE_FIELDS.to_vec();
        keep.extend([
            "pm_exec_path",
            "cron_restart",
            "pm_out_log_path",
            "pm_log_path",
            "axm_options",
            "axm_actions",
        ]);
        self.list(Some(&keep))
    }

    /// The list with these fields of `pm2_env`; `None`: all.
    pub(crate) fn list(&mut self, keep: Option<&[&str]>) -> Result<Vec<Process>, Failure> {
        let pending = self.begin(method::GET_MONITOR_DATA, &(asked(keep),))?;
        Ok(parse_list(&self.finish_raw(&pending)?, keep)?)
    }

    /// Sends a call whose answer nobody needs; the order on the wire is what matters.
    pub(crate) fn tell<T: serde::Serialize + ?Sized>(
        &mut self,
        method: &str,
        args: &T,
    ) -> Result<(), CallError> {
        self.begin(method, args).map(|_| ())
    }
}
