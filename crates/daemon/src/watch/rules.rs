//! Which paths count. Pure: nothing here looks at a disk.
//!
//! The rules are those that users of PM2 know from its watcher: names and globs are relative to the app's folder, a name stands for all
//! below it, `*` takes hidden files too but no `/`, and what an editor leaves beside a file is never a change.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use pm2::env::WatchedFiles;

/// Compiled rules of one watch.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Where to look, and the glob that a path there has to match.
    roots: Vec<(PathBuf, Option<GlobMatcher>)>,
    ignored: Ignored,
    own: OwnFiles,
}

/// Files that the manager itself writes. An app must not be restarted because it was logged that it was restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnFiles {
    /// What lies in this folder, not deeper.
    pub(crate) home: PathBuf,
    /// These, and all below them.
    pub(crate) paths: Vec<PathBuf>,
}

impl OwnFiles {
    fn has(&self, path: &Path) -> bool {
        path.parent() == Some(&self.home) || self.paths.iter().any(|own| path.starts_with(own))
    }
}

#[derive(Debug)]
enum Ignored {
    /// Hidden files and `node_modules`, below the root.
    Usual,
    These(Vec<Entry>),
}

#[derive(Debug)]
enum Entry {
    /// A path, and all below it.
    Path(PathBuf),
    Glob(GlobMatcher),
}

impl Rules {
    /// The rules, and what could not be understood of them.
    pub(crate) fn new(files: &WatchedFiles, own: OwnFiles) -> (Self, Vec<String>) {
        let mut complaints = Vec::new();
        let mut compile = |pattern: &Path| match glob(&files.cwd, pattern) {
            Ok(glob) => Some(glob),
            Err(reason) => {
                complaints.push(format!(
                    "the pattern {} can't be used: {reason}",
                    pattern.display()
                ));
                None
            }
        };
        let roots = files.paths.iter().filter_map(|text| {
            let whole = absolute(&files.cwd, text);
            if !is_glob(text) {
                return Some((whole, None));
            }
            Some((fixed_part(&files.cwd, &whole), Some(compile(&whole)?)))
        });
        let roots = roots.collect();
        let ignored = files.ignored.as_ref().map_or(Ignored::Usual, |list| {
            let entries = list.iter().filter_map(|text| {
                let whole = absolute(&files.cwd, text);
                if is_glob(text) {
                    compile(&whole).map(Entry::Glob)
                } else {
                    Some(Entry::Path(whole))
                }
            });
            Ignored::These(entries.collect())
        });
        (Self { roots, ignored, own }, complaints)
    }

    /// Where to look: absolute paths, which need not exist.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|(root, _)| root.as_path())
    }

    /// Nothing in this folder counts, nor below it.
    pub(crate) fn skips(&self, folder: &Path) -> bool {
        !self
            .roots
            .iter()
            .any(|(root, _)| folder.starts_with(root) && !self.ignores(root, folder))
    }

    /// A change of this path is a change.
    pub(crate) fn counts(&self, path: &Path) -> bool {
        if is_leftover(path) || self.own.has(path) {
            return false;
        }
        self.roots.iter().any(|(root, wanted)| {
            path.starts_with(root)
                && wanted.as_ref().is_none_or(|glob| glob.is_match(path))
                && !self.ignores(root, path)
        })
    }

    fn ignores(&self, root: &Path, path: &Path) -> bool {
        let below = path.strip_prefix(root).unwrap_or(path);
        match &self.ignored {
            Ignored::Usual => below.components().any(|part| {
                let name = part.as_os_str().as_encoded_bytes();
                name.starts_with(b".") || contains(name, b"node_modules")
            }),
            Ignored::These(entries) => {
                let up_to_root = path.ancestors().take_while(|up| up.starts_with(root));
                up_to_root.into_iter().any(|up| {
                    entries.iter().any(|entry| match entry {
                        Entry::Path(ignored) => up.starts_with(ignored),
                        Entry::Glob(glob) => glob.is_match(up),
                    })
                })
            }
        }
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

/// What editors put beside the file they write: swap files and backups.
fn is_leftover(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return false;
    };
    let swap = name.len() > 4 && name.contains('.') && [".swp", ".swx"].iter().any(|end| name.ends_with(end));
    let sublime = name.contains(".subl") && name.ends_with(".tmp");
    name.ends_with('~') || swap || sublime || name == "4913"
}

