//! `tcpstat man`: the manual pages, generated from the definition of the command line.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{Args, Command, ValueHint};
use clap_mangen::Man;

use super::{arguments, values, write_out};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat man | man -l -                              read it now
  tcpstat man --directory /usr/local/share/man/man1   the page of each command too";

/// Flags of `tcpstat man`.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Directory to write all pages to, one for each command, instead of printing the main page
    #[arg(long, value_name = "DIR", value_parser = values::path(), value_hint = ValueHint::DirPath, help_heading = "Output")]
    directory: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let mut command = arguments::command().disable_help_subcommand(true);
    command.build();
    match &args.directory {
        None => write_out(&page(&command)?)?,
        Some(directory) => write_all(&command, directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_all(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let path = directory.join(format!("{}.1", name(command)));
    fs::write(&path, page(command)?).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => ": make the directory first",
            ErrorKind::PermissionDenied => ": use a directory where this user may write",
            _ => "",
        };
        anyhow!("--directory: writing {}: {error}{remedy}", path.display())
    })?;
    command.get_subcommands().try_for_each(|command| write_all(command, directory))
}

/// For example `tcpstat-show`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command. The last part of its help becomes sections.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        // An empty date would be left out, and the next field would take its place.
        .date(" ")
        .source(concat!("tcpstat ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let last_part = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    write_sections(&last_part, &mut page)?;
    if command.get_name() != "tcpstat" {
        page.write_all(b".SH \"SEE ALSO\"\n.BR tcpstat (1)\n")?;
    }
    Ok(page)
}

/// A line that is not indented is a heading. The lines after it are not filled.
fn write_sections(text: &str, page: &mut impl Write) -> io::Result<()> {
    let mut unfilled = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let indented = line.starts_with(' ');
        if unfilled && !indented {
            writeln!(page, ".fi")?;
        }
        unfilled = indented;
        if indented {
            // A typed dash, and no control character of roff at the start of the line.
            let line = line.trim_start().replace('\\', "\\e").replace('-', "\\-");
            writeln!(page, "\\&{line}")?;
        } else {
            let heading = line.trim_end_matches(':').to_uppercase();
            writeln!(page, ".SH \"{heading}\"\n.nf")?;
            unfilled = true;
        }
    }
    if unfilled {
        writeln!(page, ".fi")?;
    }
    Ok(())
}
