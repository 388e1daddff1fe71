//! The link's file, for the command line: the agent knows its form, the command line its words.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use agent::checkup::{self, Patient};
use agent::config::{self, AgentFile, LinkArgs, Resolved};
use agent::ports::SetBy;
use agent::{identity, neighbours};
use cli::{Finding, HubAsked, LinkChoice, LinkStore, LinkTyped, State};
use serde_json::Value;

/// Remembers what was stored before, to put it back when the hub refuses.
#[derive(Default)]
pub(crate) struct Links {
    before: RefCell<Option<AgentFile>>,
}

impl LinkStore for Links {
    fn link(&self, home: &Path, typed: &LinkTyped) -> Result<LinkChoice, String> {
        // The agent would send nothing; better that it is said here, at once.
        agent::rules::Rules::load(home).map_err(text)?;
        let before = config::load(home).map_err(text)?;
        let resolved = resolve(typed, before.as_ref())?;
        let file = config::to_file(&resolved.settings, pm2::COMPAT_VERSION, before.clone());
        config::save(home, &file).map_err(text)?;
        self.before.replace(before);
        Ok(choice(&file, Some(&resolved)))
    }

    fn stored(&self, home: &Path) -> Result<Option<LinkChoice>, String> {
        Ok(config::load(home).map_err(text)?.map(|file| choice(&file, None)))
    }

    fn examine(
        &self,
        home: &Path,
        typed: &LinkTyped,
        node_version: &str,
        program: &str,
    ) -> Result<Vec<Finding>, String> {
        let file = config::load(home).map_err(text)?;
        let settings = match (&file, *typed == LinkTyped::default()) {
            // What is stored is what the agent goes by, whatever this environment says.
            (Some(_), true) => {
                let hostname = os::host::Host::read().hostname;
                config::resolve(|_| None, &LinkArgs::default(), file.as_ref(), &hostname).map_err(text)?
            }
            _ => resolve(typed, file.as_ref())?,
        }
        .settings;
        let patient = Patient {
            machine: identity::known(home),
            pm2_version: pm2::COMPAT_VERSION.to_owned(),
            node_version: node_version.to_owned(),
            neighbours: neighbours::of_same_name(home, &settings),
            authorities: Vec::new(),
            settings,
        };
        let facts = checkup::look(&patient)?;
        Ok(checkup::judge(&facts, program).into_iter().map(finding).collect())
    }

    fn neighbours(&self, home: &Path) -> Vec<PathBuf> {
        let hostname = os::host::Host::read().hostname;
        let file = config::load(home).ok().flatten();
        let resolved = config::resolve(|_| None, &LinkArgs::default(), file.as_ref(), &hostname);
        resolved.map_or_else(
            |_| Vec::new(),
            |resolved| neighbours::of_same_name(home, &resolved.settings),
        )
    }

    fn forget(&self, home: &Path) -> Result<bool, String> {
        let was = config::path(home).exists();
        config::delete(home).map_err(text)?;
        Ok(was)
    }

    fn undo(&self, home: &Path) -> Result<(), String> {
        match self.before.take() {
            Some(file) => config::save(home, &file),
            None => config::delete(home),
        }
        .map_err(text)
    }

    fn ask_hub(&self, root: &str, asked: &HubAsked<'_>) -> Result<(u16, Value), String> {
        let ask = agent::Ask {
            root,
            method: asked.method,
            path: asked.path,
            token: asked.token,
            body: asked.body,
        };
        agent::ask(ask, |name| std::env::var(name).ok()).map_err(text)
    }

    fn fields(&self, home: &Path) -> Value {
        agent::seal::shown(home)
    }

    fn hub_root(&self, typed: &str) -> Result<String, String> {
        config::normal_root(typed).map_err(text)
    }
}

/// Finds each setting as `link` does: environment, then what was typed, then what is stored.
fn resolve(typed: &LinkTyped, stored: Option<&AgentFile>) -> Result<Resolved, String> {
    let args = LinkArgs {
        secret: typed.secret.clone(),
        public: typed.public.clone(),
        name: typed.name.clone(),
        info_node: typed.info_node.clone(),
    };
    let hostname = os::host::Host::read().hostname;
    let env = |name: &str| std::env::var(name).ok();
    config::resolve(env, &args, stored, &hostname).map_err(text)
}

fn finding(found: checkup::Finding) -> Finding {
    Finding {
        state: match found.state {
            checkup::State::Well => State::Well,
            checkup::State::Unknown => State::Unknown,
            checkup::State::Warning => State::Warning,
            checkup::State::Broken => State::Broken,
        },
        area: found.area,
        text: found.text,
        mend: found.mend,
    }
}

fn choice(file: &AgentFile, resolved: Option<&Resolved>) -> LinkChoice {
    LinkChoice {
        public_key: file.public_key.clone(),
        public_masked: config::mask(&file.public_key),
        secret_masked: config::mask(&file.secret_key),
        machine_name: file.machine_name.clone(),
        root: file.info_node.clone(),
        reverse: file.reverse_interact,
        origins: resolved.map_or_else(Vec::new, |from| {
            let mut origins = vec![
                ("public key", from.public_from.to_string()),
                ("secret key", from.secret_from.to_string()),
                ("server name", from.name_from.to_string()),
                ("hub address", from.root_from.to_string()),
            ];
            if let (Some(proxy), Some(origin)) = (&from.settings.proxy, from.proxy_from) {
                origins.push(("proxy", format!("{origin}: {proxy}")));
            }
            if let Some(ports) = &from.settings.ports.separate {
                let by = match from.settings.ports.set_by {
                    SetBy::Hub => "the hub",
                    SetBy::Host => "this host",
                };
                origins.push((
                    "ports",
                    format!("{by}: data to {}, commands from {}", ports.push, ports.reverse),
                ));
            }
            origins
        }),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
