//! `serve`: a folder over HTTP.

use super::Then;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::process::Process;
use crate::start::site::{PORT, Site, run_server};
use crate::start::{options, start_or_restart};
use pm2::Object;
use pm2::schema::check;

pub(crate) fn serve(context: &Context<'_>) -> Result<Then, Failure> {
    let typed = &context.typed;
    // As in PM2, what the environment says goes before what was typed.
    let folder = var("PM2_SERVE_PATH").or_else(|| typed.operands.first().cloned());
    let folder = folder.unwrap_or_else(|| ".".into());
    let path = pm2::home::clean(&context.cwd.join(folder));
    if !path.is_dir() {
        return Err(Failure::Error(format!(
            "serving {}: there is no such folder",
            path.display()
        )));
    }
    let port = var("PM2_SERVE_PORT")
        .or_else(|| typed.operands.get(1).cloned())
        .or_else(|| typed.text("port").map(str::to_owned));
    let port = port.unwrap_or_else(|| PORT.into());
    if port.parse::<u16>().is_err() {
        return Err(Failure::Error(format!(
            "serving {}: {port} is no port; say a number from 0 to 65535",
            path.display()
        )));
    }
    let site = Site {
        path: Some(path.to_string_lossy().into_owned()),
        port: Some(port.as_str().into()),
        host: typed.text("host").map(str::to_owned),
        spa: typed.on("spa"),
        listing: typed.on("ftp"),
        credentials: credentials(
            typed.text("basic-auth-username"),
            typed.text("basic-auth-password"),
        )?,
    };
    if typed.on("monitor") {
        context
            .console
            .warn("--monitor: pages are served as they are; the script that the option means comes from pm2.io and reports to pm2.io");
    }
    let mut app = Object::new();
    app.insert("name".into(), site.name().into());
    app.insert("namespace".into(), "default".into());
    app.insert("watch".into(), false.into());
    app.extend(options(typed, &context.cwd)?);
    app.insert("cwd".into(), site.path.clone().into());
    app.insert("env".into(), site.env().into());
    run_server(&mut app)?;

    let mut client = context.client()?;
    let list = client.table_list()?;
    let app = check(app, &context.caller(), &crate::start::Machine)?;
    let runs =
        |p: &Process| p.name == app.name() && !matches!(p.status(), "stopped" | "stopping" | "errored");
    if list.iter().any(runs) && !typed.on("force") {
        return Err(Failure::Error(format!(
            "{}: Script already launched, add -f option to force re-execution",
            app.name()
        )));
    }
    start_or_restart(context, &mut client, app, &list)?;
    context
        .console
        .info(format_args!("Serving {} on port {port}", path.display()));
    Ok(Then::List)
}

fn credentials(user: Option<&str>, password: Option<&str>) -> Result<Option<(String, String)>, Failure> {
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => Ok(Some((user.to_owned(), password.to_owned()))),
        _ => Err(Failure::Error(
            "basic authentication needs both --basic-auth-username and --basic-auth-password".into(),
        )),
    }
}
