//! The entry points of `pilothouse hub`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::auth::NewToken;
use crate::clock::Clock;
use crate::options::{ExtraPort, HubOptions, OwnerPreset, Retention, SeparatePorts};
use crate::proxies::Network;
use crate::server::{HubError, Running, start};
use crate::setup::Welcome;
use crate::store::catalog::{Accounts, Tokens};
use crate::store::sqlite::SqliteCatalog;

/// Runs a hub: collects what servers report, and shows it.
#[derive(Debug, Parser)]
#[command(name = "hub", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Personal tokens.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Prints a new personal token, with which programs log in. The hub may run meanwhile.
    Create {
        /// Folder of the hub's data.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// E-mail address or name of the account that the token speaks for.
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// What it is for.
        #[arg(long, default_value = "command line")]
        label: String,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Folder to keep everything in; made when missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8484")]
    listen: String,
    /// Where agents bring their data, if that is to take a port of its own (PM2 had 80); with --reverse-listen.
    #[arg(long, value_name = "ADDR:PORT", requires = "reverse_listen")]
    push_listen: Option<String>,
    /// Where agents fetch commands, if that is to take a port of its own (PM2 had 43554); with --push-listen.
    #[arg(long, value_name = "ADDR:PORT", requires = "push_listen")]
    reverse_listen: Option<String>,
    /// How agents reach --push-listen, when it is behind a proxy; needed where they reach this hub by https.
    #[arg(long, value_name = "URL", requires = "push_listen")]
    push_url: Option<String>,
    /// How agents reach --reverse-listen, when it is behind a proxy; needed where they reach this hub by https.
    #[arg(long, value_name = "URL", requires = "reverse_listen")]
    reverse_url: Option<String>,
    /// Print the start facts as one line of JSON.
    #[arg(long)]
    json: bool,
    /// How browsers and agents reach this hub, when it is behind a proxy: https://hub.example.org
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Addresses or networks of the proxies in front of it, whose X-Forwarded-For is believed: 127.0.0.1,10.0.0.0/8
    #[arg(long = "proxy", value_name = "ADDR", value_delimiter = ',')]
    proxies: Vec<Network>,
    /// Where people turn with what the help does not answer: an issue tracker, a chat, an address
    #[arg(long, value_name = "URL")]
    support_url: Option<String>,
    /// Let anybody make an account; otherwise by invitation only.
    #[arg(long)]
    registration: bool,
    /// Days that history is kept in steps of one minute.
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    keep_days: u32,
    /// Gigabytes that history may take on disk.
    #[arg(long, value_name = "GB", default_value_t = 10)]
    max_disk: u64,
}

/// Runs what the arguments after `hub` ask for, to its end. Reads `PILOTHOUSE_OWNER_EMAIL` and
/// `PILOTHOUSE_OWNER_PASSWORD`. Logging is set up by the caller; what is meant for the user goes to stdout, errors to
/// stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = std::iter::once(OsString::from("hub")).chain(args);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Some(Command::Token {
            command: TokenCommand::Create { data, user, label },
        }) => create_token(&data.unwrap_or_else(default_data), &user, &label).map(|token| say(&token)),
        None => options(cli.run).and_then(run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `$XDG_DATA_HOME/pilothouse/hub`, or the same in the user's home.
fn default_data() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|path| Path::new(path).is_absolute())
        .map_or_else(
            || {
                std::env::home_dir()
                    .unwrap_or_else(|| PathBuf::from("."))
                    .join(".local/share")
            },
            PathBuf::from,
        );
    base.join("pilothouse/hub")
}

/// An address that begins as it must, without a slash at its end.
fn url(option: &str, given: Option<String>, schemes: &[&str]) -> Result<Option<String>, HubError> {
    let Some(url) = given else { return Ok(None) };
    if schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(Some(url.trim_end_matches('/').to_owned()));
    }
    let known = schemes.join(" or ");
    Err(HubError::Options(format!(
        "{option} {url:?} does not begin with {known}"
    )))
}

fn options(args: RunArgs) -> Result<HubOptions, HubError> {
    let public_url = url("--public-url", args.public_url, &["https://", "http://"])?;
    let support_url = url(
        "--support-url",
        args.support_url,
        &["https://", "http://", "mailto:"],
    )?;
    let extra = |listen: String, option, given| {
        let url = url(option, given, &["https://", "http://"])?;
        Ok::<_, HubError>(ExtraPort { listen, url })
    };
    // Each needs the other, as the arguments are declared.
    let separate = match (args.push_listen, args.reverse_listen) {
        (Some(push), Some(reverse)) => Some(SeparatePorts {
            push: extra(push, "--push-url", args.push_url)?,
            reverse: extra(reverse, "--reverse-url", args.reverse_url)?,
        }),
        _ => None,
    };
    let env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(HubOptions {
        listen: args.listen,
        separate,
        proxies: args.proxies.into_iter().collect(),
        json: args.json,
        public_url,
        support_url,
        owner: OwnerPreset {
            email: env("PILOTHOUSE_OWNER_EMAIL"),
            password: env("PILOTHOUSE_OWNER_PASSWORD"),
        },
        registration: args.registration,
        retention: Retention {
            minutes: Duration::from_secs(u64::from(args.keep_days.max(1)) * 86_400),
            disk_bytes: args.max_disk.max(1) << 30,
            ..Retention::default()
        },
        ..HubOptions::new(args.data.unwrap_or_else(default_data))
    })
}

