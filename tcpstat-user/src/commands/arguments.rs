//! The command line and the environment, as one set of arguments.
//!
//! clap reads the variable of a flag also if it is empty and if it belongs to another command, and its errors
//! name the flag. So the command line is parsed twice: first without variables, then with those that have a
//! value and belong to the chosen command.

use std::{
    any::TypeId,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{Cli, unknown_variables};
use crate::text::{self, plain, without_password};

/// The flags whose values come from variables.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<Variable>);

#[derive(Debug)]
struct Variable {
    name: OsString,
    /// With its dashes.
    flag: String,
    /// Whether the value is UTF-8, or need not be.
    valid_utf8: bool,
}

/// All commands. The help does not show the values of variables, which may be passwords. A negative number is a value,
/// so that its error names the flag and the valid range.
pub(super) fn command() -> Command {
    fn with_values(command: Command) -> Command {
        let with_value = |arg: Arg| {
            let takes_value = arg.get_action().takes_values();
            // `-5s` is no number. What may follow a flag without a value is not taken for one.
            let is_time = arg.get_value_parser().type_id() == TypeId::of::<Duration>()
                && arg.get_num_args().is_none_or(|values| values.min_values() > 0);
            arg.hide_env_values(true)
                .allow_negative_numbers(takes_value)
                .allow_hyphen_values(takes_value && is_time)
        };
        command.mut_args(with_value).mut_subcommands(with_values)
    }
    with_values(Cli::command())
}

/// The first of `command_line` is the program's name.
///
/// # Errors
/// clap's, including help and version; safe to show.
pub(super) fn parse(command_line: &[OsString]) -> Result<(Cli, Variables), clap::Error> {
    let given = match without_variables(command()).try_get_matches_from(command_line) {
        Ok(given) => given,
        Err(error) => return Err(usage_error(error, command_line)),
    };
    let mut variables = Variables::default();
    let command = with_variables(command(), &given, &mut variables);
    if let Some(name) = variables.invalid_utf8() {
        let message = format!("{name}: its value is not UTF-8");
        return Err(named_command(command_line).error(ErrorKind::InvalidUtf8, message));
    }
    let arguments = command
        .try_get_matches_from(command_line)
        .and_then(|arguments| {
            if let Some(("top", top)) = arguments.subcommand() {
                let checked = super::connect::refuse_counting(top);
                checked.map_err(|error| error.format(&mut named_command(command_line)))?;
            }
            Cli::from_arg_matches(&arguments)
        })
        .map_err(|error| safe_to_show(variables.name_in(error)))?;
    Ok((arguments, variables))
}

/// The command whose usage belongs to an error about `command_line`, as far as that parses.
pub(super) fn named_command(command_line: &[OsString]) -> Command {
    let parsed =
        without_variables(command()).ignore_errors(true).try_get_matches_from(command_line);
    let mut named = command();
    // The usage of a command has the name of the program too then.
    named.build();
    let mut given = parsed.as_ref().ok();
    while let Some((name, matches)) = given.and_then(ArgMatches::subcommand) {
        given = Some(matches);
        if let Some(command) = named.find_subcommand(name).cloned() {
            named = command;
        }
    }
    named
}

/// One line for each variable that is named like those of tcpstat and that no command has; few for many.
pub(super) fn unknown_variables() -> Vec<String> {
    fn add_known(command: &Command, known: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(Arg::get_env);
        known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| add_known(command, known));
    }
    let mut known = Vec::new();
    add_known(&command(), &mut known);
    if cfg!(feature = "lose-events") {
        known.extend(["TCPSTAT_LOSE", "TCPSTAT_CLOCK"].map(str::to_owned));
    }
    let is_named =
        |name: &OsStr| name.as_encoded_bytes().starts_with(unknown_variables::PREFIX.as_bytes());
    let set = env::vars_os().filter(|(name, _)| is_named(name));
    let text = |text: OsString| text.to_string_lossy().into_owned();
    unknown_variables::warnings(
        set.map(|(name, value)| (text(name), text(value))).collect(),
        &known,
    )
}

impl Variables {
    /// Replaces the flag at the start of `message` by the variable that its value came from.
    pub(super) fn name_at_start(&self, message: String) -> String {
        let named = self.0.iter().find_map(|variable| {
            let rest = after_flag(&message, &variable.flag)?;
            Some(format!("{}{rest}", variable.name.display()))
        });
        named.unwrap_or(message)
    }

