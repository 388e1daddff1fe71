//! `scale`: more or fewer instances of an app.

use super::Then;
use super::act::{Job, announce, run};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::start::Action;
use pm2::rpc::method;
use serde_json::json;

/// More than this at once is a typing error.
const MOST: usize = 4096;

pub(crate) fn scale(context: &Context<'_>) -> Result<Then, Failure> {
    let [name, count, ..] = context.typed.operands.as_slice() else {
        return Err(Failure::Told);
    };
    let mut client = context.client()?;
    let list = client.table_list()?;
    let present: Vec<&Process> = list.iter().filter(|p| p.name == *name).collect();
    if present.is_empty() {
        return Err(Failure::Error(format!("Application {name} not found")));
    }
    let wanted = wanted(count, present.len()).ok_or_else(|| {
        Failure::Error(format!(
            "can't scale {name} to {count}: say a number such as 4 or +2"
        ))
    })?;
    if wanted == present.len() {
        return Err(Failure::Error("Nothing to do".into()));
    }
    to(context, &mut client, &list, &present, wanted)?;
    Ok(Then::List)
}

/// Brings the processes of one app to this number; there must be one at least.
pub(crate) fn to(
    context: &Context<'_>,
    client: &mut Client,
    list: &[Process],
    present: &[&Process],
    wanted: usize,
) -> Result<(), Failure> {
    let Some(first) = present.first() else {
        return Ok(());
    };
    for _ in present.len()..wanted {
        context.console.info("Scaling up application");
        client.act(method::DUPLICATE_PROCESS_ID, &(json!(first.pm_id),))?;
    }
    // The oldest go first, one after another.
    for process in present.iter().take(present.len().saturating_sub(wanted)) {
        announce(
            context.console,
            Action::Delete,
            &process.pm_id.to_string(),
            &[process.pm_id],
            false,
        );
        let job = Job {
            id: process.pm_id,
            env: None,
            as_text: false,
        };
        run(context, client, Action::Delete, list, vec![job])?;
    }
    Ok(())
}

fn wanted(text: &str, present: usize) -> Option<usize> {
    let count = match text.strip_prefix('+') {
        Some(more) => present + more.parse::<usize>().ok().filter(|n| *n <= MOST)?,
        None => text.parse().ok()?,
    };
    (count <= MOST).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn counts() {
        assert_eq!(wanted("4", 2), Some(4));
        assert_eq!(wanted("+3", 2), Some(5));
        assert_eq!(wanted("0", 2), Some(0));
        for bad in ["-1", "x", "+", "", "999999999", "+99999999999999999999"] {
            assert_eq!(wanted(bad, 2), None, "{bad}");
        }
    }
}
