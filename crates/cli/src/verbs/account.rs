//! `plus`, `login`, `register`, `logout`, `open`: an account of a hub, and the way from it to a linked machine.
//!
//! What is kept, in `pm2-io-token`, is the hub's address and a token that can be revoked; never a password.

use super::{Then, link};
use crate::HubAsked;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::home::write_atomically;
use crate::prompt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::process::{Command, Stdio};

/// How this program calls itself where it logs in.
const CLIENT: &str = "pilothouse";
/// The bucket that somebody without one gets.
const FIRST_BUCKET: &str = "PM2 Plus Monitoring";
/// Where a token can be given instead of a password.
const TOKEN_VARIABLE: &str = "PM2_IO_TOKEN";
const MAX_FILE: u64 = 64 << 10;

/// A login that is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Session {
    /// Address of the hub.
    #[serde(default)]
    hub: String,
    refresh_token: String,
    /// It was given as a token, and is not this program's to revoke.
    #[serde(default)]
    personal: bool,
}

/// A bucket that may be linked to.
struct Bucket {
    name: String,
    id: String,
    plan: String,
    /// Secret and public; the secret one is not told to those who may only look.
    keys: Option<(String, String)>,
}

pub(crate) fn plus(context: &Context<'_>) -> Result<Then, Failure> {
    match context.typed.operands.first().map(String::as_str) {
        None if session(context)?.is_some() => choose_again(context),
        None | Some("login") => login(context),
        Some("register") => register(context),
        Some("logout") => logout(context),
        Some("open") => open(context),
        Some("link" | "list") => choose_again(context),
        Some(other) => Err(Failure::Error(format!(
            "plus {other}: say plus login, register, link, open or logout"
        ))),
    }
}

pub(crate) fn login(context: &Context<'_>) -> Result<Then, Failure> {
    let root = root(context)?;
    let token = context
        .typed
        .text("token")
        .map(str::to_owned)
        .or_else(|| var(TOKEN_VARIABLE));
    let (grant, personal) = match token {
        Some(token) => (refresh(context, &root, &token)?, true),
        None => {
            let name = match context.typed.text("username") {
                Some(name) => name.to_owned(),
                None => need(
                    prompt::line(context, "Username or e-mail address: ")?,
                    "a username",
                )?,
            };
            let password = need(prompt::secret(context, "Password: ")?, "a password")?;
            let body = json!({
                "grant_type": "password", "client_id": CLIENT, "username": name, "password": password,
            });
            (
                ask(context, &root, "POST", "/api/oauth/token", None, &body)?,
                false,
            )
        }
    };
    logged_in(context, &root, &grant, personal)
}

pub(crate) fn register(context: &Context<'_>) -> Result<Then, Failure> {
    let root = root(context)?;
    let username = match context.typed.text("username") {
        Some(name) => name.to_owned(),
        None => need(prompt::line(context, "Username: ")?, "a username")?,
    };
    let email = need(prompt::line(context, "E-mail address: ")?, "an e-mail address")?;
    let password = need(prompt::secret(context, "Password: ")?, "a password")?;
    let body = json!({
        "username": username, "email": email, "password": password, "accept_terms": true,
        "invitation": context.typed.text("invitation"),
    });
    let made = ask(context, &root, "POST", "/api/oauth/register", None, &body)?;
    context.console.info(format_args!("Account {username} was made"));
    let of = |what: &str| made.get(what).and_then(|token| token.get("token")).cloned();
    let grant = json!({ "access_token": of("access_token"), "refresh_token": of("refresh_token") });
    logged_in(context, &root, &grant, false)
}

pub(crate) fn logout(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    let Some(session) = session(context)? else {
        console.info("Nobody is logged in");
        return Ok(Then::Done);
    };
    if !session.personal {
        let revoked = refresh(context, &session.hub, &session.refresh_token).and_then(|grant| {
            let token = grant.get("access_token").and_then(Value::as_str);
            ask(
                context,
                &session.hub,
                "POST",
                "/api/oauth/revoke",
                token,
                &json!({}),
            )
        });
        if let Err(failure) = revoked {
            console.warn(format_args!(
                "the hub was not told, and its token stays valid until it expires: {failure}"
            ));
        }
    }
    let path = &context.home.io_token;
    std::fs::remove_file(path).map_err(Failure::file("removing", path))?;
    console.info(format_args!(
        "Logged out. A linked machine stays linked: {} unlink ends that",
        context.program
    ));
    Ok(Then::Done)
}

