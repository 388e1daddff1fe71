//! What was typed. Parsing follows the rules of PM2's option parser, which users' scripts depend on: options stand
//! anywhere, values are taken blindly where they are required, the last one wins.

mod complete;
mod examples;
mod help;
mod man;
mod options;
mod parse;
mod suggest;
mod table;

pub(crate) use complete::{candidates, snippet, typed_words};
pub(crate) use help::{command_help, program_help, usage};
pub(crate) use man::man_page;
pub(crate) use parse::{Given, ParseError, Typed, parse};
pub(crate) use suggest::{nearest, option_like, verb_like};

/// Every verb by its meaning; names and aliases are in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Delete,
    StartOrRestart,
    StartOrReload,
    Scale,
    Pull,
    Backward,
    Forward,
    Serve,
    Runtime,
    Dev,
    Install,
    Uninstall,
    ModuleGenerate,
    Package,
    Publish,
    List,
    Jlist,
    Prettylist,
    Describe,
    Logs,
    Crashes,
    Flush,
    ReloadLogs,
    Env,
    Pid,
    Id,
    Reset,
    SendSignal,
    Send,
    Attach,
    Trigger,
    Inspect,
    Slist,
    Report,
    ProfileCpu,
    ProfileMem,
    Save,
    Cleardump,
    Resurrect,
    Monit,
    Monitor,
    Unmonitor,
    Link,
    Unlink,
    Plus,
    Login,
    Register,
    Logout,
    Open,
    Ping,
    Kill,
    Update,
    Deploy,
    Apply,
    Validate,
    Schema,
    Doctor,
    Set,
    Multiset,
    Unset,
    Get,
    Conf,
    Config,
    Init,
    Create,
    Autoinstall,
    InstallOtel,
    UninstallOtel,
    Man,
    Examples,
    Startup,
    Unstartup,
    Logrotate,
    DeepUpdate,
    Hub,
    Completion,
}
