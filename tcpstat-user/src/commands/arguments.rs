//! The command line and the environment, as one set of arguments.
//!
//! clap takes a variable for a flag, but an empty one too, also for commands that are not asked for, and
//! its errors name the flag. So the command line is parsed first, by itself; then again with those
//! variables that have a value and belong to the command that is asked for.

use std::{
    any::TypeId,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::Cli;
use crate::text::{self, plain, without_password};

/// The flags whose values come from variables.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<Variable>);

#[derive(Debug)]
struct Variable {
    name: OsString,
    /// With its dashes.
    flag: String,
    /// Whether the flag takes what the variable holds, as far as UTF-8 goes.
    readable: bool,
}

/// All commands, as clap knows them; help does not tell what variables hold, which may be a password.
pub(super) fn command() -> Command {
    fn hide_values(command: Command) -> Command {
        command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hide_values)
    }
    hide_values(Cli::command())
}

/// What is asked for. The first of `given` is the program's name.
///
/// # Errors
/// What clap says, help and version among it; fit to be shown.
pub(super) fn parse(given: &[OsString]) -> Result<(Cli, Variables), clap::Error> {
    let asked = match without_variables(command()).try_get_matches_from(given) {
        Ok(asked) => asked,
        Err(error) => return Err(refused(error, given)),
    };
    let mut variables = Variables::default();
    let command = with_variables(command(), &asked, &mut variables);
    if let Some(name) = variables.not_utf8() {
        let message = format!("{name}: its value is not UTF-8");
        return Err(self::command().error(ErrorKind::InvalidUtf8, message));
    }
    let arguments = command
        .try_get_matches_from(given)
        .and_then(|arguments| Cli::from_arg_matches(&arguments))
        .map_err(|error| printable(variables.name_in(error)))?;
    Ok((arguments, variables))
}

impl Variables {
    /// `message`, which begins with a flag, with the variable that the flag's value came from instead.
    pub(super) fn name_at_start(&self, message: String) -> String {
        let named = self.0.iter().find_map(|variable| {
            let rest = after_flag(&message, &variable.flag)?;
            Some(format!("{}{rest}", variable.name.display()))
        });
        named.unwrap_or(message)
    }

    /// The same for wrong usage that a command finds itself.
    pub(super) fn name_in_usage(&self, error: clap::Error) -> clap::Error {
        let told = error.to_string();
        let message = told.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        let named = self.name_at_start(message.to_owned());
        if named == message { error } else { command().error(error.kind(), named) }
    }

    /// The same for what clap says of a value: with these the command line alone was well.
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

    fn not_utf8(&self) -> Option<String> {
        let broken = self.0.iter().find(|variable| !variable.readable);
        broken.map(|variable| variable.name.to_string_lossy().into_owned())
    }
}

/// What stands behind `flag` in `text`, which begins with it.
fn after_flag<'a>(text: &'a str, flag: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(flag)?;
    let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    ends.then_some(rest)
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset)).mut_subcommands(without_variables)
}

/// Leaves the variables that are set, not empty, of the command asked for, and not overruled by the
/// command line; `taken` tells which.
fn with_variables(command: Command, asked: &ArgMatches, taken: &mut Variables) -> Command {
    let chosen = asked.subcommand();
    let bare = chosen.is_none() || !command.is_args_conflicts_with_subcommands_set();
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
        let value = env::var_os(&name).filter(|value| !value.is_empty());
        let given = asked.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        match (value, arg.get_long()) {
            (Some(value), Some(long)) if (bare || arg.is_global_set()) && !given => {
                let path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
                let readable = path || value.to_str().is_some();
                taken.0.push(Variable { name, flag: format!("--{long}"), readable });
                arg
            }
            _ => arg.env(Resettable::Reset),
        }
    });
    match chosen {
        None => command,
        Some((name, asked)) => {
            command.mut_subcommand(name, |command| with_variables(command, asked, taken))
        }
    }
}

/// What is said to a command line that asks for nothing that can be done, or for help.
fn refused(error: clap::Error, given: &[OsString]) -> clap::Error {
    match error.kind() {
        // The help names the variables.
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let told = command().try_get_matches_from(given).err();
            told.filter(|told| told.kind() == error.kind()).unwrap_or(error)
        }
        ErrorKind::InvalidUtf8 => {
            let broken = given.iter().find(|argument| argument.to_str().is_none());
            let broken = broken.map(|argument| argument.to_string_lossy()).unwrap_or_default();
            let broken = plain(&broken, text::VALUE);
            command().error(error.kind(), format!("the argument '{broken}' is not UTF-8"))
        }
        _ => printable(error),
    }
}

/// `error` with everything that it quotes fit to be shown.
fn printable(mut error: clap::Error) -> clap::Error {
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
        // It quotes the same.
        error.remove(ContextKind::Suggested);
    }
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}
