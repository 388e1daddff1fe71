//! `pull`, `backward`, `forward`: another revision of an app's repository, then a reload.
//!
//! The original throws away what was changed in the repository and not committed; here that is refused.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Then;
use super::act::on_target;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::start::Action;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The newest of the remote, or a given revision.
    Pull,
    /// One back.
    Backward,
    /// One on.
    Forward,
}

pub(crate) fn pull(context: &Context<'_>) -> Result<Then, Failure> {
    go(context, Way::Pull)
}

pub(crate) fn backward(context: &Context<'_>) -> Result<Then, Failure> {
    go(context, Way::Backward)
}

pub(crate) fn forward(context: &Context<'_>) -> Result<Then, Failure> {
    go(context, Way::Forward)
}

fn go(context: &Context<'_>, way: Way) -> Result<Then, Failure> {
    let (name, commit) = match context.typed.operands.as_slice() {
        [name, rest @ ..] => (name, rest.first()),
        [] => return Err(Failure::Told),
    };
    let console = context.console;
    let doing = match way {
        Way::Pull => "Updating repository for",
        Way::Backward => "Downgrading to previous commit repository for",
        Way::Forward => "Updating to next commit repository for",
    };
    console.info(format_args!("{doing} process name {name}"));
    let mut client = context.client()?;
    let list = client.list(None)?;
    let Some(process) = list
        .iter()
        .find(|p| p.name == *name || p.pm_id.to_string() == *name)
    else {
        return Err(Failure::Plain(format!(
            "No processes with this name or id : {name}"
        )));
    };
    let Some(repository) = Repository::of(process) else {
        console.info(format_args!("No versioning system found for process {name}"));
        return Ok(Then::Done);
    };
    let Some(target) = repository.target(way, commit.map(String::as_str))? else {
        let text = format!("Already up-to-date or an error occured: {name}");
        if way == Way::Backward {
            return Err(Failure::Plain(text));
        }
        console.info(text);
        return Ok(Then::Done);
    };
    repository.move_to(&target)?;
    console.info(format_args!("Process successfully updated {name}"));
    console.info(format_args!("Current commit {target}"));
    for command in process.env.list("post_update") {
        console.info(format_args!("Running {command}"));
        console.flush();
        let ended = Command::new("sh")
            .arg("-c")
            .arg(&command)
            .current_dir(repository.folder)
            .status();
        let ended = ended.map_err(Failure::file("running post_update in", repository.folder))?;
        if !ended.success() {
            return Err(Failure::Error(format!(
                "post_update: {command}: {ended}; {name} was not reloaded and runs on with the former code"
            )));
        }
    }
    on_target(context, &mut client, Action::Reload, name)?;
    Ok(Then::Done)
}

struct Repository<'p> {
    folder: &'p Path,
    remote: Option<&'p str>,
    branch: Option<&'p str>,
}

impl<'p> Repository<'p> {
    fn of(process: &'p Process) -> Option<Self> {
        let facts = process.env.object("versioning")?;
        let text = |key: &str| {
            facts
                .get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.starts_with('-'))
        };
        Some(Self {
            folder: Path::new(text("repo_path")?),
            remote: text("remote"),
            branch: text("branch"),
        })
    }

    /// The revision to go to; `None` if it is there already, or there is none.
    fn target(&self, way: Way, commit: Option<&str>) -> Result<Option<String>, Failure> {
        let revision =
            |name: &str| self.ask(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]);
        let upstream = self
            .remote
            .zip(self.branch)
            .map(|(remote, branch)| format!("refs/remotes/{remote}/{branch}"));
        let target = match (way, commit) {
            (Way::Backward, _) => revision("HEAD~1"),
            (Way::Forward, _) => upstream.and_then(|upstream| {
                let newer = self.ask(&[
                    "rev-list",
                    "--ancestry-path",
                    "--reverse",
                    &format!("HEAD..{upstream}"),
                ])?;
                newer.lines().next().map(str::to_owned)
            }),
            (Way::Pull, commit) => {
                if let Some(remote) = self.remote {
                    self.run(&["fetch", "--quiet", remote])?;
                }
                match commit {
                    Some(commit) if commit.starts_with('-') => None,
                    Some(commit) => revision(commit),
                    None => upstream.and_then(|upstream| revision(&upstream)),
                }
            }
        };
        let here = revision("HEAD");
        Ok(target.filter(|target| Some(target) != here.as_ref()))
    }

    fn move_to(&self, revision: &str) -> Result<(), Failure> {
        if self
            .ask(&["status", "--porcelain", "--untracked-files=no"])
            .is_some()
        {
            return Err(Failure::Error(format!(
                "{} has changes that are not committed: commit them, or put them aside with git stash",
                self.folder.display()
            )));
        }
        self.run(&["reset", "--hard", "--quiet", revision])
    }

    /// What git answers, if it is anything.
    fn ask(&self, args: &[&str]) -> Option<String> {
        let output = self.git(args).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    }

    fn run(&self, args: &[&str]) -> Result<(), Failure> {
        let output = self
            .git(args)
            .output()
            .map_err(Failure::file("running git in", self.folder))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Error(format!(
            "git {} in {}: {}",
            args[0],
            self.folder.display(),
            said.trim()
        )))
    }

    fn git(&self, args: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(self.folder)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null());
        git
    }
}
