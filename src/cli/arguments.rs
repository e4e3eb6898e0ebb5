//! The arguments: every verb, and the words for those that do not exist yet.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use super::abort::Abort;
use super::check::Check;
use super::completions::Completions;
use super::config::ShowConfig;
use super::events::Events;
use super::history::History;
use super::logs::Logs;
use super::man::WriteMan;
use super::meant;
use super::promote::Promote;
use super::reload::Reload;
use super::rollback::Rollback;
use super::run::Run;
use super::scale::Scale;
use super::status::ShowStatus;
use super::stop::Stop;
use super::upgrade::Upgrade;

/// Keeps a service reachable while everything behind its sockets is replaced.
#[derive(Debug, Parser)]
#[command(name = "handover", version, max_term_width = 100)]
// The last of several wins: a wrapper's or an alias's flags can be overridden.
#[command(args_override_self = true)]
#[command(after_help = "\
Exit codes:
  0    done
  1    failed and undone, or refused: nothing changed
  2    bad usage or config
  3    superseded by a newer call
  4    no such master, or not reachable
  5    timed out waiting: the operation goes on
  6    failed and not wholly undone: `handover status` says what runs
  130  interrupted while waiting: the operation goes on

Signals to the master: see `handover run --help`")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Run(Run),
    Upgrade(Upgrade),
    Promote(Promote),
    Abort(Abort),
    Rollback(Rollback),
    Reload(Reload),
    Scale(Scale),
    Stop(Stop),
    Status(ShowStatus),
    History(History),
    Events(Events),
    Logs(Logs),
    Config(ShowConfig),
    Check(Check),
    Completions(Completions),
    Man(WriteMan),
}

/// Verbs that later versions bring, and what to do until then.
const LATER: &[(&str, &str)] = &[
    ("demo", ""),
    (
        "sessions",
        "this version routes `direct`, which has no sessions",
    ),
    ("sweep", ""),
    ("top", "`handover status --watch` shows the same"),
    ("unit", "systemd/handover@.service is a unit for any config"),
];

/// What the arguments say.
pub(super) enum Parsed {
    Verb(Box<Verb>),
    /// Help, a version, or what is wrong; and what was probably meant.
    Clap(clap::Error, Option<String>),
    /// A verb of a later version.
    Later(String),
}

pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut error = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => return Parsed::Verb(Box::new(arguments.verb)),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand)
        && let Some((_, instead)) = LATER.iter().find(|(later, _)| later == verb)
    {
        let semicolon = if instead.is_empty() {
            ""
        } else {
            "; until then "
        };
        return Parsed::Later(format!(
            "`{verb}` comes in a later version{semicolon}{instead}"
        ));
    }
    let hint = meant::hint(&mut error, &arguments);
    Parsed::Clap(error, hint)
}

/// The whole command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}
