//! Limits of resources: each limited process runs in a cgroup of its own, which is made before it and removed after it.
//!
//! Where cgroups can't be had, an app runs without its limits, and that is told once in the log, and with the app for as long as it
//! is so.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use os::cgroup;
use pm2::env::LimitsShown;
use pm2::limits::Limits;
use supervisor::{Incarnation, ProcId};

use crate::owner::Daemon;

/// Where keeper, daemon and apps without limits are, once others beside them have controllers: a cgroup with processes can have no
/// children with controllers.
const MANAGER: &str = "pilothouse-manager";
/// Begins the name of the cgroup that root makes where none was delegated.
const OWN: &str = "pilothouse-";
/// Processes that begin while the others are moved are moved the next time.
const MOVES: usize = 10;
/// Of the name of an app, in the name of its cgroup.
const NAME_CHARS: usize = 64;

/// The cgroups of limited processes.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// The folder that they are made in, once there is one.
    base: Option<PathBuf>,
    /// Processes are still in these although their life is over.
    leftover: Vec<PathBuf>,
    told: BTreeSet<String>,
}

/// What became of the wish for limits.
#[derive(Debug)]
struct Made {
    door: OwnedFd,
    /// Keys that could not be set, and why.
    trouble: Option<String>,
}

impl Cgroups {
    fn make(&mut self, home: &Path, name: &str, limits: &Limits) -> Result<Made, String> {
        let settings = limits.settings();
        let wanted: BTreeSet<&str> = settings.iter().map(|setting| setting.controller).collect();
        let base = match &self.base {
            Some(base) => base.clone(),
            None => find_base(home)?,
        };
        let mut missing = Vec::new();
        for controller in &wanted {
            if let Err(reason) = give(&base, controller) {
                missing.push(format!("controller {controller} is not to be had ({reason})"));
            }
        }
        self.base = Some(base.clone());
        if missing.len() == wanted.len() {
            return Err(missing.join(", "));
        }
        let given = cgroup::given_to_children(&base).map_err(|error| error.to_string())?;
        let folder = base.join(name);
        cgroup::make(&folder).map_err(|error| error.to_string())?;
        for setting in settings {
            if given.iter().any(|controller| controller == setting.controller)
                && let Err(error) = cgroup::set(&folder, setting.file, &setting.value)
            {
                missing.push(format!("{}: {error}", setting.key));
            }
        }
        match cgroup::door(&folder) {
            Ok(door) => Ok(Made {
                door,
                trouble: (!missing.is_empty()).then(|| missing.join(", ")),
            }),
            Err(error) => {
                self.remove(folder);
                Err(error.to_string())
            }
        }
    }

    /// A life is over. What it left behind may still run; its cgroup goes when that has ended.
    pub(crate) fn remove(&mut self, cgroup: PathBuf) {
        self.leftover.push(cgroup);
        self.leftover.retain(|cgroup| {
            let removed = cgroup::remove(cgroup);
            removed.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        });
    }

    /// Remove what a former daemon left, where nothing runs any more.
    pub(crate) fn sweep(&self, home: &Path) {
        let Some(base) = self.base.clone().or_else(|| base_of(home)) else {
            return;
        };
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            if is_name(&entry.file_name().to_string_lossy()) {
                // One with processes can't be removed, which is the point.
                let _ = cgroup::remove(&entry.path());
            }
        }
    }
}

impl Daemon {
    /// Make the cgroup of a life that is about to begin. `None`: it has no limits, or they can't be held.
    pub(crate) fn cgroup_for(&mut self, id: ProcId, incarnation: Incarnation) -> Option<OwnedFd> {
        let app = self.apps.get_mut(&id)?;
        app.limits_trouble = None;
        let limits = app.env.limits()?;
        let name = name_of(app.env.name(), id, incarnation);
        let made = if self.keeper.knows_cgroups() {
            self.cgroups.make(&self.home.root, &name, &limits)
        } else {
            Err("the keeper is of an older release; the verb update renews it".into())
        };
        let (door, trouble) = match made {
            Ok(made) => (Some(made.door), made.trouble),
            Err(reason) => (None, Some(reason)),
        };
        if let Some(trouble) = trouble {
            let extent = if door.is_some() { "some limits" } else { "limits" };
            if self.cgroups.told.insert(trouble.clone()) {
                let label = format!("{}:{}", app.env.name(), id.0);
                app.limits_trouble = Some(trouble.clone());
                self.complain(&format!("App [{label}] runs without {extent}: {trouble}"));
            } else {
                app.limits_trouble = Some(trouble);
            }
        }
        door
    }

    /// The cgroup that was made for a life.
    pub(crate) fn cgroup_of_life(&self, id: ProcId, incarnation: Incarnation) -> Option<PathBuf> {
        let env = &self.apps.get(&id)?.env;
        env.limits()?;
        let base = self.cgroups.base.clone().or_else(|| base_of(&self.home.root))?;
        let folder = base.join(name_of(env.name(), id, incarnation));
        folder.is_dir().then_some(folder)
    }

