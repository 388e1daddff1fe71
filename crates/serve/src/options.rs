//! What is served and how, as the environment says it.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where it listens unless it is told otherwise.
const HOST: &str = "0.0.0.0";
const PORT: u16 = 8080;

/// Configuration that can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionsError {
    /// No port.
    #[error("PM2_SERVE_PORT is {0:?}: a port is a number from 0 to 65535")]
    Port(String),
    /// A password is wanted but there is none.
    #[error("basic authentication is on, but {0} is not set: nobody could get in")]
    Credentials(&'static str),
}

/// What is served and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder.
    pub root: PathBuf,
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 lets the kernel choose.
    pub port: u16,
    /// What is not there is answered by the home page: the page's own script knows the way.
    pub single_page: bool,
    /// Folders without an index are listed.
    pub listing: bool,
    /// The home page, below the root.
    pub home_page: String,
    /// User and password, if they are wanted.
    pub credentials: Option<(String, String)>,
    /// Links may lead out of the root.
    pub follow_links: bool,
}

impl Options {
    /// Reads `PM2_SERVE_*`. A relative path is below `cwd`.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn from_env(env: impl Fn(&str) -> Option<String>, cwd: &Path) -> Result<Options, OptionsError> {
        let text = |name: &str| env(&format!("PM2_SERVE_{name}")).filter(|value| !value.is_empty());
        let on = |name: &str| text(name).is_some_and(|value| value != "false");
        // The ports that hosting platforms hand out come under other names.
        let port = text("PORT").or_else(|| env("PORT").filter(|value| !value.is_empty()));
        let port = match port {
            Some(port) => port.trim().parse().map_err(|_| OptionsError::Port(port))?,
            None => PORT,
        };
        let credentials = if on("BASIC_AUTH") {
            let wanted = |name, full| text(name).ok_or(OptionsError::Credentials(full));
            Some((
                wanted("BASIC_AUTH_USERNAME", "PM2_SERVE_BASIC_AUTH_USERNAME")?,
                wanted("BASIC_AUTH_PASSWORD", "PM2_SERVE_BASIC_AUTH_PASSWORD")?,
            ))
        } else {
            None
        };
        Ok(Options {
            root: cwd.join(text("PATH").unwrap_or_else(|| ".".into())),
            host: text("HOST").unwrap_or_else(|| HOST.into()),
            port,
            single_page: on("SPA"),
            listing: on("FTP") || on("DIRECTORY"),
            home_page: text("HOMEPAGE").map_or_else(
                || "index.html".into(),
                |page| page.trim_start_matches('/').to_owned(),
            ),
            credentials,
            follow_links: text("SYMLINKS").is_some_and(|value| value == "follow"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Options, OptionsError> {
        let env = |name: &str| {
            vars.iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Options::from_env(env, Path::new("/srv"))
    }

    #[test]
    fn defaults_and_values() {
        let bare = read(&[]).unwrap();
        assert_eq!(
            (bare.root.to_str(), bare.port, bare.host.as_str()),
            (Some("/srv/."), 8080, "0.0.0.0")
        );
        assert!(!bare.single_page && !bare.listing && bare.credentials.is_none() && !bare.follow_links);
        let full = read(&[
            ("PM2_SERVE_PATH", "site"),
            ("PM2_SERVE_PORT", "81"),
            ("PM2_SERVE_SPA", "true"),
            ("PM2_SERVE_FTP", "false"),
            ("PM2_SERVE_HOMEPAGE", "/app.html"),
            ("PM2_SERVE_BASIC_AUTH", "true"),
            ("PM2_SERVE_BASIC_AUTH_USERNAME", "u"),
            ("PM2_SERVE_BASIC_AUTH_PASSWORD", "p"),
            ("PM2_SERVE_SYMLINKS", "follow"),
        ])
        .unwrap();
        assert_eq!(full.root, Path::new("/srv/site"));
        assert_eq!((full.port, full.home_page.as_str()), (81, "app.html"));
        assert!(full.single_page && !full.listing && full.follow_links);
        assert_eq!(full.credentials, Some(("u".into(), "p".into())));
        assert_eq!(read(&[("PORT", "90")]).unwrap().port, 90);
    }

    #[test]
    fn what_can_not_be_meant_is_told() {
        assert_eq!(
            read(&[("PM2_SERVE_PORT", "http")]),
            Err(OptionsError::Port("http".into()))
        );
        let half = [
            ("PM2_SERVE_BASIC_AUTH", "true"),
            ("PM2_SERVE_BASIC_AUTH_USERNAME", "u"),
        ];
        assert_eq!(
            read(&half),
            Err(OptionsError::Credentials("PM2_SERVE_BASIC_AUTH_PASSWORD"))
        );
    }
}
