//! One file per verb, or per family of verbs.

mod account;
pub(crate) mod act;
mod apply;
mod attach;
mod autoinstall;
mod completion;
mod conf;
mod crashes;
mod create;
mod doctor;
mod dump;
mod env;
mod examples;
mod flush;
mod init;
pub(crate) mod kill;
pub(crate) mod link;
mod link_doctor;
mod link_fields;
mod link_inspect;
mod link_reach;
mod list;
mod logs;
mod lookup;
mod monitor;
mod profile;
mod pull;
mod reload;
mod report;
mod scale;
mod serve;
mod signal;
pub(crate) mod start;
mod startup;
mod sysinfo;
mod trigger;
mod update;
mod validate;

use crate::args::Verb;
use crate::context::Context;
use crate::failure::Failure;

/// What is left to do when a verb has done its work.
pub(crate) enum Then {
    /// Print the list.
    List,
    /// Nothing.
    Done,
}

/// Runs a verb; gives the exit code.
pub(crate) fn run(verb: Verb, context: &Context<'_>) -> Result<u8, Failure> {
    let then = match verb {
        Verb::Start => start::start(context),
        Verb::StartOrRestart => start::from_file(context, crate::start::Action::Restart),
        Verb::StartOrReload => start::from_file(context, crate::start::Action::Reload),
        Verb::Stop => act::stop(context),
        Verb::Restart => act::restart(context),
        Verb::Delete => act::delete(context),
        Verb::Reload => reload::reload(context),
        Verb::Scale => scale::scale(context),
        Verb::Runtime => return crate::foreground::runtime(context),
        Verb::Dev => return crate::foreground::dev(context),
        Verb::Pull => pull::pull(context),
        Verb::Backward => pull::backward(context),
        Verb::Forward => pull::forward(context),
        Verb::Install => crate::modules::install(context),
        Verb::Uninstall => crate::modules::uninstall(context),
        Verb::ModuleGenerate => crate::modules::generate(context),
        Verb::Package => crate::modules::package(context),
        Verb::Publish => crate::modules::publish(context),
        Verb::Serve => serve::serve(context),
        Verb::List => list::list(context),
        Verb::Jlist => list::jlist(context),
        Verb::Prettylist => list::prettylist(context),
        Verb::Describe => lookup::describe(context),
        Verb::Env => env::env(context),
        Verb::Pid => lookup::pid(context),
        Verb::Id => lookup::id(context),
        Verb::Ping => lookup::ping(context),
        Verb::Logs => logs::logs(context),
        Verb::Crashes => crashes::crashes(context),
        Verb::Flush => flush::flush(context),
        Verb::ReloadLogs => flush::reload_logs(context),
        Verb::Reset => signal::reset(context),
        Verb::SendSignal => signal::send_signal(context),
        Verb::Send => signal::send_line(context),
        Verb::Attach => attach::attach(context),
        Verb::Trigger => trigger::trigger(context),
        Verb::Inspect => trigger::inspect(context),
        Verb::Slist => sysinfo::slist(context),
        Verb::Report => report::report(context),
        Verb::ProfileCpu => profile::cpu(context),
        Verb::ProfileMem => profile::memory(context),
        Verb::Save => dump::save(context),
        Verb::Cleardump => dump::clear(context),
        Verb::Resurrect => dump::resurrect(context),
        Verb::Monit => crate::tui::run(context).map(|()| Then::Done),
        Verb::Monitor => monitor::monitor(context),
        Verb::Unmonitor => monitor::unmonitor(context),
        Verb::Link => link::link(context),
        Verb::Unlink => link::unlink(context),
        Verb::Plus => account::plus(context),
        Verb::Login => account::login(context),
        Verb::Register => account::register(context),
        Verb::Logout => account::logout(context),
        Verb::Open => account::open(context),
        Verb::Deploy => crate::deploy::deploy(context),
        Verb::Update => update::update(context),
        Verb::Kill => kill::kill(context),
        Verb::Completion => completion::completion(context),
        Verb::Apply => apply::apply(context),
        Verb::Validate => validate::validate(context),
        Verb::Schema => validate::schema(context),
        Verb::Doctor => doctor::doctor(context),
        Verb::Set => conf::set(context),
        Verb::Multiset => conf::multiset(context),
        Verb::Unset => conf::unset(context),
        Verb::Get => conf::get(context),
        Verb::Conf => conf::all(context),
        Verb::Config => conf::config(context),
        Verb::Init => init::init(context),
        Verb::Create => create::create(context),
        Verb::Autoinstall => autoinstall::autoinstall(context),
        Verb::InstallOtel => crate::otel::install(context),
        Verb::UninstallOtel => crate::otel::uninstall(context),
        Verb::Man => examples::man(context),
        Verb::Examples => examples::examples(context),
        Verb::DeepUpdate => examples::deep_update(context),
        Verb::Startup => startup::startup(context),
        Verb::Unstartup => startup::unstartup(context),
        Verb::Logrotate => startup::logrotate(context),
        Verb::Hub => Err(Failure::Error(format!(
            "`hub` is the first word: {} hub --data DIR --listen ADDR:PORT",
            context.program
        ))),
    }?;
    crate::waiting::if_asked(context)?;
    match then {
        Then::List => list::after(context)?,
        Then::Done => {}
    }
    if context.typed.off("daemon") && verb != Verb::Kill {
        return crate::foreground::stay(context);
    }
    Ok(0)
}