/// Runs a hub until SIGINT or SIGTERM.
pub fn run(options: HubOptions) -> Result<(), HubError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hub")
        .build()
        .map_err(|source| HubError::Io {
            doing: "start the runtime",
            source,
        })?;
    let done = runtime.block_on(async {
        let as_json = options.json;
        let data = options.data.clone();
        let signal = end_signal()?;
        let hub = start(options).await?;
        say(&if as_json {
            facts_json(&hub)
        } else {
            facts_text(&hub, &data)
        });
        signal.await;
        tracing::info!("stopping");
        hub.stop().await;
        Ok(())
    });
    // A connection that hangs must not keep the process: everything that matters is on disk by now.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Resolves at the first signal that asks to end; the handlers are in place when this returns.
fn end_signal() -> Result<impl Future<Output = ()>, HubError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|source| HubError::Io {
            doing: "listen for signals",
            source,
        })
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The start facts for programs.
fn facts_json(hub: &Running) -> String {
    let mut facts = json!({ "url": hub.url });
    if let Some([push, reverse]) = hub.separate {
        facts["push"] = json!(push.to_string());
        facts["reverse"] = json!(reverse.to_string());
    }
    if let Some(Welcome {
        owner,
        password,
        bucket,
    }) = &hub.welcome
    {
        facts["owner"] = json!(owner.email);
        facts["bucket"] = json!(bucket.id);
        facts["public_key"] = json!(bucket.public_id);
        facts["secret_key"] = json!(bucket.secret_id);
        if let Some(password) = password {
            facts["password"] = json!(password);
        }
    }
    facts.to_string()
}

/// The start facts for people.
fn facts_text(hub: &Running, data: &Path) -> String {
    let mut text = format!("\n  Pilothouse hub\n\n  Dashboard   {}\n", hub.url);
    if let Some([push, reverse]) = hub.separate {
        text += &format!("  Agents      data on {push}, commands on {reverse}\n");
    }
    if let Some(Welcome {
        owner,
        password,
        bucket,
    }) = &hub.welcome
    {
        text += &format!("  Login       {}\n", owner.email);
        if let Some(password) = password {
            text += &format!("  Password    {password}   (shown this once)\n");
        }
        text += &format!(
            "\n  Link a server to it:\n    pilothouse link {} {} --info-node {}\n",
            bucket.secret_id, bucket.public_id, hub.url
        );
    }
    text + &format!("\n  Data in {}. Ctrl-C ends the hub.\n", data.display())
}

/// Makes a personal token for an account; a hub may be running on the same folder.
pub fn create_token(data: &Path, user: &str, label: &str) -> Result<String, HubError> {
    if !data.join("catalog.db").exists() {
        return Err(HubError::Options(format!(
            "there is no hub's data in {}; give its folder with --data",
            data.display()
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| HubError::Io {
            doing: "start the runtime",
            source,
        })?;
    runtime.block_on(async {
        let catalog = SqliteCatalog::open(data)?;
        let account = catalog
            .find_user(user.to_owned())
            .await?
            .ok_or_else(|| HubError::UnknownUser(user.to_owned()))?;
        let token = NewToken::refresh(&account, label, "all", Clock::system().now_ms(), None);
        catalog.create_token(token.stored).await?;
        Ok(token.secret)
    })
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to read it is no reason to end a hub.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_public_url_needs_a_scheme() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).map(|cli| options(cli.run));
        assert!(matches!(
            parse(&["hub", "--public-url", "hub.example.org"]),
            Ok(Err(HubError::Options(_)))
        ));
        let alone = parse(&["hub", "--push-listen", "127.0.0.1:80"])
            .map(drop)
            .unwrap_err();
        assert!(alone.to_string().contains("--reverse-listen"), "{alone}");
        let both = [
            "hub",
            "--push-listen",
            "127.0.0.1:80",
            "--reverse-listen",
            "127.0.0.1:43554",
            "--push-url",
            "push.example.org",
        ];
        assert!(matches!(parse(&both), Ok(Err(HubError::Options(_)))));
        let both = parse(&both[..5]).unwrap().unwrap().separate.unwrap();
        assert_eq!(
            (both.push.url, both.reverse.listen.as_str()),
            (None, "127.0.0.1:43554")
        );
        let taken = parse(&["hub", "--public-url", "https://hub.example.org/"])
            .unwrap()
            .unwrap();
        assert_eq!(taken.public_url.as_deref(), Some("https://hub.example.org"));
    }
}
