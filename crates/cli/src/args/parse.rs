//! From argv to what was typed.

use super::Verb;
use super::options::{GLOBAL, Opt, Takes};
use super::table::{Entry, find};
use thiserror::Error;

/// A command line that can't be understood. The texts of the first three are PM2's; scripts look for them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum ParseError {
    #[error("unknown option `{0}'")]
    UnknownOption(String),
    #[error("missing required argument `{0}'")]
    MissingOperand(String),
    #[error("option `{0}' argument missing")]
    MissingValue(String),
    #[error("Command not found")]
    UnknownVerb(String),
    #[error("Unknown command argument: {1}")]
    ExtraOperand(Verb, String),
}

/// The value of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A switch, or an option without the value it could have.
    On,
    /// A `--no-…` switch.
    Off,
    /// With a value.
    Text(String),
}

/// A command line as it was typed; nothing is resolved yet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Typed {
    /// `None`: nothing but options.
    pub(crate) verb: Option<Verb>,
    /// What is no option, without the verb, up to `--`.
    pub(crate) operands: Vec<String>,
    /// Options in the order in which they were typed, by their long name (`no-` taken off).
    given: Vec<(&'static str, Given)>,
    /// Everything after `--`, untouched.
    pub(crate) rest: Vec<String>,
}

impl Typed {
    /// The last value of an option.
    pub(crate) fn get(&self, long: &str) -> Option<&Given> {
        self.given
            .iter()
            .rev()
            .find(|(name, _)| *name == long)
            .map(|(_, given)| given)
    }

    /// A switch is on.
    pub(crate) fn on(&self, long: &str) -> bool {
        matches!(self.get(long), Some(Given::On | Given::Text(_)))
    }

    /// A `--no-…` switch was given.
    pub(crate) fn off(&self, long: &str) -> bool {
        self.get(long) == Some(&Given::Off)
    }

    /// Takes an option as given unless it was.
    pub(crate) fn assume(&mut self, long: &'static str, given: Given) {
        if self.get(long).is_none() {
            self.given.push((long, given));
        }
    }

    /// The text of an option, if it was given with one.
    pub(crate) fn text(&self, long: &str) -> Option<&str> {
        match self.get(long) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// All texts of a repeatable option.
    pub(crate) fn texts(&self, long: &str) -> Vec<&str> {
        let named = self.given.iter().filter(|(name, _)| *name == long);
        named
            .filter_map(|(_, given)| match given {
                Given::Text(text) => Some(text.as_str()),
                Given::On | Given::Off => None,
            })
            .collect()
    }
}

/// Understands the arguments behind the program's name.
pub(crate) fn parse(argv: &[String]) -> Result<Typed, ParseError> {
    let (line, rest) = match argv.iter().position(|arg| arg == "--") {
        Some(at) => (&argv[..at], argv[at + 1..].to_vec()),
        None => (argv, Vec::new()),
    };
    let entry = match verb_token(&spread(line, &[])) {
        Some(token) => match find(&token) {
            None if asks_about_the_program(line) => None,
            found => Some(found.ok_or(ParseError::UnknownVerb(token))?),
        },
        None => None,
    };
    let own = entry.map_or(&[][..], |entry| entry.options);
    let mut typed = Typed {
        rest,
        ..Typed::default()
    };
    let mut words = spread(line, own).into_iter().peekable();
    while let Some(word) = words.next() {
        if !is_option(&word) {
            typed.operands.push(word);
            continue;
        }
        let option = match lookup(&word, own) {
            Some(option) => option,
            None if entry.is_some_and(|entry| entry.lenient) => continue,
            None => return Err(ParseError::UnknownOption(word)),
        };
        let (name, given) = match option.takes {
            Takes::Nothing => match option.long.strip_prefix("no-") {
                Some(name) => (name, Given::Off),
                None => (option.long, Given::On),
            },
            Takes::Value(_) => match words.next() {
                Some(text) => (option.long, Given::Text(text)),
                None => return Err(ParseError::MissingValue(spelled(option))),
            },
            Takes::Maybe(_) => match words.next_if(|next| !is_option(next)) {
                Some(text) => (option.long, Given::Text(text)),
                None => (option.long, Given::On),
            },
        };
        typed.given.push((name, given));
    }
    if let Some(entry) = entry {
        take_verb(&mut typed, entry)?;
    }
    Ok(typed)
}

/// What stands beside the question for the version, or behind that for help, may be anything.
fn asks_about_the_program(line: &[String]) -> bool {
    let is = |word: &String, names: &[&str]| names.contains(&word.as_str());
    line.iter().any(|word| is(word, &["-v", "-V", "--version"]))
        || line.first().is_some_and(|word| is(word, &["-h", "--help"]))
}

/// Whether what stands behind `--` is for somebody else: a script, or the shell that wants a completion. To other verbs it is a target
/// like any other, but one that may begin with a dash.
fn hands_on_words(verb: Verb) -> bool {
    !matches!(
        verb,
        Verb::Stop
            | Verb::Delete
            | Verb::Describe
            | Verb::Logs
            | Verb::Flush
            | Verb::Id
            | Verb::Pid
            | Verb::Reset
            | Verb::Send
            | Verb::SendSignal
            | Verb::Trigger
            | Verb::Scale
    )
}

/// Takes the verb's name out of the operands and checks their number.
fn take_verb(typed: &mut Typed, entry: &'static Entry) -> Result<(), ParseError> {
    typed.verb = Some(entry.verb);
    if let Some(at) = typed
        .operands
        .iter()
        .position(|word| entry.names.contains(&word.as_str()))
    {
        typed.operands.remove(at);
    }
    if typed.on("help") || typed.on("version") {
        return Ok(());
    }
    if !hands_on_words(entry.verb) {
        typed.operands.append(&mut typed.rest);
    }
    if let Some(name) = entry.required().nth(typed.operands.len()) {
        return Err(ParseError::MissingOperand(name.to_owned()));
    }
    if let (true, Some(extra)) = (entry.strict, typed.operands.first()) {
        return Err(ParseError::ExtraOperand(entry.verb, extra.clone()));
    }
    Ok(())
}

/// The first word that is neither an option nor the value of a global one.
fn verb_token(words: &[String]) -> Option<String> {
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if !is_option(word) {
            return Some(word.clone());
        }
        match lookup(word, &[]).map(|option| option.takes) {
            Some(Takes::Value(_)) => {
                words.next();
            }
            Some(Takes::Maybe(_)) => {
                words.next_if(|next| !is_option(next));
            }
            Some(Takes::Nothing) => {}
            // An option of a verb that is still to come: its value can't be told from the verb but by the verb's name.
            None => {
                words.next_if(|next| !is_option(next) && find(next).is_none());
            }
        }
    }
    None
}