pub(crate) fn open(context: &Context<'_>) -> Result<Then, Failure> {
    let stored = context.links.stored(&context.home.root).map_err(Failure::Error)?;
    let url = match (stored, session(context)?) {
        (Some(link), _) if !link.root.is_empty() => format!("{}/#/r/{}", link.root, link.public_key),
        (_, Some(session)) if !session.hub.is_empty() => format!("{}/", session.hub),
        _ => {
            return Err(Failure::Error(format!(
                "this machine is not linked: {program} plus, or {program} link <secret> <public> --info-node <url>",
                program = context.program
            )));
        }
    };
    context.console.put(format_args!("{url}\n"));
    context.console.flush();
    let desktop = var("DISPLAY").or_else(|| var("WAYLAND_DISPLAY")).is_some();
    if desktop && context.console.width.is_some() {
        // Whoever has no browser has the address.
        let _ = Command::new("xdg-open")
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
    Ok(Then::Done)
}

/// Keeps the login, and goes on to the buckets.
fn logged_in(context: &Context<'_>, root: &str, grant: &Value, personal: bool) -> Result<Then, Failure> {
    let text = |key: &str| grant.get(key).and_then(Value::as_str).map(str::to_owned);
    let (Some(access), Some(refresh_token)) = (text("access_token"), text("refresh_token")) else {
        return Err(Failure::Error(format!(
            "{root} answered without tokens: it is no hub"
        )));
    };
    let session = Session {
        hub: root.to_owned(),
        refresh_token,
        personal,
    };
    crate::home::prepare(&context.home)?;
    let path = &context.home.io_token;
    let stored = serde_json::to_vec_pretty(&session)?;
    write_atomically(path, &stored, 0o600).map_err(Failure::file("writing", path))?;
    context.console.info(format_args!("Logged in to {root}"));
    choose(context, root, &access)
}

/// Somebody is logged in already: which bucket shall it be now?
fn choose_again(context: &Context<'_>) -> Result<Then, Failure> {
    let Some(session) = session(context)? else {
        return Err(Failure::Error(format!(
            "nobody is logged in: {} login",
            context.program
        )));
    };
    let root = match context.typed.text("info-node") {
        Some(_) => root(context)?,
        None => session.hub.clone(),
    };
    let grant = refresh(context, &root, &session.refresh_token)?;
    let access = grant
        .get("access_token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    choose(context, &root, access)
}

/// Shows the buckets, asks which one, and links to it.
fn choose(context: &Context<'_>, root: &str, access: &str) -> Result<Then, Failure> {
    let console = context.console;
    let list = ask(context, root, "GET", "/api/bucket", Some(access), &Value::Null)?;
    let mut buckets: Vec<Bucket> = list.as_array().into_iter().flatten().map(Bucket::of).collect();
    if buckets.is_empty() {
        let body = json!({ "name": FIRST_BUCKET });
        let made = ask(
            context,
            root,
            "POST",
            "/api/bucket/create_classic",
            Some(access),
            &body,
        )?;
        console.info(format_args!("There was no bucket; made {FIRST_BUCKET}"));
        buckets.push(Bucket::of(&made["bucket"]));
    }
    for (at, bucket) in buckets.iter().enumerate() {
        let may = if bucket.keys.is_none() {
            ", only to look at"
        } else {
            ""
        };
        console.say(format_args!(
            "  {}) {} (plan {}{may})",
            at + 1,
            bucket.name,
            bucket.plan
        ));
    }
    let chosen = match context.typed.text("bucket") {
        Some(chosen) => Some(chosen.to_owned()),
        None => prompt::line(
            context,
            "Link this machine to which bucket? [number, name, or none] ",
        )?,
    };
    let chosen = chosen.unwrap_or_default();
    if chosen.is_empty() || chosen == "none" {
        console.info(format_args!(
            "Nothing was linked; {} plus asks again",
            context.program
        ));
        return Ok(Then::Done);
    }
    let bucket = find(&buckets, &chosen)?;
    let Some((secret, public)) = &bucket.keys else {
        return Err(Failure::Error(format!(
            "your role in {} lets you look only: ask its owner for the role of a developer",
            bucket.name
        )));
    };
    link::with_keys(
        context,
        secret.clone(),
        public.clone(),
        None,
        Some(root.to_owned()),
    )
}

impl Bucket {
    fn of(value: &Value) -> Bucket {
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (secret, public) = (text("secret_id"), text("public_id"));
        Bucket {
            name: text("name"),
            id: text("_id"),
            plan: text("plan"),
            keys: (!secret.is_empty() && !public.is_empty()).then_some((secret, public)),
        }
    }
}

/// By id, by name, or by its place in the list.
fn find<'b>(buckets: &'b [Bucket], chosen: &str) -> Result<&'b Bucket, Failure> {
    let mut named = buckets.iter().filter(|bucket| bucket.name == chosen);
    let found = match (named.next(), named.next()) {
        (Some(bucket), None) => Some(bucket),
        (Some(_), Some(_)) => {
            return Err(Failure::Error(format!(
                "several buckets are named {chosen}: say the number, or --bucket with the id"
            )));
        }
        (None, _) => buckets.iter().find(|bucket| bucket.id == chosen).or_else(|| {
            let at: usize = chosen.parse().ok()?;
            buckets.get(at.checked_sub(1)?)
        }),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
        Failure::Error(format!("no bucket {chosen}; there are: {}", names.join(", ")))
    })
}