    /// What is shown of the limits of an app, if it has some.
    pub(crate) fn shown_limits(&self, id: ProcId) -> Option<LimitsShown<'_>> {
        let app = self.apps.get(&id)?;
        app.env.limits()?;
        let incarnation = self.sup.view(id).and_then(|view| view.incarnation);
        let life = incarnation.and_then(|incarnation| self.lives.get(&incarnation));
        let cgroup = life.and_then(|life| life.cgroup.as_deref()?.to_str());
        let unheld = life
            .filter(|_| cgroup.is_none())
            .map(|_| "this process was started without them; a restart applies them");
        Some(LimitsShown {
            cgroup,
            trouble: app.limits_trouble.as_deref().or(unheld),
        })
    }
}

/// `api.0.123456`: the number of a life is never given twice.
fn name_of(app: &str, id: ProcId, incarnation: Incarnation) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let app: String = app
        .chars()
        .take(NAME_CHARS)
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    format!("{app}.{}.{}", id.0, incarnation.0)
}

fn is_name(name: &str) -> bool {
    let number = |text: Option<&str>| text.is_some_and(|text| text.parse::<u64>().is_ok());
    let mut parts = name.rsplit('.');
    number(parts.next()) && number(parts.next()) && parts.next().is_some()
}

/// The folder that limited cgroups are made in, with everything ready but controllers.
fn find_base(home: &Path) -> Result<PathBuf, String> {
    let place = cgroup::place().ok_or("no hierarchy of cgroup v2 is mounted")?;
    if let Some(base) = settled(&place) {
        return Ok(base);
    }
    let text = |error: io::Error| error.to_string();
    // The whole of a container belongs to it as a delegated part does.
    let whole = place.own == place.top && !cgroup::is_root(&place.top);
    if whole || cgroup::is_delegated(&place.own) {
        let manager = place.own.join(MANAGER);
        cgroup::make(&manager).map_err(text)?;
        for _ in 0..MOVES {
            let members = cgroup::members(&place.own).map_err(text)?;
            if members.is_empty() {
                return Ok(place.own);
            }
            for pid in members {
                // One that has ended meanwhile need not be moved; one that may not be is found the next time.
                let moved = cgroup::take_in(&manager, pid);
                if let Err(error) = moved
                    && os::process::exists(pid)
                {
                    return Err(text(error));
                }
            }
        }
        return Err(format!("{} does not get empty", place.own.display()));
    }
    if os::users::effective_ids().0 == 0 {
        let base = own_base(&place.top, home);
        cgroup::make(&base).map_err(text)?;
        return Ok(base);
    }
    Err(format!(
        "the cgroup {} is not delegated to this user; start the daemon by a unit with Delegate=yes, such as startup writes",
        place.own.display()
    ))
}

/// A controller for the children of the base.
fn give(base: &Path, controller: &str) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let has = |folder: &Path| -> Result<bool, String> {
        let given = cgroup::given_to_children(folder).map_err(text)?;
        Ok(given.iter().any(|name| name == controller))
    };
    if has(base)? {
        return Ok(());
    }
    // What root made at the top has its controllers from there.
    let own = base
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(OWN));
    if let Some(above) = base.parent().filter(|_| own)
        && !has(above)?
    {
        cgroup::give_to_children(above, controller).map_err(text)?;
    }
    cgroup::give_to_children(base, controller).map_err(text)
}

/// The base, if a daemon has already settled in its delegated cgroup.
fn settled(place: &cgroup::Place) -> Option<PathBuf> {
    let above = place.own.parent()?;
    (place.own.file_name()? == MANAGER).then(|| above.to_owned())
}

/// The base as a former daemon of this home found it, without changing anything.
fn base_of(home: &Path) -> Option<PathBuf> {
    let place = cgroup::place()?;
    settled(&place).or_else(|| Some(own_base(&place.top, home)).filter(|base| base.is_dir()))
}

/// Each home has its own.
fn own_base(top: &Path, home: &Path) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let home: String = home.to_string_lossy().chars().map(plain).collect();
    let tail = home.len().saturating_sub(200);
    top.join(format!("{OWN}{}", home[tail..].trim_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cgroups() {
        let name = name_of("a/b ü.c", ProcId(3), Incarnation(77));
        assert_eq!(name, "a_b___c.3.77");
        assert!(is_name(&name));
        for other in ["system.slice", MANAGER, "x.3", "3.4", "a.b.4"] {
            assert!(!is_name(other), "{other}");
        }
        assert_eq!(
            own_base(Path::new("/sys/fs/cgroup"), Path::new("/root/.pm2")),
            Path::new("/sys/fs/cgroup/pilothouse-root--pm2")
        );
    }
}
