//! `logs`: what was written, then what comes by the bus.

mod live;
mod moment;
mod past;
mod wish;

use self::live::follow;
use self::wish::{Target, Wish};
use super::Then;
use crate::client::Bus;
use crate::context::Context;
use crate::failure::Failure;

const LOG_FIELDS: &[&str] = &[
    "namespace",
    "pm_err_log_path",
    "pm_log_path",
    "pm_out_log_path",
    "pmx_module",
];

pub(crate) fn logs(context: &Context<'_>) -> Result<Then, Failure> {
    let target = context.typed.operands.first().map_or("all", String::as_str);
    let wish = Wish::new(context, target)?;
    let mut client = context.client()?;
    // The bus is joined before the files are read: a line is rather shown twice than not at all.
    let mut bus = match wish.live {
        true => Some(
            Bus::connect(&context.home.pub_sock)
                .map_err(Failure::file("listening to", &context.home.pub_sock))?,
        ),
        false => None,
    };
    let list = client.list(Some(LOG_FIELDS))?;
    if !matches!(wish.target, Target::All | Target::Daemon) && !list.iter().any(|p| wish.wants_process(p)) {
        let near = crate::args::nearest(target, list.iter().map(|p| p.name.as_str()));
        let hint = near
            .map(|name| format!(" Did you mean {name}?"))
            .unwrap_or_default();
        context
            .console
            .warn(format_args!("no process is called {target} now.{hint}"));
    }
    if wish.searches() {
        past::search(context, &wish, &list);
    } else if wish.lines > 0 && wish.form == wish::Form::Lines {
        past::tail(context, &wish, target, &list);
    }
    if let Some(bus) = &mut bus {
        follow(context, &wish, bus);
    }
    Ok(Then::Done)
}

/// `--attach`: the logs of what was acted on, from now on.
pub(crate) fn attach(context: &Context<'_>) -> Result<(), Failure> {
    let mut wish = Wish::new(context, "all")?;
    wish.target = Target::Ids(context.acted_on.borrow().clone());
    let path = &context.home.pub_sock;
    let mut bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
    follow(context, &wish, &mut bus);
    Ok(())
}
