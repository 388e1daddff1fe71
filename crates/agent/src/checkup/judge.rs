//! What was met on the way means this, and this is the mend. Pure.

use super::{Answer, Facts, Finding, HubSays, Prospect, State, Step, TlsFault, TlsTrouble};
use crate::redact::clip;

/// A clock that is off by more than this misplaces what is reported.
const CLOCK_WARNING_MS: i64 = 5_000;
/// Beyond this history is of no use, and certificates may fail.
const CLOCK_BROKEN_MS: i64 = 60_000;
/// Longest text of others that is repeated.
const MAX_SAID: usize = 300;

/// All findings, in the order of the way. `program` is how the user calls this program.
pub fn judge(facts: &Facts, program: &str) -> Vec<Finding> {
    let mut out = Findings(Vec::new());
    names(facts, &mut out);
    ports(facts, &mut out);
    tunnel(facts, program, &mut out);
    tls(facts, &mut out);
    hub(facts, program, &mut out);
    upgrade(facts, &mut out);
    clock(facts, &mut out);
    let says = match &facts.answer {
        Step::Done(Answer::Hub(says)) => Some(says),
        _ => None,
    };
    keys(facts, says, program, &mut out);
    name(facts, says, program, &mut out);
    plan(says, program, &mut out);
    versions(facts, says, program, &mut out);
    out.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, state: State, area: &'static str, text: impl Into<String>, mend: Option<String>) {
        self.0.push(Finding {
            state,
            area,
            text: text.into(),
            mend,
        });
    }

    fn well(&mut self, area: &'static str, text: impl Into<String>) {
        self.add(State::Well, area, text, None);
    }

    fn unknown(&mut self, area: &'static str) {
        self.add(
            State::Unknown,
            area,
            "not reached: what comes before it failed",
            None,
        );
    }

    fn warn(&mut self, area: &'static str, text: impl Into<String>, mend: impl Into<String>) {
        self.add(State::Warning, area, text, Some(mend.into()));
    }

    fn broken(&mut self, area: &'static str, text: impl Into<String>, mend: impl Into<String>) {
        self.add(State::Broken, area, text, Some(mend.into()));
    }
}

fn names(facts: &Facts, out: &mut Findings) {
    let host = &facts.looked_up;
    match &facts.names {
        Step::NotReached => out.unknown("names"),
        Step::Failed(cause) => out.broken(
            "names",
            format!("looking up {host}: {cause}"),
            match facts.proxy {
                Some(_) => "check the proxy's name in PM2_PROXY, and this host's name servers (/etc/resolv.conf)",
                None => "check the hub's address, and this host's name servers (/etc/resolv.conf); behind a proxy set PM2_PROXY",
            },
        ),
        Step::Done(addresses) => {
            let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            out.well("names", format!("{host} is {}", list.join(", ")));
        }
    }
}

fn ports(facts: &Facts, out: &mut Findings) {
    if facts.ports.is_empty() {
        return out.unknown("tcp");
    }
    let reached = facts.ports.iter().any(|(_, outcome)| outcome.is_ok());
    let who = if facts.proxy.is_some() {
        "the proxy"
    } else {
        "the hub"
    };
    for (address, outcome) in &facts.ports {
        match outcome {
            Ok(()) => out.well("tcp", format!("{address} can be reached")),
            Err(cause) if reached => out.warn(
                "tcp",
                format!("connecting to {address}: {cause}"),
                format!("let outbound TCP to {address} pass, or take the address out of the name's records"),
            ),
            Err(cause) => out.broken(
                "tcp",
                format!("connecting to {address}: {cause}"),
                format!("let outbound TCP to {address} pass in firewalls, and see that {who} runs there"),
            ),
        }
    }
}

fn tunnel(facts: &Facts, program: &str, out: &mut Findings) {
    let Some(proxy) = &facts.proxy else {
        return out.well("proxy", "none is used");
    };
    let hub = &facts.host_port;
    match &facts.tunnel {
        Step::NotReached => out.unknown("proxy"),
        Step::Done(()) => out.well("proxy", format!("{proxy} leads to {hub}")),
        Step::Failed(cause) => out.broken(
            "proxy",
            format!("reaching {hub} by {proxy}: {cause}"),
            match facts.proxy_login {
                false if cause.contains("user and a password") => {
                    format!("PM2_PROXY=<scheme>://<user>:<password>@<host>:<port> {program} link")
                }
                true if cause.contains("user and password") => {
                    format!("mend user and password in PM2_PROXY, then {program} link")
                }
                _ => format!(
                    "let the proxy open tunnels (CONNECT) to {hub}, or go without it: PM2_PROXY=none {program} link"
                ),
            },
        ),
    }
}

