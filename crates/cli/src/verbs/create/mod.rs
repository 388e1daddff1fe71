//! `create`: a first project in a new folder, started.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::prompt;
use std::path::Path;

/// A project to begin with.
struct Project {
    name: &'static str,
    what: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const PROJECTS: &[Project] = &[
    Project {
        name: "http",
        what: "a web server in Node with a health check",
        files: &[
            ("server.js", include_str!("http.js")),
            ("ecosystem.config.js", include_str!("http.config.js")),
        ],
    },
    Project {
        name: "cluster",
        what: "the same on all processors, replaced without a refused connection",
        files: &[
            ("server.js", include_str!("http.js")),
            ("ecosystem.config.js", include_str!("cluster.config.js")),
        ],
    },
    Project {
        name: "worker",
        what: "a job in Node that is done again and again",
        files: &[
            ("worker.js", include_str!("worker.js")),
            ("ecosystem.config.js", include_str!("worker.config.js")),
        ],
    },
    Project {
        name: "python",
        what: "a web server in Python whose socket the manager holds",
        files: &[
            ("server.py", include_str!("server.py")),
            ("ecosystem.config.js", include_str!("python.config.js")),
        ],
    },
];

pub(crate) fn create(context: &Context<'_>) -> Result<Then, Failure> {
    let operands = &context.typed.operands;
    let project = match operands.first() {
        Some(typed) => project(typed)?,
        None => {
            for (at, project) in PROJECTS.iter().enumerate() {
                context
                    .console
                    .say(format_args!("  {}) {:<8} {}", at + 1, project.name, project.what));
            }
            let chosen = prompt::line(context, "Which one? [number or name] ")?;
            project(chosen.as_deref().unwrap_or_default())?
        }
    };
    let folder = context
        .cwd
        .join(operands.get(1).map_or(project.name, String::as_str));
    write(project, &folder)?;
    context.console.info(format_args!(
        "Project {} written to {}",
        project.name,
        folder.display()
    ));
    let config = project.files.last().map_or("", |(name, _)| *name);
    let target = folder.join(config).to_string_lossy().into_owned();
    super::start::start_targets(context, &mut context.client()?, &[target])?;
    Ok(Then::List)
}

/// By its name, or its place in the list.
fn project(typed: &str) -> Result<&'static Project, Failure> {
    let by_place = || PROJECTS.get(typed.parse::<usize>().ok()?.checked_sub(1)?);
    PROJECTS
        .iter()
        .find(|project| project.name == typed)
        .or_else(by_place)
        .ok_or_else(|| {
            let names: Vec<&str> = PROJECTS.iter().map(|project| project.name).collect();
            let typed = if typed.is_empty() { "nothing" } else { typed };
            Failure::Error(format!("{typed} is no project; there are: {}", names.join(", ")))
        })
}

/// Into a folder that is not there yet: nobody's work is overwritten.
fn write(project: &Project, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir(folder).map_err(Failure::file("making the folder", folder))?;
    for (name, text) in project.files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Failure::file("writing", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_chosen_by_name_and_place() {
        assert_eq!(project("3").map(|p| p.name).ok(), Some("worker"));
        assert_eq!(project("python").map(|p| p.name).ok(), Some("python"));
        for wrong in ["", "0", "9", "rust"] {
            assert!(project(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&PROJECTS[0], dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
