//! The help of Lockstep's programs: what stands below the options is shown as it is written.
//!
//! clap breaks lines to fit the terminal, at 100 columns where that is not known. An example that is broken so cannot be pasted
//! into a shell any more, and text that was broken by hand is broken twice.

use clap::{Command, Parser};

/// The program's arguments. As with clap's own `parse`, bad ones end the process, and so does `--help`.
#[must_use]
pub fn parse<T: Parser>() -> T {
    let matches = as_written(T::command()).get_matches();
    T::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command and those below it, whose `after_help` is not broken.
fn as_written(command: Command) -> Command {
    let command = command.mut_subcommands(as_written);
    let Some(after) = command.get_after_help().map(ToString::to_string) else { return command };
    // A template's own text is not broken. A brace in it would begin a tag and has no escape: here the author is one.
    let after = after.replace('{', "{author}");
    let template = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}\n\n";
    command.author("{").help_template(format!("{template}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_shown_in_one_line_with_all_its_braces() {
        let example =
            format!("  program sub --filter '{{\"a\":{{\"gt\":[1,2]}},\"{}\":{{}}}}' {{}}", "long ".repeat(40));
        let sub = Command::new("sub").about("Does it").arg(clap::arg!(--filter <JSON> "Which"));
        let mut command =
            as_written(Command::new("program").subcommand(sub.after_help(format!("Examples:\n{example}"))));
        let help = command.find_subcommand_mut("sub").unwrap().render_long_help().to_string();
        assert!(help.starts_with("Does it\n\nUsage: sub [OPTIONS]"), "{help}");
        assert!(help.contains("Which\n\n") && help.ends_with(&format!("\n\nExamples:\n{example}\n")), "{help}");
        assert!(command.render_help().to_string().contains("sub   Does it"));
    }
}
