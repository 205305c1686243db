//! Completions for fish. The script of clap_complete uses fish's argparse, which accepts no dot in a flag.

use std::fmt::Write;

use clap::{Arg, Command, ValueHint};

/// A function that finds the command in the words before the cursor. FLAGS stands for the flags whose values are
/// separate words.
const COMMAND_FUNCTION: &str = "\
# Whether the words before the cursor name exactly this command; without arguments, none.
function __tcpstat_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    set -l value 0
    for word in $words
        if test $value = 1
            set value 0
            continue
        end
        switch $word
            case FLAGS
                set value 1
            case '-*'
            case '*'
                set -a command $word
        end
    end
    test \"$command\" = \"$argv\"
end

";

/// The script. `command` must be built.
pub(super) fn script(command: &Command) -> String {
    let mut with_values = Vec::new();
    flags_with_values(command, &mut with_values);
    let mut script = COMMAND_FUNCTION.replace("FLAGS", &with_values.join(" "));
    script += "complete -c tcpstat -f\n";
    complete(command, "", &mut script);
    script
}

fn flags_with_values(command: &Command, found: &mut Vec<String>) {
    for arg in command.get_arguments().filter(|arg| needs_value(arg)) {
        let flag = arg.get_long().map(|long| quoted(&format!("--{long}")));
        found.extend(flag.filter(|flag| !found.contains(flag)));
    }
    for command in command.get_subcommands() {
        flags_with_values(command, found);
    }
}

/// Whether the flag's value may be a separate word.
fn needs_value(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|values| values.min_values() > 0)
}

/// Adds the completions after `words`, which name `command`.
fn complete(command: &Command, words: &str, script: &mut String) {
    let condition = quoted(format!("__tcpstat_command {words}").trim_end());
    let mut line = |completion: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "complete -c tcpstat -n {condition} {completion}");
    };
    for command in command.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        line(format!("-a {} -d {}", command.get_name(), quoted(&about)));
    }
    for arg in command.get_arguments() {
        let values = values(arg);
        let Some(long) = arg.get_long() else {
            if let Some(values) = values {
                line(format!("-a {values}"));
            }
            continue;
        };
        let mut flag = format!("-l {long}");
        if let Some(short) = arg.get_short() {
            let _ = write!(flag, " -s {short}");
        }
        match (needs_value(arg), values, arg.get_value_hint()) {
            (true, Some(values), _) => {
                let _ = write!(flag, " -x -a {values}");
            }
            (true, None, ValueHint::FilePath | ValueHint::DirPath) => flag += " -r -F",
            (true, None, _) => flag += " -x",
            (false, ..) => {}
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        line(format!("{flag} -d {}", quoted(&help)));
    }
    for command in command.get_subcommands() {
        let words = format!("{words} {}", command.get_name());
        complete(command, words.trim_start(), script);
    }
}

/// The possible values, each with its help, in quotes.
fn values(arg: &Arg) -> Option<String> {
    let all = arg.get_possible_values();
    if all.is_empty() || !arg.get_action().takes_values() {
        return None;
    }
    let lines = all.iter().map(|value| match value.get_help() {
        Some(help) => format!("{}\\t{}", value.get_name(), quoted(&help.to_string())),
        None => value.get_name().to_owned(),
    });
    Some(double_quoted(&lines.collect::<Vec<_>>().join("\n")))
}

/// In single quotes, in which fish interprets only the quote and the backslash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// In double quotes, for text that fish expands when it completes.
fn double_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
}
