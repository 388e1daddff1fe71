#!/bin/sh
# Checks for what a goal needs, installs what it may (system packages as root, the rest below target/tools),
# and otherwise says exactly what to install. Usage: tools/bootstrap.sh run|test|bench|lint
set -eu

cd "$(dirname "$0")/.."
. tools/env.sh

GOAL=${1:-run}
MIN_RUST=1.90
MIN_NODE=20.19
missing=""

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.95.0 1.90: is the first version the second or newer?
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

apt_updated=no
# system PACKAGE...: install with the system's package manager when we may.
system() {
    [ "$(id -u)" = 0 ] || return 1
    if have apt-get; then
        if [ $apt_updated = no ]; then
            say "Updating the package list"
            apt-get update -qq >/dev/null
            apt_updated=yes
        fi
        say "Installing $*"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    elif have dnf; then
        say "Installing $*"
        dnf install -y -q "$@" >/dev/null
    elif have apk; then
        say "Installing $*"
        apk add -q "$@"
    else
        return 1
    fi
}

# lacking WHAT HOW: remember what a person has to install.
lacking() {
    missing="$missing
  $1
      $2"
}

cc_present() { have cc || have gcc || have clang; }

need_cc() {
    cc_present && return
    system gcc libc6-dev || system gcc || true
    cc_present || lacking "a C compiler (SQLite and zstd are built from source)" \
        "Debian, Ubuntu: apt-get install gcc libc6-dev    Fedora: dnf install gcc    Alpine: apk add gcc musl-dev"
}

rust_fresh() {
    have cargo && have rustc && at_least "$(rustc --version | cut -d' ' -f2)" $MIN_RUST
}

need_rust() {
    rust_fresh && return
    if ! have rustup; then
        # Without the certificates rustup can't reach where toolchains are kept.
        system rustup ca-certificates || true
    fi
    if have rustup; then
        say "Installing the stable Rust toolchain with rustup"
        rustup toolchain install stable --profile minimal --component clippy --component rustfmt >&2 &&
            rustup default stable >&2 || true
    fi
    rust_fresh || lacking "Rust $MIN_RUST or newer (cargo)" \
        "https://rustup.rs  (curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh)"
}

node_fresh() {
    have node && have npm && at_least "$(node --version | tr -d v)" $MIN_NODE
}

need_node() {
    node_fresh && return
    have npm || system nodejs npm || true
    # A distribution's Node is often too old for the build of the dashboard; npm itself serves newer ones.
    if have npm && ! node_fresh; then
        say "Installing a newer Node below target/tools"
        mkdir -p target/tools
        npm install --silent --no-save --prefix target/tools node@22 >/dev/null || true
    fi
    node_fresh || lacking "Node.js $MIN_NODE or newer with npm (builds the dashboard)" \
        "Debian 13, Ubuntu 25.04 or newer: apt-get install nodejs npm    elsewhere: https://nodejs.org"
}

need_python() {
    have python3 && return
    system python3 || true
    have python3 || lacking "python3 (a sample app and some tests are written in it)" "apt-get install python3"
}

need_strace() {
    have strace && return
    system strace || true
    have strace || lacking "strace (a test kills the daemon at one system call with it)" "apt-get install strace"
}

# Not named after the program: `command -v` finds functions, too.
chromium_present() {
    for c in chromium chromium-browser google-chrome; do
        have $c && return 0
    done
    return 1
}

need_chromium() {
    chromium_present && return
    system chromium fonts-dejavu-core || system chromium || true
    chromium_present || lacking "Chromium (the browser tests drive it)" "apt-get install chromium"
}

# What some tests want and other systems than Debian may not have: without it these tests are left out.
want_for_tests() {
    have apt-get || return 0
    # A kernel as a program: limits by cgroup v2 are tried in it.
    have linux.uml || [ "$(uname -m)" != x86_64 ] || system user-mode-linux || true
    # What boots in it, from a disk of its own. The package alone leaves the init system of this machine as it is.
    { [ -x /lib/systemd/systemd ] && have mkfs.ext4; } || system systemd e2fsprogs || true
    # Completion is tried in each of them.
    { have zsh && have fish; } || system zsh fish || true
    # For deploy. Where services are started as they are installed, an sshd would listen to the world: that is nobody's wish here.
    [ -x /usr/sbin/sshd ] || [ -d /run/systemd/system ] || system openssh-server openssh-client || true
}

# Hosts behind firewalls and proxies: without these, and root, the tests that need them say so and are skipped.
want_networks() {
    have ip && have nft && have tinyproxy && have microsocks && have openssl && return
    system iproute2 nftables tinyproxy-bin microsocks openssl ||
        say "Tests of firewalls and proxies will be skipped: they need root, iproute2, nftables, tinyproxy and microsocks."
}

# A peer of the bench; without it the rows beside it are left out.
need_supervisord() {
    [ -x target/tools/supervisor/bin/supervisord ] && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || system python3-venv || true
    say "Installing supervisord below target/tools"
    python3 -m venv target/tools/supervisor && target/tools/supervisor/bin/pip install --quiet supervisor ||
        say "supervisord is not to be had here: the rows of the bench beside it are left out"
}

# cargo_tool NAME: a cargo subcommand, installed from its own source when it is not there.
cargo_tool() {
    have "cargo-$1" && return
    say "Installing cargo-$1 with cargo (once, some minutes)"
    cargo install --quiet --locked "cargo-$1" ||
        lacking "cargo-$1" "cargo install --locked cargo-$1"
}

need_cc
need_rust
need_node
case $GOAL in run | test | bench) need_python ;; esac
case $GOAL in bench) need_supervisord ;; esac
case $GOAL in test)
    need_chromium
    need_strace
    want_for_tests
    want_networks
    ;;
esac
if [ -z "$missing" ]; then
    case $GOAL in test) cargo_tool nextest ;; esac
    case $GOAL in test | lint) cargo_tool deny ;; esac
fi

if [ -n "$missing" ]; then
    say ""
    say "Pilothouse needs, and this script may not install:"
    say "$missing"
    say ""
    [ "$(id -u)" = 0 ] || say "Run as root, or install these, and try again."
    exit 1
fi
