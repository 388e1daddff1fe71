//! Programs that do the work of others: npm or bun, tar, curl or wget.

use crate::console::Console;
use crate::failure::Failure;
use crate::start::Machine;
use pm2::schema::Host as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of an answer.
const MAX_ANSWER: &str = "1000000";
/// What is shown of a server's words, characters.
const MAX_WORDS: usize = 500;

/// A program that installs packages.
#[derive(Debug)]
pub(crate) struct Installer {
    path: PathBuf,
    bun: bool,
}

impl Installer {
    /// bun if it is there, as with PM2; else npm.
    pub(super) fn find() -> Result<Installer, Failure> {
        Self::first_of(&["bun", "npm"])
    }

    /// npm if it is there, as PM2 has it for what it installs for itself; else bun.
    pub(crate) fn npm_first() -> Result<Installer, Failure> {
        Self::first_of(&["npm", "bun"])
    }

    fn first_of(names: &[&str]) -> Result<Installer, Failure> {
        let found = names.iter().find_map(|name| {
            let path = Machine.find_program(name)?;
            Some(Installer {
                path,
                bun: *name == "bun",
            })
        });
        found.ok_or_else(|| Failure::Error("installing packages needs npm or bun; neither is in PATH".into()))
    }

    pub(super) fn name(&self) -> &'static str {
        if self.bun { "BUN" } else { "NPM" }
    }

    /// Installs packages below `node_modules` of a folder.
    pub(crate) fn add(&self, packages: &[&str], folder: &Path, console: &Console) -> Result<(), Failure> {
        let mut command = Command::new(&self.path);
        if self.bun {
            command.arg("add").args(packages);
        } else {
            // A folder is copied: a link to it would lead nowhere once it has gone.
            let flags = ["--loglevel=error", "--no-fund", "--no-audit", "--install-links"];
            command
                .arg("install")
                .args(packages)
                .args(flags)
                .arg("--prefix")
                .arg(folder);
        }
        run(command.current_dir(folder), console)
    }

    /// Installs what a package asks for.
    pub(super) fn install(&self, folder: &Path, console: &Console) -> Result<(), Failure> {
        let mut command = Command::new(&self.path);
        command.arg("install").current_dir(folder);
        run(&mut command, console)
    }

    /// Installs a program for all.
    pub(super) fn add_global(&self, package: &str, console: &Console) -> Result<(), Failure> {
        let mut command = Command::new(&self.path);
        command.args(if self.bun {
            ["add", "-g"]
        } else {
            ["install", "-g"]
        });
        run(command.arg(package), console)
    }

    /// Publishes the package in a folder.
    pub(super) fn publish(&self, folder: &Path, console: &Console) -> Result<(), Failure> {
        let mut command = Command::new(&self.path);
        // It may ask for a one-time password.
        command.arg("publish").current_dir(folder).stdin(Stdio::inherit());
        shown(&mut command, console)
    }
}

/// Packs a folder, under the name `module`.
pub(super) fn pack(folder: &Path, into: &Path, console: &Console) -> Result<(), Failure> {
    let mut command = Command::new("tar");
    // What is fetched again by an installation is left out.
    command
        .arg("-czf")
        .arg(into)
        .args(["--exclude=node_modules", "--exclude=.git"])
        .arg(r"--transform=s,^\.,module,")
        .arg("-C")
        .arg(folder)
        .arg(".");
    run(&mut command, console)
}

/// Unpacks into a folder, without the first name of each path.
pub(super) fn unpack(tarball: &Path, into: &Path, console: &Console) -> Result<(), Failure> {
    let mut command = Command::new("tar");
    command
        .arg("-xzf")
        .arg(tarball)
        .args(["--strip-components=1", "--no-same-owner", "-C"])
        .arg(into);
    run(&mut command, console)
}

/// Fetches a file.
pub(super) fn fetch(url: &str, into: &Path, console: &Console) -> Result<(), Failure> {
    let mut command = match (Machine.find_program("curl"), Machine.find_program("wget")) {
        (Some(curl), _) => {
            let mut command = Command::new(curl);
            command.args(["--fail", "--silent", "--show-error", "--location", "--output"]);
            command.arg(into).arg("--").arg(url);
            command
        }
        (None, Some(wget)) => {
            let mut command = Command::new(wget);
            command.args(["--quiet", "-O"]).arg(into).arg("--").arg(url);
            command
        }
        (None, None) => {
            return Err(Failure::Error(format!(
                "fetching {url} needs curl or wget; neither is in PATH"
            )));
        }
    };
    run(&mut command, console)
}

/// Runs git in a folder.
pub(super) fn git(folder: &Path, words: &[&str], console: &Console) -> Result<(), Failure> {
    run(Command::new("git").args(words).current_dir(folder), console)
}

/// A file to be sent as a form.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) url: &'a str,
    /// Name of the field, the file, and its type.
    pub(super) file: (&'a str, &'a Path, &'a str),
    /// Names and texts of the other fields.
    pub(super) fields: &'a [(&'a str, &'a str)],
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The server's own words, if it has some.
    pub(super) fn reason(&self) -> String {
        let body: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let words = body.as_ref().and_then(|body| body.get("msg")?.as_str());
        match words.filter(|words| !words.is_empty()) {
            Some(words) => words
                .chars()
                .filter(|c| !c.is_control())
                .take(MAX_WORDS)
                .collect(),
            None => format!("the registry answered with status {}", self.status),
        }
    }
}

/// Sends a form.
pub(super) fn upload(form: &Upload<'_>) -> Result<Answer, Failure> {
    let Upload { url, file, fields } = form;
    let Some(curl) = Machine.find_program("curl") else {
        return Err(Failure::Error(format!(
            "sending to {url} needs curl, which is not in PATH"
        )));
    };
    let (name, path, kind) = file;
    // Quoted, as curl wants a path that may hold anything.
    let path = path
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let mut command = Command::new(curl);
    command
        .args([
            "--silent",
            "--show-error",
            "--max-filesize",
            MAX_ANSWER,
            "--write-out",
            "\n%{http_code}",
            "--form",
        ])
        .arg(format!("{name}=@\"{path}\";type={kind}"));
    for (name, text) in *fields {
        command.arg("--form-string").arg(format!("{name}={text}"));
    }
    let output = command
        .arg("--")
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::file("running", "curl"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", "0"));
    match status.parse() {
        Ok(status) if status > 0 && output.status.success() => Ok(Answer {
            status,
            body: body.to_owned(),
        }),
        _ => Err(Failure::Error(format!(
            "sending to {url}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Runs a program to its end, without input; what it says is shown.
fn run(command: &mut Command, console: &Console) -> Result<(), Failure> {
    shown(command.stdin(Stdio::null()), console)
}

fn shown(command: &mut Command, console: &Console) -> Result<(), Failure> {
    console.flush();
    let program = command.get_program().to_string_lossy().into_owned();
    let output = if console.is_silent() {
        Stdio::null
    } else {
        Stdio::inherit
    };
    let status = command
        .stdout(output())
        .stderr(output())
        .status()
        .map_err(Failure::file("running", &program))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Error(format!("{program} failed: {status}"))),
    }
}
