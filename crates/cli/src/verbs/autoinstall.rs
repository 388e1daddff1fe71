//! `autoinstall`: services that run on this machine, and the modules that watch them.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::Path;

/// A program, what it is, and the package of npm that watches it. Only packages that are there.
const SERVICES: &[(&str, &str, &str)] = &[
    ("mongod", "MongoDB", "pm2-mongodb"),
    ("mysqld", "MySQL", "pm2-mysql"),
    ("mariadbd", "MariaDB", "pm2-mysql"),
    ("elasticsearch", "Elasticsearch", "pm2-elasticsearch"),
];

pub(crate) fn autoinstall(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let found = found(&programs());
    if found.is_empty() {
        let known: Vec<&str> = SERVICES.iter().map(|(_, name, _)| *name).collect();
        console.info(format_args!(
            "No service runs here that a module of npm watches (known are {})",
            known.join(", ")
        ));
        return Ok(Then::Done);
    }
    for (module, service) in &found {
        console.info(format_args!(
            "{service} runs here: {} install {module}",
            context.program
        ));
    }
    if !context.typed.on("yes") {
        console.info(format_args!(
            "{} autoinstall --yes installs them",
            context.program
        ));
        return Ok(Then::Done);
    }
    for module in found.keys() {
        crate::modules::install_package(context, module)?;
    }
    Ok(Then::List)
}

/// Names of the programs of all processes.
fn programs() -> Vec<String> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(os::proc::command_line)
        .filter_map(|line| {
            // Elasticsearch is a class that Java runs.
            let known = line.contains("org.elasticsearch").then_some("elasticsearch");
            let program = Path::new(line.split(' ').next()?).file_name()?.to_str()?;
            Some(known.unwrap_or(program).to_owned())
        })
        .collect()
}

/// Modules, and the service that each is for.
fn found(programs: &[String]) -> BTreeMap<&'static str, &'static str> {
    SERVICES
        .iter()
        .filter(|(program, ..)| programs.iter().any(|name| name == program))
        .map(|(_, service, module)| (*module, *service))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_their_programs() {
        let programs = ["bash", "mongod", "node"].map(str::to_owned);
        assert_eq!(
            found(&programs).into_iter().collect::<Vec<_>>(),
            [("pm2-mongodb", "MongoDB")]
        );
        assert!(found(&[]).is_empty());
        // Whoever runs this is among them.
        assert!(!super::programs().is_empty());
    }
}
