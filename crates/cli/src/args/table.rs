//! The one table of verbs and options. Parser, help and completion are made from it, so they can't disagree.

use super::Verb;
use super::options::Opt;
use super::options::{
    ACCOUNT, APPLY, CRASHES, DEV, DRY, INSTALL, JSON, LINK, LOGS, PUBLISH, RUNTIME, SERVE, SLIST, TRIGGER,
    YES,
};

/// What a verb's operands name, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Nothing that could be known.
    Unknown,
    /// Running apps.
    Apps,
    /// Files.
    Files,
}

/// One verb with its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) verb: Verb,
    /// The name first, then aliases.
    pub(crate) names: &'static [&'static str],
    /// `<required>` and `[optional]` operands as help shows them.
    pub(crate) operands: &'static str,
    pub(crate) help: &'static str,
    pub(crate) options: &'static [Opt],
    pub(crate) complete: Names,
    /// Any operand is an error.
    pub(crate) strict: bool,
    /// Unknown options are passed over.
    pub(crate) lenient: bool,
}

impl Entry {
    #[cfg(test)]
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Names of the operands that must be there.
    pub(crate) fn required(&self) -> impl Iterator<Item = &'static str> {
        self.operands
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('<')?.strip_suffix('>'))
            .map(|name| name.strip_suffix("...").unwrap_or(name))
    }
}

const fn verb(
    verb: Verb,
    names: &'static [&'static str],
    operands: &'static str,
    help: &'static str,
    complete: Names,
) -> Entry {
    Entry {
        verb,
        names,
        operands,
        help,
        options: &[],
        complete,
        strict: false,
        lenient: false,
    }
}

const fn with(mut entry: Entry, options: &'static [Opt]) -> Entry {
    entry.options = options;
    entry
}

const fn strict(mut entry: Entry) -> Entry {
    entry.strict = true;
    entry
}

const fn lenient(mut entry: Entry) -> Entry {
    entry.lenient = true;
    entry
}

