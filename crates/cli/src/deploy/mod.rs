//! `deploy`: a git repository on hosts that ssh reaches, in PM2's layout: `source` is the clone, `current` a link to it, `shared` what
//! outlives releases, `.deploys` the list of commits.
//!
//! Each step is one command of a POSIX shell on the host; the first that fails ends the deployment of all.

mod target;

use crate::context::Context;
use crate::failure::Failure;
use crate::start::{Source, config_source, load};
use crate::verbs::Then;
use pm2::js;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use target::{Target, quoted};

/// Where the section is looked for, in this order.
const FILES: [&str; 8] = [
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.mjs",
    "ecosystem.json",
    "ecosystem.json5",
    "ecosystem.yml",
    "ecosystem.yaml",
    "package.json",
];
/// This machine itself: no ssh.
const HERE: &str = "localhost";

const HELP: &str = "
  Deploy a git repository to hosts that ssh reaches.

  Usage: {program} deploy [file] <environment> [command]

  Commands:

    setup                make the folders and the clone
    update               deploy the latest commit of `ref` (also without a command)
    ref <ref>            deploy this branch, tag or commit
    revert [n]           go back by n deployments, 1 by default
    curr[ent]            the commit that is deployed
    prev[ious]           the commit deployed before
    list                 all deployments, the latest first
    exec|run <command>   run a command in the deployed folder
    config [key]         what the file says about the environment

  Examples:

    $ {program} deploy ecosystem.config.js production setup
    $ {program} deploy production
    $ {program} deploy production revert 1
    $ {program} deploy production exec \"{program} reload all\"
";

pub(crate) fn deploy(context: &Context<'_>) -> Result<Then, Failure> {
    let words: Vec<&str> = context.typed.operands.iter().map(String::as_str).collect();
    let help = || {
        context.console.put(HELP.replace("{program}", context.program));
        Ok(Then::Done)
    };
    let (file, rest) = match words.as_slice() {
        [] | ["help", ..] => return help(),
        [first, rest @ ..] if config_source(first).is_some() => ((*first).to_owned(), rest),
        rest => (default_file(context)?, rest),
    };
    let (env_name, command) = match rest {
        [] | ["help", ..] => return help(),
        [env_name, command @ ..] => (*env_name, command),
    };
    let loaded = load(&Source::File(file.clone()))?;
    let section = loaded
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.get(env_name)?.as_object());
    let Some(section) = section else {
        return Err(Failure::Error(format!(
            "{env_name} environment is not defined in {file} file"
        )));
    };
    let failed = |reason: String| Failure::Plain(format!("Deploy failed\n{reason}"));
    if let ["config", key @ ..] = command {
        let shown = key.first().map_or_else(
            || serde_json::to_string_pretty(section).unwrap_or_default(),
            |key| section.get(*key).map(js::to_text).unwrap_or_default(),
        );
        context.console.say(shown);
        return Ok(Then::Done);
    }
    let target = Target::read(section).map_err(failed)?;
    let console = context.console;
    console.say(format_args!("--> Deploying to {env_name} environment"));
    for host in &target.hosts {
        console.say(format_args!("--> on host {host}"));
        let deployment = Deployment {
            context,
            target: &target,
            host,
            file: &file,
            env_name,
        };
        deployment.run(command).map_err(failed)?;
    }
    console.say("--> Success");
    Ok(Then::Done)
}

fn default_file(context: &Context<'_>) -> Result<String, Failure> {
    let found = FILES.iter().find(|file| context.cwd.join(file).exists());
    found.map(|file| (*file).to_owned()).ok_or_else(|| {
        Failure::Error(format!(
            "no configuration file is in {}; name one, or write one by `{} init`",
            context.cwd.display(),
            context.program
        ))
    })
}

/// One environment on one host.
struct Deployment<'d> {
    context: &'d Context<'d>,
    target: &'d Target,
    host: &'d str,
    file: &'d str,
    env_name: &'d str,
}