    /// Names the variable in an error of wrong usage that a command itself returns.
    pub(super) fn name_in_usage(&self, error: clap::Error) -> clap::Error {
        let text = error.to_string();
        let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        let named = self.name_at_start(message.to_owned());
        if named == message { error } else { clap::Error::raw(error.kind(), named) }
    }

    /// Names the variable in an error of clap about a value. The command line alone had no error.
    fn name_in(&self, mut error: clap::Error) -> clap::Error {
        if let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg)
            && let Some(variable) =
                self.0.iter().find(|variable| after_flag(arg, &variable.flag).is_some())
        {
            let name = variable.name.to_string_lossy().into_owned();
            error.insert(ContextKind::InvalidArg, ContextValue::String(name));
        }
        error
    }

    /// The name of the first variable whose value is not valid UTF-8.
    fn invalid_utf8(&self) -> Option<String> {
        let invalid = self.0.iter().find(|variable| !variable.valid_utf8);
        invalid.map(|variable| variable.name.to_string_lossy().into_owned())
    }
}

/// The rest of `text` after `flag`; `None` if it does not begin with this flag.
fn after_flag<'a>(text: &'a str, flag: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(flag)?;
    let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    ends.then_some(rest)
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset)).mut_subcommands(without_variables)
}

/// Keeps the variables that are set and not empty, belong to the chosen command, and are not overridden by the
/// command line. Adds them to `used`.
fn with_variables(command: Command, given: &ArgMatches, used: &mut Variables) -> Command {
    let chosen = given.subcommand();
    let own_flags = chosen.is_none() || !command.is_args_conflicts_with_subcommands_set();
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
        let value = env::var_os(&name).filter(|value| !value.is_empty());
        let overridden =
            given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        match (value, arg.get_long()) {
            (Some(value), Some(long)) if (own_flags || arg.is_global_set()) && !overridden => {
                let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
                let valid_utf8 = is_path || value.to_str().is_some();
                used.0.push(Variable { name, flag: format!("--{long}"), valid_utf8 });
                arg
            }
            _ => arg.env(Resettable::Reset),
        }
    });
    match chosen {
        None => command,
        Some((name, given)) => {
            command.mut_subcommand(name, |command| with_variables(command, given, used))
        }
    }
}

/// The error, or the help, for a command line that does not parse.
fn usage_error(error: clap::Error, command_line: &[OsString]) -> clap::Error {
    match error.kind() {
        // Parsed again with variables, because the help names them.
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let help = command().try_get_matches_from(command_line).err();
            help.filter(|help| help.kind() == error.kind()).unwrap_or(error)
        }
        ErrorKind::InvalidUtf8 => {
            let invalid = command_line.iter().find(|argument| argument.to_str().is_none());
            let invalid = invalid.map(|argument| argument.to_string_lossy()).unwrap_or_default();
            let invalid = plain(&invalid, text::VALUE);
            let message = format!("the argument '{invalid}' is not UTF-8");
            named_command(command_line).error(error.kind(), message)
        }
        ErrorKind::InvalidSubcommand => {
            let command = named_command(command_line);
            let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            let choices = format!("one of {}", names.join(", "));
            let mut error = safe_to_show(error);
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![choices.into()]));
            error
        }
        _ => safe_to_show(error),
    }
}

/// Hides passwords and escapes control characters in what `error` quotes.
fn safe_to_show(mut error: clap::Error) -> clap::Error {
    let secret = error.get(ContextKind::InvalidArg).is_some_and(|arg| {
        let arg = arg.to_string();
        arg.starts_with("--connect") || arg == "TCPSTAT_CONNECT"
    });
    let shown = |text: &String| {
        let secret = secret || text.contains("://");
        let text = if secret { without_password(text) } else { text.into() };
        plain(&text, text::VALUE).into_owned()
    };
    let shown: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| {
            let shown = match value {
                ContextValue::String(text) => ContextValue::String(shown(text)),
                ContextValue::Strings(texts) => {
                    ContextValue::Strings(texts.iter().map(shown).collect())
                }
                _ => return None,
            };
            (shown != *value).then_some((kind, shown))
        })
        .collect();
    if !shown.is_empty() {
        // The suggestion quotes the same text.
        error.remove(ContextKind::Suggested);
    }
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}
