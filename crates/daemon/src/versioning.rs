//! What the repository of an app says: revision, branch, remote. Only where the daemon was told to look (`PM2_ENABLE_GIT_PARSING`), and only
//! for apps that allow it (`vizion`). The user's own `git` is asked, beside the loop and at each launch; its answers come as an event.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use supervisor::{Incarnation, ProcId};
use tokio::io::AsyncReadExt;

use crate::event::Event;
use crate::owner::Daemon;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that is longer is cut short.
const LONGEST: u64 = 64 * 1024;
/// Tags that are shown.
const TAGS: usize = 10;

impl Daemon {
    /// Find out which revision is about to run.
    pub(crate) fn look_up_versioning(&mut self, id: ProcId, incarnation: Incarnation) {
        if !self.settings.git_parsing {
            return;
        }
        let Some(app) = self.apps.get_mut(&id) else { return };
        if app.env.flag("vizion") == Some(false) {
            app.env.unset("versioning");
            return;
        }
        let Some(folder) = Path::new(app.env.exec_path()).parent().map(PathBuf::from) else {
            return;
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let versioning = look(&folder).await;
            let event = Event::Versioning {
                id,
                incarnation,
                versioning,
            };
            let _ = events.send(event).await;
        });
    }

    /// The answers have come.
    pub(crate) fn told_versioning(
        &mut self,
        id: ProcId,
        incarnation: Incarnation,
        versioning: Option<Value>,
    ) {
        if self.sup.owner_of(incarnation) != Some(id) {
            return;
        }
        let Some(app) = self.apps.get_mut(&id) else { return };
        match versioning {
            Some(facts) => app.env.set("versioning", facts),
            None => app.env.unset("versioning"),
        }
        self.keep(id);
    }
}

/// The facts that PM2 shows; `None` outside of a repository.
async fn look(folder: &Path) -> Option<Value> {
    let head = git(folder, &["log", "-1", "--pretty=format:%H%x00%cI%x00%B"]).await?;
    let mut parts = head.splitn(3, '\0');
    let (revision, time, comment) = (parts.next()?.trim(), parts.next()?, parts.next()?);
    let line = async |args: &[&str]| {
        git(folder, args)
            .await
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let lines = async |args: &[&str]| -> Vec<String> {
        let text = git(folder, args).await.unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let branch = line(&["rev-parse", "--abbrev-ref", "HEAD"]).await;
    let remotes = lines(&["remote"]).await;
    let remote = remotes.iter().find(|name| *name == "origin").or(remotes.first());
    let url = match remote {
        Some(remote) => line(&["config", "--get", &format!("remote.{remote}.url")]).await,
        None => None,
    };
    let upstream = match (remote, &branch) {
        (Some(remote), Some(branch)) => {
            line(&[
                "rev-parse",
                "--verify",
                "--quiet",
                &format!("refs/remotes/{remote}/{branch}"),
            ])
            .await
        }
        _ => None,
    };
    let (mut ahead, mut next) = (upstream.is_none(), None);
    if let Some(upstream) = &upstream {
        ahead = line(&["rev-list", "--count", &format!("{upstream}..HEAD")])
            .await
            .is_some_and(|count| count != "0");
        let newer = lines(&[
            "rev-list",
            "--ancestry-path",
            "--reverse",
            &format!("HEAD..{upstream}"),
        ])
        .await;
        next = newer.into_iter().next();
    }
    let changed = !lines(&["diff", "--name-only"]).await.is_empty();
    let mut tags = lines(&["tag", "--sort=-creatordate"]).await;
    tags.truncate(TAGS);
    Some(json!({
        "type": "git",
        "url": url,
        "revision": revision,
        "comment": comment,
        "unstaged": changed,
        "branch": branch,
        "remotes": remotes,
        "remote": remote,
        "branch_exists_on_remote": upstream.is_some(),
        "ahead": ahead,
        "next_rev": next,
        "prev_rev": line(&["rev-parse", "--verify", "--quiet", "HEAD~1"]).await,
        "update_time": time,
        "tags": tags,
        "repo_path": folder,
    }))
}

/// Asks git; `None` if it refuses or takes too long.
async fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(args)
        // Nothing is asked of anybody, and nothing is written.
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let asked = async {
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut answer = Vec::new();
        child
            .stdout
            .take()?
            .take(LONGEST)
            .read_to_end(&mut answer)
            .await
            .ok()?;
        let ended = child.wait().await.ok()?;
        ended
            .success()
            .then(|| String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, args: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).args([
            "-c",
            "user.name=n",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
        ]);
        assert!(
            git.args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    }

    #[tokio::test]
    async fn what_a_repository_says() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, repo) = (dir.path().join("origin"), dir.path().join("repo"));
        assert_eq!(look(dir.path()).await, None);
        for folder in [&origin, &repo] {
            std::fs::create_dir(folder).unwrap();
        }
        run(&origin, &["init", "--bare", "-q"]);
        run(&repo, &["init", "-q"]);
        for text in ["first", "second\n\nbody", "third"] {
            std::fs::write(repo.join("a"), text).unwrap();
            run(&repo, &["add", "."]);
            run(&repo, &["commit", "-qm", text]);
        }
        let alone = look(&repo).await.unwrap();
        assert_eq!(
            (&alone["url"], &alone["remotes"], &alone["ahead"]),
            (&Value::Null, &json!([]), &json!(true))
        );
        run(&repo, &["remote", "add", "origin", origin.to_str().unwrap()]);
        run(&repo, &["push", "-q", "origin", "HEAD"]);
        run(&repo, &["tag", "v1"]);
        let newest = look(&repo).await.unwrap();
        run(&repo, &["reset", "--hard", "HEAD~1"]);
        std::fs::write(repo.join("a"), "changed").unwrap();
        let facts = look(&repo).await.unwrap();
        assert_eq!(facts["next_rev"], newest["revision"]);
        assert_eq!(newest["prev_rev"], facts["revision"]);
        assert_eq!(
            (&newest["ahead"], &newest["next_rev"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(facts["comment"], "second\n\nbody\n");
        assert_eq!(
            (
                &facts["branch"],
                &facts["branch_exists_on_remote"],
                &facts["unstaged"],
                &facts["tags"],
                &facts["type"]
            ),
            (
                &json!("main"),
                &json!(true),
                &json!(true),
                &json!(["v1"]),
                &json!("git")
            )
        );
        assert_eq!(
            (&facts["url"], &facts["repo_path"]),
            (&json!(origin), &json!(repo))
        );
    }
}