/// Every verb, in the order of the help.
pub(crate) const VERBS: &[Entry] = &[
    verb(
        Verb::Start,
        &["start"],
        "[script|name|file...]",
        "start an app, a command line or a configuration file",
        Names::Files,
    ),
    verb(
        Verb::Stop,
        &["stop"],
        "<id|name|namespace|all|json|stdin...>",
        "stop processes; they stay in the list",
        Names::Apps,
    ),
    verb(
        Verb::Restart,
        &["restart"],
        "<id|name|namespace|all|json|stdin...>",
        "restart processes, start stopped ones",
        Names::Apps,
    ),
    verb(
        Verb::Reload,
        &["reload"],
        "<id|name|namespace|all>",
        "replace processes without a refused connection",
        Names::Apps,
    ),
    verb(
        Verb::Delete,
        &["delete", "del"],
        "<name|id|namespace|script|all|json|stdin...>",
        "stop processes and forget them",
        Names::Apps,
    ),
    verb(
        Verb::StartOrRestart,
        &["startOrRestart"],
        "<json>",
        "restart what runs, start the rest",
        Names::Files,
    ),
    verb(
        Verb::StartOrReload,
        &["startOrReload", "startOrGracefulReload"],
        "<json>",
        "reload what runs, start the rest",
        Names::Files,
    ),
    verb(
        Verb::Scale,
        &["scale"],
        "<app_name> <number>",
        "run n instances, or +n more",
        Names::Apps,
    ),
    verb(
        Verb::Pull,
        &["pull"],
        "<name> [commit_id]",
        "the newest revision of the app's repository (or this one), then post_update and a reload",
        Names::Apps,
    ),
    verb(
        Verb::Backward,
        &["backward"],
        "<name>",
        "one revision back, then a reload",
        Names::Apps,
    ),
    verb(
        Verb::Forward,
        &["forward"],
        "<name>",
        "one revision on, then a reload",
        Names::Apps,
    ),
    with(
        lenient(verb(
            Verb::Runtime,
            &["runtime"],
            "[start] [script|file]",
            "run apps in the foreground, as the main process of a container; also called as pm2-runtime",
            Names::Files,
        )),
        RUNTIME,
    ),
    with(
        lenient(verb(
            Verb::Dev,
            &["dev"],
            "[start] [script|file]",
            "run apps in the foreground, restarted when a file changes; also called as pm2-dev",
            Names::Files,
        )),
        DEV,
    ),
    with(
        verb(
            Verb::Install,
            &["install", "module:install", "module:update"],
            "<module>",
            "install a module, or a newer version of it",
            Names::Files,
        ),
        INSTALL,
    ),
    verb(
        Verb::Uninstall,
        &["uninstall", "module:uninstall"],
        "<module>",
        "remove a module, or all",
        Names::Apps,
    ),
    verb(
        Verb::ModuleGenerate,
        &["module:generate"],
        "[name]",
        "write a sample module into a new folder",
        Names::Unknown,
    ),
    verb(
        Verb::Package,
        &["package"],
        "[folder]",
        "pack a module as a tarball",
        Names::Files,
    ),
    with(
        verb(
            Verb::Publish,
            &["publish", "module:publish"],
            "[folder]",
            "send a module to the registry of pm2:registry",
            Names::Files,
        ),
        PUBLISH,
    ),
    with(
        verb(
            Verb::Serve,
            &["serve", "expose"],
            "[path] [port]",
            "serve a folder over HTTP",
            Names::Files,
        ),
        SERVE,
    ),
    with(
        verb(
            Verb::List,
            &["list", "ls", "l", "ps", "status"],
            "",
            "list all processes",
            Names::Unknown,
        ),
        JSON,
    ),
    verb(
        Verb::Jlist,
        &["jlist"],
        "",
        "list all processes as JSON",
        Names::Unknown,
    ),
    strict(verb(
        Verb::Prettylist,
        &["prettylist"],
        "",
        "list all processes as a readable object",
        Names::Unknown,
    )),
    with(
        verb(
            Verb::Describe,
            &["describe", "desc", "info", "show"],
            "<name|id>",
            "everything about a process",
            Names::Apps,
        ),
        JSON,
    ),
    with(
        verb(
            Verb::Logs,
            &["logs", "log"],
            "[target]",
            "show the logs and follow them",
            Names::Apps,
        ),
        LOGS,
    ),
    with(
        verb(
            Verb::Crashes,
            &["crashes"],
            "[app|report]",
            "reports of crashes: all, those of an app, or one (last is the newest)",
            Names::Apps,
        ),
        CRASHES,
    ),
    verb(
        Verb::Flush,
        &["flush"],
        "[target]",
        "empty the log files",
        Names::Apps,
    ),
    verb(
        Verb::ReloadLogs,
        &["reloadLogs"],
        "",
        "open the log files anew",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Env,
            &["env"],
            "<id>",
            "environment of a process",
            Names::Unknown,
        ),
        JSON,
    ),
    with(
        verb(Verb::Pid, &["pid"], "[name]", "pids, one a line", Names::Apps),
        JSON,
    ),
    with(
        verb(Verb::Id, &["id"], "<name>", "ids of a name", Names::Apps),
        JSON,
    ),
    verb(
        Verb::Reset,
        &["reset"],
        "<name|id|all>",
        "set the restart counters to 0",
        Names::Apps,
    ),
    verb(
        Verb::SendSignal,
        &["sendSignal"],
        "<signal> <pm2_id|name>",
        "send a signal",
        Names::Apps,
    ),
    verb(
        Verb::Send,
        &["send"],
        "<pm_id> <line>",
        "write a line to a process's standard input",
        Names::Unknown,
    ),
    verb(
        Verb::Attach,
        &["attach"],
        "<pm_id> [separator]",
        "type into a process and see what it prints",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Trigger,
            &["trigger"],
            "<id|proc_name|namespace|all> <action_name> [params]",
            "call an action that apps offer, and print their answers",
            Names::Apps,
        ),
        TRIGGER,
    ),
    with(
        verb(
            Verb::Inspect,
            &["inspect"],
            "<name>",
            "let an app that offers it open its debugger",
            Names::Apps,
        ),
        TRIGGER,
    ),
    with(
        verb(
            Verb::Slist,
            &["slist", "sysinfos"],
            "",
            "figures of this host",
            Names::Unknown,
        ),
        SLIST,
    ),
    verb(
        Verb::ProfileCpu,
        &["profile:cpu"],
        "[ms]",
        "write what the daemon does in this time, default 10000, to a .cpuprofile",
        Names::Unknown,
    ),
    verb(
        Verb::ProfileMem,
        &["profile:mem"],
        "[ms]",
        "write what the daemon's memory is made of to a .heapprofile",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Report,
            &["report"],
            "",
            "what to add to a report of a problem",
            Names::Unknown,
        ),
        JSON,
    ),
    strict(verb(
        Verb::Save,
        &["dump", "save"],
        "",
        "keep the list for resurrect",
        Names::Unknown,
    )),
    strict(verb(
        Verb::Cleardump,
        &["cleardump"],
        "",
        "forget the kept list",
        Names::Unknown,
    )),
    strict(verb(
        Verb::Resurrect,
        &["resurrect"],
        "",
        "start what was kept by save",
        Names::Unknown,
    )),
    verb(
        Verb::Monit,
        &["monit", "dashboard", "dash", "imonit"],
        "",
        "watch and steer everything, full screen",
        Names::Unknown,
    ),
    verb(
        Verb::Monitor,
        &["monitor"],
        "[target]",
        "let the hub see a process",
        Names::Apps,
    ),
    verb(
        Verb::Unmonitor,
        &["unmonitor"],
        "[target]",
        "hide a process from the hub",
        Names::Apps,
    ),
    with(
        verb(
            Verb::Link,
            &["link"],
            "[secret|info|doctor|inspect|stop|kill|delete] [public] [name]",
            "link this machine to a hub",
            Names::Unknown,
        ),
        LINK,
    ),
    verb(
        Verb::Unlink,
        &["unlink"],
        "",
        "end the link and forget its keys",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Plus,
            &["plus"],
            "[login|register|link|open|logout]",
            "log in to a hub, choose a bucket, and link this machine to it",
            Names::Unknown,
        ),
        ACCOUNT,
    ),
    with(
        verb(
            Verb::Login,
            &["login"],
            "",
            "log in to a hub by password or token",
            Names::Unknown,
        ),
        ACCOUNT,
    ),
    with(
        verb(
            Verb::Register,
            &["register"],
            "",
            "make an account of a hub, and log in",
            Names::Unknown,
        ),
        ACCOUNT,
    ),
    verb(
        Verb::Logout,
        &["logout"],
        "",
        "end the login at the hub",
        Names::Unknown,
    ),
    verb(
        Verb::Open,
        &["open"],
        "",
        "print the dashboard's address, and open it on a desktop",
        Names::Unknown,
    ),
    verb(
        Verb::Ping,
        &["ping"],
        "",
        "ask whether the daemon is there",
        Names::Unknown,
    ),
    verb(
        Verb::Deploy,
        &["deploy"],
        "<file|environment> [command...]",
        "deploy a git repository to hosts by ssh; see deploy help",
        Names::Files,
    ),
    verb(
        Verb::Update,
        &["update", "updatePM2"],
        "",
        "let this program take over from the daemon that runs",
        Names::Unknown,
    ),
    strict(verb(
        Verb::Kill,
        &["kill"],
        "",
        "end all processes and the daemon",
        Names::Unknown,
    )),
    with(
        verb(
            Verb::Apply,
            &["apply"],
            "<file>",
            "make the list equal to a configuration file, after showing what changes",
            Names::Files,
        ),
        APPLY,
    ),
    with(
        verb(
            Verb::Validate,
            &["validate"],
            "[file...]",
            "look for mistakes in configuration files, and tell where they are",
            Names::Files,
        ),
        JSON,
    ),
    verb(
        Verb::Schema,
        &["schema"],
        "",
        "print the JSON Schema of configuration files, for editors",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Doctor,
            &["doctor"],
            "",
            "look for what is wrong with home, daemon and host, and say what to do",
            Names::Unknown,
        ),
        JSON,
    ),
    verb(
        Verb::Set,
        &["set"],
        "[key] [value]",
        "store a value for the app or module that the key begins with; without a key, edit the file",
        Names::Unknown,
    ),
    verb(
        Verb::Multiset,
        &["multiset"],
        "<value>",
        "store many: \"key value key value\"",
        Names::Unknown,
    ),
    verb(
        Verb::Unset,
        &["unset"],
        "<key>",
        "forget a stored value; all forgets everything",
        Names::Unknown,
    ),
    with(
        verb(Verb::Get, &["get"], "[key]", "show stored values", Names::Unknown),
        JSON,
    ),
    with(
        verb(
            Verb::Conf,
            &["conf"],
            "[key] [value]",
            "show all stored values",
            Names::Unknown,
        ),
        JSON,
    ),
    verb(
        Verb::Config,
        &["config"],
        "<key> [value]",
        "show the values of an app or module, or store one",
        Names::Unknown,
    ),
    verb(
        Verb::Init,
        &["init", "ecosystem"],
        "[simple]",
        "write a first ecosystem.config.js",
        Names::Unknown,
    ),
    verb(
        Verb::Create,
        &["create"],
        "[http|cluster|worker|python] [folder]",
        "write a first project into a new folder, and start it",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Autoinstall,
            &["autoinstall"],
            "",
            "look for services on this machine that a module can watch",
            Names::Unknown,
        ),
        YES,
    ),
    verb(
        Verb::InstallOtel,
        &["install-otel"],
        "",
        "fetch the packages that --trace needs",
        Names::Unknown,
    ),
    verb(
        Verb::UninstallOtel,
        &["uninstall-otel"],
        "",
        "remove the packages of install-otel",
        Names::Unknown,
    ),
    verb(
        Verb::Man,
        &["man"],
        "",
        "print the manual page, for: man -l -",
        Names::Unknown,
    ),
    verb(
        Verb::Examples,
        &["examples"],
        "",
        "show how it is used",
        Names::Unknown,
    ),
    with(
        verb(
            Verb::Startup,
            &["startup"],
            "[platform]",
            "start the daemon and the saved list when the machine starts",
            Names::Unknown,
        ),
        DRY,
    ),
    with(
        verb(
            Verb::Unstartup,
            &["unstartup"],
            "[platform]",
            "no start with the machine any more",
            Names::Unknown,
        ),
        DRY,
    ),
    with(
        verb(
            Verb::Logrotate,
            &["logrotate"],
            "",
            "write a configuration for the system's logrotate",
            Names::Unknown,
        ),
        DRY,
    ),
    verb(
        Verb::DeepUpdate,
        &["deepUpdate"],
        "",
        "install the newest release, then update",
        Names::Unknown,
    ),
    verb(
        Verb::Hub,
        &["hub"],
        "[token create]",
        "run a hub, or make a token for its API; see hub --help",
        Names::Unknown,
    ),
    verb(
        Verb::Completion,
        &["completion"],
        "[install|uninstall|bash|zsh|fish]",
        "completion for the shell",
        Names::Unknown,
    ),
];

/// The entry that has this name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    VERBS.iter().find(|entry| entry.names.contains(&name))
}
