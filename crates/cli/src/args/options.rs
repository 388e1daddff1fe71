//! The options, of all verbs and of single ones.

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
    switch(
        None,
        "wait",
        "return only when all that was started is ready; fails if it will not be",
    ),
    value(
        None,
        "wait-timeout",
        "time",
        "how long to --wait: 30 is seconds (default 60), 500ms, 2m",
    ),
    switch(Some('m'), "mini-list", "print the short list"),
    value(
        None,
        "sort",
        "field[:desc]",
        "order of the list: name, namespace, pid, id, cpu, memory, uptime, status",
    ),
    switch(None, "no-list", "print no list of all processes afterwards"),
    switch(None, "no-color", "no colours"),
    switch(None, "no-daemon", "stay in the foreground and stream the logs"),
    value(None, "hp", "home", "home folder of startup"),
    switch(None, "wait-ip", "startup waits for the network"),
    value(None, "service-name", "name", "name of the service of startup"),
];

pub(super) const CRASHES: &[Opt] = &[
    switch(None, "json", "as JSON"),
    value(None, "lines", "n", "last lines of each stream, default 20"),
];

pub(super) const LOGS: &[Opt] = &[
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

pub(super) const SERVE: &[Opt] = &[
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
    maybe(
        None,
        "monitor",
        "app",
        "accepted: pages are served as they are, and it is said so",
    ),
];
pub(super) const TRIGGER: &[Opt] = &[value(
    None,
    "timeout",
    "time",
    "wait this long for the answers, default 60: 4 is seconds, 4000ms milliseconds",
)];

pub(super) const SLIST: &[Opt] = &[
    switch(Some('t'), "tree", "print them as a tree"),
    switch(None, "json", "print JSON"),
];

pub(super) const RUNTIME: &[Opt] = &[
    switch(None, "raw", "lines as they are (the default)"),
    switch(None, "formatted", "each line behind the app's id and name"),
    switch(None, "format", "key=value pairs"),
    switch(None, "json", "one JSON object per line, events too"),
    value(None, "delay", "seconds", "wait before the start"),
    switch(None, "no-auto-exit", "stay when no app is left"),
    maybe(None, "secret", "key", "secret key of the hub"),
    maybe(None, "public", "key", "public key of the hub"),
    maybe(None, "machine-name", "name", "name of this machine at the hub"),
    maybe(
        None,
        "web",
        "port",
        "answer HTTP requests with host and processes as JSON, default port 9615",
    ),
];

pub(super) const DEV: &[Opt] = &[
    switch(None, "raw", "lines as they are"),
    switch(None, "timestamp", "put the time before each line"),
    maybe(
        None,
        "ignore",
        "files",
        "files whose changes mean nothing, separated by commas",
    ),
    maybe(None, "post-exec", "command", "run this after each restart"),
    switch(None, "silent-exec", "do not show what that command writes"),
    switch(None, "test-mode", "start in the background and end"),
    switch(None, "auto-exit", "end when no app is left"),
];

pub(super) const INSTALL: &[Opt] = &[
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

pub(super) const PUBLISH: &[Opt] = &[switch(
    None,
    "npm",
    "a new minor version to npm and to git, after a question",
)];

pub(super) const JSON: &[Opt] = &[switch(None, "json", "print JSON")];

pub(super) const APPLY: &[Opt] = &[
    switch(None, "dry-run", "show what would change, and do nothing"),
    switch(Some('y'), "yes", "do not ask"),
    switch(None, "json", "print JSON"),
    switch(
        None,
        "keep-others",
        "leave apps alone that the file does not name",
    ),
];

pub(super) const DRY: &[Opt] = &[switch(None, "dry-run", "show what would be done, and do nothing")];

pub(super) const ACCOUNT: &[Opt] = &[
    value(None, "info-node", "url", "address of the hub"),
    value(
        None,
        "username",
        "name",
        "whose account; otherwise it is asked for",
    ),
    value(
        None,
        "token",
        "token",
        "log in with this token, or that of PM2_IO_TOKEN, instead of a password",
    ),
    value(
        None,
        "bucket",
        "name|id|none",
        "link to this bucket; otherwise it is asked for",
    ),
    value(None, "invitation", "code", "code of an invitation, for register"),
];

pub(super) const YES: &[Opt] = &[switch(Some('y'), "yes", "do not only tell, do it")];

pub(super) const LINK: &[Opt] = &[
    value(None, "info-node", "url", "address of the hub"),
    switch(
        None,
        "json",
        "print what link info, link doctor or link inspect --fields tells as JSON",
    ),
    switch(None, "raw", "link inspect: print the very bytes, as base64"),
    switch(
        None,
        "fields",
        "link inspect: list every field that may leave this host, and why",
    ),
];
