//! The one table of verbs and options. Parser, help and completion are made from it, so they can't disagree.

use super::Verb;

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: the option is a switch.
    Nothing,
    /// The next token, whatever it looks like.
    Value(&'static str),
    /// The next token unless it begins with a dash.
    Maybe(&'static str),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    pub(crate) short: Option<char>,
    /// Without dashes; switches that begin with `no-` turn the rest of their name off.
    pub(crate) long: &'static str,
    pub(crate) takes: Takes,
    pub(crate) help: &'static str,
}

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

const fn switch(short: Option<char>, long: &'static str, help: &'static str) -> Opt {
    Opt {
        short,
        long,
        takes: Takes::Nothing,
        help,
    }
}

const fn value(short: Option<char>, long: &'static str, name: &'static str, help: &'static str) -> Opt {
    Opt {
        short,
        long,
        takes: Takes::Value(name),
        help,
    }
}

const fn maybe(short: Option<char>, long: &'static str, name: &'static str, help: &'static str) -> Opt {
    Opt {
        short,
        long,
        takes: Takes::Maybe(name),
        help,
    }
}

/// Options that stand anywhere on the line.
pub(crate) const GLOBAL: &[Opt] = &[
    switch(Some('v'), "version", "print the version"),
    switch(Some('s'), "silent", "print nothing but what was asked for"),
    switch(Some('h'), "help", "print this help, or that of a command"),
    value(Some('n'), "name", "name", "name of the process"),
    value(None, "namespace", "ns", "namespace of the process"),
    value(None, "cwd", "path", "folder to run in"),
    value(
        None,
        "interpreter",
        "program",
        "program that runs the script; none executes it directly",
    ),
    value(None, "interpreter-args", "args", "arguments of the interpreter"),
    value(None, "node-args", "args", "same as --interpreter-args"),
    value(
        Some('i'),
        "instances",
        "n",
        "number of processes; max is one per CPU",
    ),
    switch(Some('x'), "execute-command", "run in fork mode"),
    value(None, "env", "name", "take env_<name> of the configuration file"),
    switch(
        Some('a'),
        "update-env",
        "give the present environment to restarted processes",
    ),
    maybe(
        None,
        "filter-env",
        "text",
        "leave variables out whose name contains this; repeatable",
    ),
    value(
        None,
        "only",
        "names",
        "act on these apps of the configuration file only",
    ),
    switch(
        Some('f'),
        "force",
        "start once more, save an empty list, reload while locked",
    ),
    value(None, "parallel", "n", "concurrent restarts or reloads, default 2"),
    maybe(None, "watch", "path", "restart when files change; repeatable"),
    value(None, "ignore-watch", "paths", "files whose changes mean nothing"),
    value(
        None,
        "watch-delay",
        "time",
        "wait before the restart: 4 is seconds, 4000ms milliseconds",
    ),
    value(None, "ext", "a,b", "watch files with these endings only"),
    value(Some('o'), "output", "path", "file for standard output"),
    value(Some('e'), "error", "path", "file for standard error"),
    maybe(Some('l'), "log", "path", "file for both together"),
    value(
        None,
        "log-type",
        "type",
        "json: one JSON object per piece of output",
    ),
    value(
        None,
        "log-date-format",
        "format",
        "put this date before each line, such as YYYY-MM-DD HH:mm:ss",
    ),
    switch(None, "time", "put the date before each line"),
    switch(None, "merge-logs", "one file for all instances"),
    switch(None, "disable-logs", "store no output"),
    value(Some('p'), "pid", "file", "where the pid is written"),
    value(
        Some('k'),
        "kill-timeout",
        "ms",
        "time between the stop signal and SIGKILL",
    ),
    value(
        None,
        "listen-timeout",
        "ms",
        "longest wait for an app to be ready",
    ),
    switch(None, "wait-ready", "the app tells when it is ready"),
    switch(
        None,
        "shutdown-with-message",
        "ask the app to stop by message, not by signal",
    ),
    value(
        None,
        "max-memory-restart",
        "size",
        "restart above this memory, such as 300M",
    ),
    value(None, "restart-delay", "ms", "wait before each restart"),
    value(
        None,
        "exp-backoff-restart-delay",
        "ms",
        "wait before restarts, longer each time",
    ),
    maybe(
        None,
        "max-restarts",
        "n",
        "give up after this many unstable restarts",
    ),
    value(
        None,
        "stop-exit-codes",
        "codes...",
        "exit codes after which there is no restart",
    ),
    value(Some('c'), "cron", "pattern", "restart at these times; 0 ends it"),
    value(None, "cron-restart", "pattern", "same as --cron"),
    value(None, "uid", "user", "user to run as"),
    value(None, "gid", "group", "group to run as"),
    value(Some('u'), "user", "name", "user to run as; user of startup"),
    switch(None, "no-autorestart", "no restart when it exits"),
    switch(None, "no-autostart", "enter it as stopped"),
    switch(
        None,
        "no-treekill",
        "signal the process itself only, not its children",
    ),
    switch(None, "no-vizion", "no version control facts"),
    switch(None, "no-pmx", "no monitoring inside the app"),
    switch(None, "no-automation", "same as --no-pmx"),
    switch(None, "source-map-support", "map stack traces back to sources"),
    switch(None, "disable-source-map-support", "no mapping of stack traces"),
    switch(None, "trace", "trace transactions"),
    switch(None, "disable-trace", "end tracing"),
    switch(None, "v8", "collect metrics of V8"),
    switch(None, "event-loop-inspector", "inspect the event loop"),
    switch(None, "deep-monitoring", "all monitoring of a Node app"),
    switch(Some('w'), "write", "also write the options to <name>-pm2.json"),
    switch(None, "attach", "stream the logs afterwards"),
    switch(Some('m'), "mini-list", "print the short list"),
    value(
        None,
        "sort",
        "field[:desc]",
        "order of the list: name, namespace, pid, id, cpu, memory, uptime, status",
    ),
    switch(None, "no-color", "no colours"),
    switch(None, "no-daemon", "stay in the foreground and stream the logs"),
    value(None, "hp", "home", "home folder of startup"),
    switch(None, "wait-ip", "startup waits for the network"),
    value(None, "service-name", "name", "name of the service of startup"),
];

const LOGS: &[Opt] = &[
    value(None, "lines", "n", "lines of the past, default 15"),
    switch(None, "raw", "lines as they are"),
    switch(None, "err", "error output only"),
    switch(None, "out", "standard output only"),
    maybe(None, "timestamp", "format", "put the time before each line"),
    switch(None, "nostream", "print the past and end"),
    switch(None, "json", "one JSON object per line"),
    switch(None, "format", "key=value pairs"),
    maybe(None, "highlight", "text", "highlight this text"),
    value(
        None,
        "since",
        "time",
        "lines from then on: 10m, 2h30m, 14:05, 2026-11-23 14:05",
    ),
    value(None, "until", "time", "lines until then, and end"),
    value(
        None,
        "grep",
        "regex",
        "lines with a match only, of older parts too",
    ),
];

const SERVE: &[Opt] = &[
    value(None, "port", "n", "port to listen on, default 8080"),
    value(None, "host", "address", "address to listen on, default all"),
    switch(None, "spa", "answer what is not there with index.html"),
    switch(None, "ftp", "list folders that have no index.html"),
    value(None, "basic-auth-username", "name", "ask visitors for this name"),
    value(
        None,
        "basic-auth-password",
        "word",
        "ask visitors for this password",
    ),
    maybe(None, "monitor", "app", "accepted, without effect"),
];
const TRIGGER: &[Opt] = &[value(
    None,
    "timeout",
    "time",
    "wait this long for the answers, default 60: 4 is seconds, 4000ms milliseconds",
)];

const SLIST: &[Opt] = &[switch(Some('t'), "tree", "print them as a tree")];

const INSTALL: &[Opt] = &[
    switch(None, "tarball", "it is a tarball that package made"),
    switch(None, "install", "install what a tarball's package asks for"),
    switch(None, "docker", "accepted, without effect"),
    switch(None, "v1", "accepted, without effect"),
    maybe(
        None,
        "safe",
        "ms",
        "watch it for 3000 ms, and bring the one before back if it fails",
    ),
];

const PUBLISH: &[Opt] = &[switch(None, "npm", "accepted: it is always npm's way")];

const JSON: &[Opt] = &[switch(None, "json", "print JSON")];

const DRY: &[Opt] = &[switch(None, "dry-run", "show what would be done, and do nothing")];

const LINK: &[Opt] = &[value(None, "info-node", "url", "address of the hub")];

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
            "publish a module",
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
    verb(
        Verb::List,
        &["list", "ls", "l", "ps", "status"],
        "",
        "list all processes",
        Names::Unknown,
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
    verb(
        Verb::Describe,
        &["describe", "desc", "info", "show"],
        "<name|id>",
        "everything about a process",
        Names::Apps,
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
    verb(
        Verb::Env,
        &["env"],
        "<id>",
        "environment of a process",
        Names::Unknown,
    ),
    verb(Verb::Pid, &["pid"], "[name]", "pids, one a line", Names::Apps),
    verb(Verb::Id, &["id"], "<name>", "ids of a name", Names::Apps),
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
        Verb::Report,
        &["report"],
        "",
        "what to add to a report of a problem",
        Names::Unknown,
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
            "[secret|info|stop|kill|delete] [public] [name]",
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
    verb(
        Verb::Ping,
        &["ping"],
        "",
        "ask whether the daemon is there",
        Names::Unknown,
    ),
    strict(verb(
        Verb::Kill,
        &["kill"],
        "",
        "end all processes and the daemon",
        Names::Unknown,
    )),
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