/// Where the hub is: what was typed, then the environment, then the last login, then the link.
fn root(context: &Context<'_>) -> Result<String, Failure> {
    let typed = context.typed.text("info-node").map(str::to_owned);
    let found = match typed.or_else(|| var("KEYMETRICS_NODE")) {
        Some(root) => Some(root),
        None => session(context)?
            .map(|session| session.hub)
            .filter(|root| !root.is_empty()),
    };
    let found = match found {
        Some(root) => Some(root),
        None => context
            .links
            .stored(&context.home.root)
            .map_err(Failure::Error)?
            .map(|link| link.root)
            .filter(|root| !root.is_empty()),
    };
    let Some(root) = found else {
        return Err(Failure::Error(format!(
            "which hub? Say its address by --info-node <url>, or run one: {} hub --data DIR --listen ADDR:PORT",
            context.program
        )));
    };
    context.links.hub_root(&root).map_err(Failure::Error)
}

/// The login that is kept, if there is one.
fn session(context: &Context<'_>) -> Result<Option<Session>, Failure> {
    use std::io::Read as _;
    let path = &context.home.io_token;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("reading", path)(error)),
    }
    // The parser's own words could quote the token.
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::Error(format!(
            "{} is not a login (line {}): remove it, and log in again",
            path.display(),
            error.line()
        ))
    })
}

/// A fresh access token for one that is kept.
fn refresh(context: &Context<'_>, root: &str, token: &str) -> Result<Value, Failure> {
    let body = json!({ "grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": token });
    ask(context, root, "POST", "/api/oauth/token", None, &body)
}

/// What the hub answers; a refusal is an error in its own words.
fn ask(
    context: &Context<'_>,
    root: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<Value, Failure> {
    let asked = HubAsked {
        method,
        path,
        token,
        body,
    };
    let (status, answer) = context.links.ask_hub(root, &asked).map_err(Failure::Error)?;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let said = ["msg", "error_description", "error"]
        .iter()
        .find_map(|key| answer.get(key).and_then(Value::as_str))
        .unwrap_or("it does not say why; is this the address of a hub?");
    Err(Failure::Error(format!("{root} refused (HTTP {status}): {said}")))
}

fn need(answer: Option<String>, what: &str) -> Result<String, Failure> {
    answer
        .filter(|answer| !answer.is_empty())
        .ok_or_else(|| Failure::Error(format!("{what} is needed; nothing was given")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_by_name_id_or_place() {
        let bucket = |name: &str, id: &str| {
            Bucket::of(
                &json!({ "name": name, "_id": id, "plan": "plus", "secret_id": "s", "public_id": "p" }),
            )
        };
        let buckets = [bucket("web", "a1"), bucket("2", "b2"), bucket("web", "c3")];
        let id = |chosen: &str| find(&buckets, chosen).map(|bucket| bucket.id.clone()).ok();
        assert_eq!(id("a1").as_deref(), Some("a1"));
        assert_eq!(id("2").as_deref(), Some("b2"), "a name goes before a place");
        assert_eq!(id("3").as_deref(), Some("c3"));
        for wrong in ["web", "0", "4", "-1", "nothing"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_may_only_look_has_no_keys() {
        let bucket = Bucket::of(&json!({ "name": "web", "secret_id": "", "public_id": "p" }));
        assert!(bucket.keys.is_none());
        assert!(Bucket::of(&Value::Null).keys.is_none());
    }
}