/// Splits `--name=value` and `-abc`. A word behind an option that requires a value is left as it is.
fn spread(line: &[String], own: &'static [Opt]) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(line.len());
    for (at, word) in line.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| lookup(&line[at], own));
        let is_value = before.is_some_and(|option| matches!(option.takes, Takes::Value(_)));
        let letters = word
            .strip_prefix('-')
            .filter(|rest| rest.len() > 1 && !rest.starts_with('-'));
        match (word.split_once('='), letters) {
            _ if is_value => out.push(word.clone()),
            (Some((name, value)), None) if name.starts_with("--") => {
                out.extend([name.to_owned(), value.to_owned()]);
            }
            (_, Some(letters)) => out.extend(letters.chars().map(|letter| format!("-{letter}"))),
            _ => out.push(word.clone()),
        }
    }
    out
}

/// A lone `-` stands for standard input and is no option.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

fn lookup(word: &str, own: &'static [Opt]) -> Option<&'static Opt> {
    // A second spelling.
    let word = if word == "-V" { "-v" } else { word };
    let matches = |option: &&Opt| match word.strip_prefix("--") {
        Some(long) => option.long == long,
        None => word.strip_prefix('-').is_some_and(|letter| {
            let mut chars = letter.chars();
            option.short.is_some() && option.short == chars.next() && chars.next().is_none()
        }),
    };
    own.iter().find(matches).or_else(|| GLOBAL.iter().find(matches))
}

fn spelled(option: &Opt) -> String {
    let value = match option.takes {
        Takes::Nothing => String::new(),
        Takes::Value(name) => format!(" <{name}>"),
        Takes::Maybe(name) => format!(" [{name}]"),
    };
    match option.short {
        Some(letter) => format!("-{letter} --{}{value}", option.long),
        None => format!("--{}{value}", option.long),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        parse(&words(line)).unwrap()
    }

    fn fails(line: &str) -> String {
        parse(&words(line)).unwrap_err().to_string()
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_stand_anywhere_and_the_last_wins() {
        let t = typed("-n one start app.js --name=two -f -i -100 other.js");
        assert_eq!(t.verb, Some(Verb::Start));
        assert_eq!(t.operands, ["app.js", "other.js"]);
        assert_eq!(
            (t.text("name"), t.text("instances"), t.on("force")),
            (Some("two"), Some("-100"), true)
        );
    }

    #[test]
    fn optional_values_are_taken_unless_they_look_like_options() {
        assert_eq!(typed("start --watch app.js").text("watch"), Some("app.js"));
        let t = typed("start app.js --watch -f");
        assert_eq!((t.get("watch"), t.on("force")), (Some(&Given::On), true));
        assert_eq!(typed("start app.js -l -").text("log"), Some("-"));
        assert_eq!(
            typed("start a --watch src --watch lib").texts("watch"),
            ["src", "lib"]
        );
    }

    #[test]
    fn letters_are_split_but_values_are_not() {
        let t = typed("start app.js -fx");
        assert!(t.on("force") && t.on("execute-command"));
        assert_eq!(
            typed("start app.js --node-args --harmony").text("node-args"),
            Some("--harmony")
        );
        assert_eq!(
            typed("start app.js --node-args=--a=b").text("node-args"),
            Some("--a=b")
        );
        assert_eq!(typed("start app.js -n -abc").text("name"), Some("-abc"));
    }

    #[test]
    fn negated_switches() {
        let t = typed("start app.js --no-autorestart");
        assert!(t.off("autorestart") && !t.on("autorestart") && !t.off("treekill"));
    }

    #[test]
    fn what_is_behind_two_dashes_belongs_to_the_script() {
        let t = typed("start app.js -- -f --name x -- --watch");
        assert_eq!(t.rest, ["-f", "--name", "x", "--", "--watch"]);
        assert!(!t.on("force"));
        let t = typed("stop api -- -dash");
        assert_eq!(
            (t.operands, t.rest),
            (vec!["api".to_owned(), "-dash".into()], vec![])
        );
        assert_eq!(typed("send 0 -- -x").operands, ["0", "-x"]);
    }

    #[test]
    fn aliases_and_own_options() {
        let t = typed("log api --lines 3 --raw");
        assert_eq!(
            (t.verb, t.text("lines"), t.on("raw")),
            (Some(Verb::Logs), Some("3"), true)
        );
        assert_eq!(typed("--lines 3 logs api").operands, ["api"]);
        assert_eq!(typed("--raw logs").verb, Some(Verb::Logs));
        for (alias, verb) in [
            ("ls", Verb::List),
            ("status", Verb::List),
            ("show", Verb::Describe),
            ("del", Verb::Delete),
        ] {
            assert_eq!(typed(&format!("{alias} x")).verb, Some(verb));
        }
        // A target named like a verb.
        let t = typed("stop list");
        assert_eq!((t.verb, t.operands), (Some(Verb::Stop), vec!["list".to_owned()]));
    }

    #[test]
    fn mistakes_are_told_in_pm2s_words() {
        assert_eq!(fails("start app.js --nope"), "unknown option `--nope'");
        assert_eq!(fails("stop --raw x"), "unknown option `--raw'");
        assert_eq!(
            fails("stop"),
            "missing required argument `id|name|namespace|all|json|stdin'"
        );
        assert_eq!(fails("scale api"), "missing required argument `number'");
        assert_eq!(
            fails("start app.js --name"),
            "option `-n --name <name>' argument missing"
        );
        assert_eq!(fails("strat app.js"), "Command not found");
        assert_eq!(fails("kill all"), "Unknown command argument: all");
        assert_eq!(typed("kill -h").verb, Some(Verb::Kill));
        assert_eq!(typed("").verb, None);
    }

    proptest::proptest! {
        /// Whatever is typed, it is understood or refused, and what is behind `--` stays as it is.
        #[test]
        fn nothing_typed_breaks_it(
            line in proptest::collection::vec("(start|logs|-[a-z]{1,3}|--[a-z-]{0,9}=?[a-z]{0,3}|[ -~é日]{0,6})", 0..8),
            rest in proptest::collection::vec(".{0,6}", 0..4),
        ) {
            let line: Vec<String> = line.into_iter().filter(|word| word != "--").collect();
            let argv: Vec<String> = line.iter().cloned().chain(["--".to_owned()]).chain(rest.iter().cloned()).collect();
            match parse(&argv) {
                Ok(typed) => proptest::prop_assert!(typed.rest == rest || typed.operands.ends_with(&rest)),
                Err(error) => proptest::prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