impl Deployment<'_> {
    fn run(&self, command: &[&str]) -> Result<(), String> {
        match command {
            ["setup", ..] => self.setup(),
            [] | ["update", ..] => self.release(&self.target.reference, true),
            ["ref"] => Err("ref: say which".into()),
            ["ref", reference, ..] => self.release(reference, true),
            ["revert", rest @ ..] => self.revert(rest.first().copied().unwrap_or("1")),
            ["curr" | "current", ..] => self.remote(&format!(
                "cd {} && git rev-parse --short HEAD",
                self.target.below("/source")
            )),
            ["prev" | "previous", ..] => {
                let commit = self.earlier(1)?;
                self.context.console.say(commit);
                Ok(())
            }
            ["exec" | "run"] => Err("exec: say which command".into()),
            ["exec" | "run", command, ..] => {
                self.remote(&format!("cd {} && {command}", self.target.below("/current")))
            }
            ["list", ..] => self.remote(&format!(
                "test -f {deploys} && awk '{{ line[NR] = $0 }} END {{ for (n = NR; n > 0; n--) printf \"%d\\t%s\\n\", NR - n, line[n] }}' {deploys}",
                deploys = self.target.below("/.deploys")
            )),
            // As the original does: what is no command is the latest of `ref`, too.
            _ => self.release(&self.target.reference, true),
        }
    }

    fn setup(&self) -> Result<(), String> {
        let target = self.target;
        self.pre_setup()?;
        self.tell("running setup");
        self.remote(&format!(
            "mkdir -p {} {} {}",
            target.below("/shared/logs"),
            target.below("/shared/pids"),
            target.below("/source")
        ))
        .map_err(|_| "setup paths failed".to_owned())?;
        self.tell(&format!("cloning {}", target.repo));
        self.tell(if target.fast { "fast fetch" } else { "full fetch" });
        let depth = if target.fast { "--depth=5 " } else { "" };
        self.remote(&format!(
            "git clone {depth}--branch {} -- {} {}",
            quoted(target.branch()),
            quoted(&target.repo),
            target.below("/source")
        ))
        .map_err(|_| "failed to clone".to_owned())?;
        self.link()?;
        self.hook("post-setup", false)?;
        self.tell("setup complete");
        Ok(())
    }

    /// A command for the host, or the name of a script here, which is run there.
    fn pre_setup(&self) -> Result<(), String> {
        let Some(hook) = self.target.hook("pre-setup") else {
            self.tell("hook pre-setup");
            return Ok(());
        };
        self.tell(&format!("executing pre-setup `{hook}`"));
        let script = self.context.cwd.join(hook);
        let done = if Path::new(&script).is_file() {
            let text = std::fs::read(&script).map_err(|error| format!("reading {hook}: {error}"))?;
            self.shell("sh", Some(&text))
        } else {
            self.remote(hook)
        };
        done.map_err(|reason| format!("pre-setup hook failed: {reason}"))
    }

    fn release(&self, reference: &str, fresh: bool) -> Result<(), String> {
        let target = self.target;
        if fresh && !self.context.typed.on("force") {
            self.local_is_published()?;
        }
        self.tell(&format!("deploying {reference}"));
        self.tell("executing pre-deploy-local");
        if let Some(hook) = target.hook("pre-deploy-local") {
            self.local(hook)
                .map_err(|reason| format!("pre-deploy-local hook failed: {reason}"))?;
        }
        self.hook("pre-deploy", false)?;
        self.tell("fetching updates");
        self.tell(if target.fast { "fast fetch" } else { "full fetch" });
        let depth = if target.fast { "--depth=5 " } else { "" };
        self.remote(&format!(
            "cd {} && git fetch {depth}--all --tags",
            target.below("/source")
        ))
        .map_err(|_| "fetch failed".to_owned())?;
        self.tell(&format!("resetting HEAD to {reference}"));
        self.remote(&format!(
            "cd {source} && if git rev-parse --verify --quiet refs/remotes/{remote} >/dev/null; then git reset --hard refs/remotes/{remote}; else git reset --hard {commit}; fi",
            source = target.below("/source"),
            remote = quoted(&format!("origin/{}", reference.strip_prefix("origin/").unwrap_or(reference))),
            commit = quoted(reference),
        ))
        .map_err(|_| "git reset failed".to_owned())?;
        self.link()?;
        self.remote(&format!(
            "cd {} && git rev-parse --short HEAD >> {}",
            target.below("/source"),
            target.below("/.deploys")
        ))
        .map_err(|_| "noting the deployment failed".to_owned())?;
        let default = format!(
            "pm2 startOrRestart {} --env {}",
            quoted(self.file),
            quoted(self.env_name)
        );
        let hook = target.hook("post-deploy").unwrap_or(&default);
        self.tell(&format!("executing post-deploy `{hook}`"));
        self.remote(&target.hook_script(hook, true))
            .map_err(|reason| format!("post-deploy hook failed: {reason}"))?;
        self.tell(&format!("successfully deployed {reference}"));
        Ok(())
    }

    fn revert(&self, back: &str) -> Result<(), String> {
        let back: u32 = back.parse().map_err(|_| format!("revert {back}: say a number"))?;
        self.tell(&format!("reverting {back} deploy(s)"));
        let commit = self.earlier(back)?;
        self.release(&commit, false)
    }

    /// The commit of some deployments ago.
    fn earlier(&self, back: u32) -> Result<String, String> {
        let line = back.saturating_add(1);
        let script = format!(
            "test -f {deploys} && test $(wc -l < {deploys}) -ge {line} && tail -n {line} {deploys} | head -n 1 | cut -d ' ' -f 1",
            deploys = self.target.below("/.deploys")
        );
        let output = self
            .command(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| error.to_string())?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // It becomes part of a command.
        let proper = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_hexdigit());
        match output.status.success() && proper {
            true => Ok(commit),
            false => Err(format!("there are not {line} deployments yet")),
        }
    }

    fn link(&self) -> Result<(), String> {
        self.remote(&format!(
            "ln -sfn {} {}",
            self.target.below("/source"),
            self.target.below("/current")
        ))
        .map_err(|_| "symlink failed".to_owned())
    }

    fn hook(&self, name: &str, with_env: bool) -> Result<(), String> {
        let Some(hook) = self.target.hook(name) else {
            self.tell(&format!("hook {name}"));
            return Ok(());
        };
        self.tell(&format!("executing {name} `{hook}`"));
        self.remote(&self.target.hook_script(hook, with_env))
            .map_err(|reason| format!("{name} hook failed: {reason}"))
    }

    /// What is deployed comes from the repository: changes that are only here would not be in it.
    fn local_is_published(&self) -> Result<(), String> {
        let git = |args: &[&str]| {
            let output = Command::new("git")
                .args(args)
                .current_dir(&self.context.cwd)
                .stdin(Stdio::null())
                .output();
            output.ok().filter(|output| output.status.success())
        };
        let text = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if git(&["rev-parse", "--is-inside-work-tree"]).is_none() {
            return Ok(());
        }
        if git(&["diff", "--quiet", "HEAD"]).is_none() {
            return Err("commit or stash your changes before deploying".into());
        }
        match git(&["rev-list", "--count", "@{upstream}..HEAD"]).map(text) {
            Some(count) if count != "0" => Err("push your changes before deploying".into()),
            _ => Ok(()),
        }
    }

    /// Runs a command on the host; what it prints is shown.
    fn remote(&self, script: &str) -> Result<(), String> {
        self.shell(script, None)
    }

    fn local(&self, script: &str) -> Result<(), String> {
        self.finish(
            Command::new("sh")
                .args(["-c", script])
                .current_dir(&self.context.cwd),
            None,
        )
    }

    fn shell(&self, script: &str, input: Option<&[u8]>) -> Result<(), String> {
        self.finish(&mut self.command(script), input)
    }

    fn command(&self, script: &str) -> Command {
        if self.host == HERE {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            return command;
        }
        let mut command = Command::new("ssh");
        command.args(self.target.ssh_words(self.host)).arg(script);
        command
    }

    fn finish(&self, command: &mut Command, input: Option<&[u8]>) -> Result<(), String> {
        self.context.console.flush();
        let program = command.get_program().to_string_lossy().into_owned();
        let stdin = if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::inherit()
        };
        let mut child = command
            .stdin(stdin)
            .spawn()
            .map_err(|error| format!("running {program}: {error}"))?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            // One that does not read its script to the end says why by its exit.
            let _ = stdin.write_all(text);
        }
        let status = child
            .wait()
            .map_err(|error| format!("waiting for {program}: {error}"))?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{status}")),
        }
    }

    fn tell(&self, step: &str) {
        self.context.console.say(format_args!("  ○ {step}"));
    }
}