/// Signs that make a text a pattern.
fn is_glob(text: &str) -> bool {
    let bytes = text.as_bytes();
    let group = |at: usize| matches!(bytes.get(at), Some(b'@' | b'?' | b'!' | b'+' | b'*'));
    text.contains(['*', '?', '[', '{'])
        || text
            .match_indices('(')
            .any(|(at, _)| at.checked_sub(1).is_some_and(group))
}

/// The path that the text names, without `.`, `..`, and doubled or trailing slashes. A backslash counts as a slash, as it does in PM2.
fn absolute(cwd: &Path, text: &str) -> PathBuf {
    let slashes = text.replace('\\', "/");
    let whole = if text.starts_with('/') {
        PathBuf::from(slashes)
    } else {
        cwd.join(slashes.trim_start_matches('/'))
    };
    let mut out = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The folders before the first part that is a pattern. Signs in the name of the app's own folder are none.
fn fixed_part(cwd: &Path, pattern: &Path) -> PathBuf {
    let plain = |part: &Component<'_>| !is_glob(&part.as_os_str().to_string_lossy());
    match pattern.strip_prefix(cwd) {
        Ok(below) => cwd
            .components()
            .chain(below.components().take_while(plain))
            .collect(),
        Err(_) => pattern.components().take_while(plain).collect(),
    }
}

fn glob(cwd: &Path, pattern: &Path) -> Result<GlobMatcher, String> {
    let utf8 = |path: &Path| path.to_str().map(str::to_owned).ok_or("it is not UTF-8");
    let text = match pattern.strip_prefix(cwd) {
        Ok(below) => format!("{}/{}", globset::escape(&utf8(cwd)?), utf8(below)?),
        Err(_) => utf8(pattern)?,
    };
    // `folder/**` stands for the folder too.
    let text = match text.strip_suffix("/**") {
        Some(folder) => format!("{folder}{{,/**}}"),
        None => text,
    };
    let text = groups_as_braces(&text)?;
    let built = GlobBuilder::new(&text)
        .literal_separator(true)
        .empty_alternates(true)
        .build();
    built
        .map(|glob| glob.compile_matcher())
        .map_err(|error| error.kind().to_string())
}

/// `@(a|b)` is `{a,b}`, `?(a|b)` may also be nothing.
fn groups_as_braces(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<bool> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '@' | '?' if chars.peek() == Some(&'(') => {
                chars.next();
                open.push(c == '?');
                out.push('{');
            }
            '!' | '+' | '*' if chars.peek() == Some(&'(') => {
                return Err(format!("{c}(…) is not available; name the paths one by one"));
            }
            '|' if !open.is_empty() => out.push(','),
            ')' if !open.is_empty() => {
                let optional = open.pop() == Some(true);
                out.push_str(if optional { ",}" } else { "}" });
            }
            other => out.push(other),
        }
    }
    if open.is_empty() {
        Ok(out)
    } else {
        Err("a ( is not closed".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str], ignored: Option<&[&str]>) -> WatchedFiles {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        WatchedFiles {
            cwd: "/srv/.app".into(),
            paths: texts(paths),
            ignored: ignored.map(texts),
            follow_links: true,
            depth: None,
            poll: None,
        }
    }

    /// `+path` counts, `-path` does not; relative to the app's folder.
    #[track_caller]
    fn check(paths: &[&str], ignored: Option<&[&str]>, cases: &str) {
        let (rules, complaints) = Rules::new(&files(paths, ignored), OwnFiles::default());
        assert_eq!(complaints, [""; 0]);
        for case in cases.split_whitespace() {
            let (expected, path) = case.split_at(1);
            let path = Path::new("/srv/.app").join(path);
            assert_eq!(
                rules.counts(&path),
                expected == "+",
                "{case} with {paths:?}, without {ignored:?}"
            );
        }
    }

    #[test]
    fn by_default_hidden_files_and_modules_do_not_count() {
        check(
            &["."],
            None,
            "+a.js +src/deep/b.js -.git/HEAD -src/.env -node_modules/x/i.js -a/node_modules/b",
        );
        // The original looks at the whole path, so an app in a hidden folder is never restarted; here its folder says nothing.
        check(&["."], None, "+app.js");
        check(&[".config"], None, "+.config/a -.config/.b -other");
    }

    #[test]
    fn names_stand_for_all_below() {
        let ignored = Some(["node_modules", "client/img", "./tmp/", "\\.git"].as_slice());
        check(
            &["."],
            ignored,
            "-node_modules -node_modules/x -client/img/a.png +client/imgs +client/a.js -tmp/a -.git/HEAD +.env +src/node_modules",
        );
        check(
            &["server", "client"],
            ignored,
            "+server/a +client/b -client/img/c -other -serverless/a +server",
        );
        check(&["."], Some(&[]), "+.git/HEAD +node_modules/a");
        check(&["."], Some(&["/srv/.app/logs"]), "-logs/a +log");
    }

    #[test]
    fn globs() {
        check(&["."], Some(&["*.log"]), "-a.log +deep/a.log -.hidden.log");
        check(
            &["."],
            Some(&["**/*.log", "tmp/**"]),
            "-a.log -deep/er/a.log -tmp -tmp/x/y +tmpx",
        );
        check(
            &["."],
            Some(&["**/{a,b}.js", "?.txt", "[0-9]*"]),
            "-a.js -x/b.js +c.js -q.txt +qq.txt -1/x +x1",
        );
        check(
            &["."],
            Some(&["*.@(log|tmp)", "x?(y).js"]),
            "-a.log -a.tmp +a.txt -x.js -xy.js +xyy.js",
        );
        check(&["src/**/*.js"], None, "+src/a.js +src/x/y/a.js -src/a.txt -a.js");
        check(&["{server,client}/*.js"], None, "+server/a.js -server/x/a.js");
        let (rules, _) = Rules::new(&files(&["src/**/*.js", "lib"], None), OwnFiles::default());
        assert_eq!(
            rules.roots().collect::<Vec<_>>(),
            [Path::new("/srv/.app/src"), Path::new("/srv/.app/lib")]
        );
    }

    #[test]
    fn signs_in_the_name_of_the_folder_are_no_pattern() {
        let mut files = files(&["src/*.js"], Some(&["*.log"]));
        files.cwd = "/srv/[a]{b}".into();
        let (rules, _) = Rules::new(&files, OwnFiles::default());
        assert!(rules.counts(Path::new("/srv/[a]{b}/src/x.js")));
        assert!(!rules.counts(Path::new("/srv/ab/src/x.js")));
        assert_eq!(rules.roots().next(), Some(Path::new("/srv/[a]{b}/src")));
    }

    #[test]
    fn what_editors_leave_behind_does_not_count() {
        check(
            &["."],
            Some(&[]),
            "-.a.js.swp -a.js~ -a.swx +swp -x/.subl12.tmp +a.tmp -4913",
        );
    }

    #[test]
    fn folders_that_need_not_be_looked_at() {
        let (rules, _) = Rules::new(
            &files(&["src", "lib/*.js"], Some(&["src/gen"])),
            OwnFiles::default(),
        );
        let skips = |path: &str| rules.skips(&Path::new("/srv/.app").join(path));
        assert!(skips("src/gen") && skips("src/gen/x") && skips("other"));
        assert!(!skips("src") && !skips("src/a") && !skips("lib"));
    }

    #[test]
    fn what_the_manager_writes_does_not_count() {
        let own = OwnFiles {
            home: "/srv/.app/pm2".into(),
            paths: vec!["/srv/.app/pm2/logs".into(), "/srv/.app/api.log".into()],
        };
        let (rules, _) = Rules::new(&files(&["."], None), own);
        let counts = |path: &str| rules.counts(&Path::new("/srv/.app").join(path));
        assert!(!counts("pm2/pm2.log") && !counts("pm2/logs/api-out.log") && !counts("api.log"));
        assert!(counts("pm2/modules/x/index.js") && counts("api.js"));
    }

    #[test]
    fn patterns_that_cannot_be_used_are_told() {
        let (_, complaints) = Rules::new(
            &files(&["."], Some(&["!(a).js", "[", "@(a"])),
            OwnFiles::default(),
        );
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].contains("!(…) is not available"), "{complaints:?}");
    }
}