fn tls(facts: &Facts, out: &mut Findings) {
    if !facts.is_secure {
        let host = host_of(&facts.host_port);
        return match host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()) {
            true => out.well("tls", "none, and none is needed inside this host"),
            false => out.warn(
                "tls",
                "keys and data travel in clear",
                "put a proxy with TLS before the hub, and link to its https:// address",
            ),
        };
    }
    match &facts.tls {
        Step::NotReached => out.unknown("tls"),
        Step::Done(()) => out.well("tls", format!("the certificate of {} is good", facts.host_port)),
        Step::Failed(TlsTrouble { kind, cause }) => out.broken(
            "tls",
            format!("securing the connection to {}: {cause}", facts.host_port),
            match kind {
                TlsFault::Authority => {
                    "add the authority of its certificate to this host, or name its file in SSL_CERT_FILE or NODE_EXTRA_CA_CERTS for the daemon; \
                     if a proxy opens TLS on the way, add the authority of that"
                }
                TlsFault::Name => "link to the name that the certificate is for, or give the hub a certificate for this one",
                TlsFault::Time => "renew the hub's certificate; if it is in order, set the clock of this host",
                TlsFault::Other => "see that TLS is spoken at that port: a hub without it is linked by http://",
            },
        ),
    }
}

fn host_of(host_port: &str) -> &str {
    let host = host_port.rsplit_once(':').map_or(host_port, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn hub(facts: &Facts, program: &str, out: &mut Findings) {
    let at = &facts.root;
    match &facts.answer {
        Step::NotReached => out.unknown("hub"),
        Step::Failed(cause) => out.broken(
            "hub",
            format!("asking {at}: {cause}"),
            "see that the hub runs, and look at its log; a proxy before it must pass requests on",
        ),
        Step::Done(Answer::Stranger(status)) => out.broken(
            "hub",
            format!("what answers at {at} is no hub of this kind (HTTP status {status})"),
            format!(
                "{program} link --info-node <address of the hub>; it stands in the dashboard under Connect"
            ),
        ),
        Step::Done(Answer::Refused(..)) => out.well("hub", format!("a hub answers at {at}")),
        Step::Done(Answer::Hub(says)) => {
            let text = format!("hub {} answers at {at}", clip(&says.hub, 40));
            match says.prospect.as_ref().and_then(|p| p.failure.as_ref()) {
                Some(failure) => out.well(
                    "hub",
                    format!(
                        "{text}; what it last had to complain of: {}",
                        clip(&failure.text, MAX_SAID)
                    ),
                ),
                None => out.well("hub", text),
            }
        }
    }
}

fn upgrade(facts: &Facts, out: &mut Findings) {
    match &facts.upgrade {
        Step::NotReached => out.unknown("websocket"),
        Step::Done(()) => out.well("websocket", "one can be opened"),
        Step::Failed(cause) => out.broken(
            "websocket",
            format!("none gets through to {}: {cause}", facts.host_port),
            "let what stands in between pass `Upgrade: websocket`; until then data goes out by HTTP POST and no command comes in",
        ),
    }
}

fn clock(facts: &Facts, out: &mut Findings) {
    let Some(ahead) = facts.clock_ahead_ms else {
        return out.unknown("clock");
    };
    let off = ahead.saturating_abs();
    let text = format!(
        "this host's clock is {} {} the hub's",
        duration(off),
        if ahead > 0 { "ahead of" } else { "behind" }
    );
    let mend = "set the clock: timedatectl set-ntp true";
    match off {
        CLOCK_BROKEN_MS.. => out.broken("clock", text, mend),
        CLOCK_WARNING_MS.. => out.warn("clock", text, mend),
        _ => out.well("clock", "as the hub's"),
    }
}

fn duration(ms: i64) -> String {
    match ms / 1000 {
        s @ ..120 => format!("{s} s"),
        s @ ..7_200 => format!("{} min", s / 60),
        s @ ..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

fn keys(facts: &Facts, says: Option<&HubSays>, program: &str, out: &mut Findings) {
    match (&facts.answer, says) {
        (_, Some(says)) if says.swapped => out.warn(
            "keys",
            "secret and public key are the wrong way round; this hub takes them all the same",
            format!("{program} link <secret> <public>: once linked they are stored in their order"),
        ),
        (_, Some(_)) => out.well("keys", "the hub knows them"),
        (Step::Done(Answer::Refused(_, said)), None) => out.broken(
            "keys",
            match said.is_empty() {
                true => "the hub does not take them".to_owned(),
                false => format!("the hub does not take them: {}", clip(said, MAX_SAID)),
            },
            format!(
                "copy the command from the dashboard, under Connect: {program} link <secret> <public> [name]"
            ),
        ),
        _ => out.unknown("keys"),
    }
}

fn name(facts: &Facts, says: Option<&HubSays>, program: &str, out: &mut Findings) {
    let name = &facts.name;
    let mend = || format!("PM2_MACHINE_NAME=<another name> {program} link");
    if !facts.neighbours.is_empty() {
        let homes: Vec<String> = facts.neighbours.iter().map(|h| h.display().to_string()).collect();
        return out.warn(
            "name",
            format!(
                "another home of this host is linked as {name}: {}",
                homes.join(", ")
            ),
            mend(),
        );
    }
    let Some(Prospect { twins, .. }) = says.and_then(|says| says.prospect.as_ref()) else {
        return out.unknown("name");
    };
    let others: Vec<String> = twins
        .iter()
        .take(5)
        .map(|twin| match &twin.username {
            Some(user) => format!("{}@{}", clip(user, 60), clip(&twin.hostname, 100)),
            None => clip(&twin.hostname, 100).to_owned(),
        })
        .collect();
    match others.is_empty() {
        true => out.well("name", format!("no other server is linked as {name}")),
        false => out.warn(
            "name",
            format!("another server is linked as {name}: {}", others.join(", ")),
            mend(),
        ),
    }
}

fn plan(says: Option<&HubSays>, program: &str, out: &mut Findings) {
    let Some(prospect) = says.and_then(|says| says.prospect.as_ref()) else {
        return out.unknown("plan");
    };
    let usage = &prospect.usage;
    if prospect.hidden {
        return out.broken(
            "plan",
            "this server was deleted in the dashboard, and hides until it is linked again",
            format!("{program} link"),
        );
    }
    if prospect.full {
        let most = usage.max_servers.unwrap_or_default();
        return out.broken(
            "plan",
            format!("the bucket takes {most} servers and has as many"),
            "delete one in the bucket's settings, or have the limit raised; this server then links by itself",
        );
    }
    let limit = usage
        .limit
        .map_or("no limit".to_owned(), |n| format!("{n} processes"));
    match prospect.held_back {
        0 => out.well("plan", format!("{} in use, {limit}", usage.used)),
        n => out.warn(
            "plan",
            format!(
                "{n} of this server's processes are not monitored: {} in use, {limit}",
                usage.used
            ),
            format!(
                "{program} unmonitor what need not be seen, or choose a larger plan in the bucket's settings"
            ),
        ),
    }
}

fn versions(facts: &Facts, says: Option<&HubSays>, program: &str, out: &mut Findings) {
    let refused = wire::versions::check(&facts.pm2_version, &facts.node_version)
        .err()
        .map(|unfit| unfit.to_string())
        .or_else(|| says.and_then(|says| says.too_old.clone()));
    if let Some(why) = refused {
        return out.broken(
            "versions",
            clip(&why, MAX_SAID),
            format!("install a newer Node.js, restart the apps with it, then {program} link"),
        );
    }
    let node = match facts.node_version.trim() {
        "" => "no node".to_owned(),
        version => format!("node {}", version.trim_start_matches('v')),
    };
    let text = format!(
        "agent {}, PM2 {}, {node}",
        env!("CARGO_PKG_VERSION"),
        facts.pm2_version
    );
    match says {
        Some(says) if says.protocol != wire::PROTOCOL => out.warn(
            "versions",
            format!(
                "{text}; the hub speaks protocol {}, this agent {}",
                says.protocol,
                wire::PROTOCOL
            ),
            "bring hub and hosts to the same release",
        ),
        _ => out.well("versions", text),
    }
}

#[cfg(test)]
mod tests;
