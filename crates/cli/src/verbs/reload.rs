//! `reload`: replace processes, one run at a time.

use super::Then;
use super::act::on_target;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::home::now_ms;
use crate::start::{Action, act_on_file, config_source};

pub(crate) fn reload(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let mut client = context.client()?;
    take_lock(context)?;
    let done = match config_source(target) {
        Some(source) => act_on_file(context, &mut client, Action::Reload, &source),
        None => on_target(context, &mut client, Action::Reload, target),
    };
    // A lock that stays is ignored after its time.
    let _ = std::fs::write(&context.home.reload_lock, "");
    done.map(|()| Then::Done)
}

fn take_lock(context: &Context<'_>) -> Result<(), Failure> {
    let path = &context.home.reload_lock;
    let limit = var("PM2_RELOAD_LOCK_TIMEOUT")
        .and_then(|ms| ms.parse().ok())
        .unwrap_or(30_000);
    let held = std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok());
    let age = held
        .map(|since| now_ms() - since)
        .filter(|age| (0..limit).contains(age));
    if let Some(age) = age.filter(|_| !context.typed.on("force")) {
        return Err(Failure::Error(format!(
            "Reload already in progress, please try again in {} seconds or use --force",
            (limit - age) / 1000
        )));
    }
    std::fs::write(path, now_ms().to_string()).map_err(Failure::file("writing", path))
}
