//! What the manual pages say beyond the arguments.

use super::super::exit::Exit;

/// When these texts were changed last: pages carry a date (man-pages(7)).
pub(super) const CHANGED: &str = "2026-11-26";

/// What is said of one verb.
pub(super) struct About {
    verb: &'static str,
    /// It speaks to no master.
    pub(super) local: bool,
    pub(super) paragraphs: &'static [&'static str],
    /// A command line, and what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
    exits: &'static [Exit],
}

impl About {
    /// Whether it can end so.
    pub(super) fn ends_with(&self, exit: Exit) -> bool {
        self.exits.contains(&exit)
    }
}

/// What is said of this verb; of handover itself for the empty one.
pub(super) fn about(verb: &str) -> &'static About {
    ABOUT.iter().find(|it| it.verb == verb).unwrap_or(&UNKNOWN)
}

/// Of every verb that speaks to a master.
pub(super) const COMMON: &str = "NAME may be left out where exactly one master is running. It is looked for in \
    $RUNTIME_DIRECTORY, below /run/handover, $XDG_RUNTIME_DIR/handover and /tmp/handover-UID; --runtime-dir names \
    another place.";

const ANSWERED: &[Exit] = &[Exit::Done, Exit::Failed, Exit::Usage, Exit::NoMaster];
const WAITED: &[Exit] = &[
    Exit::Done,
    Exit::Failed,
    Exit::Usage,
    Exit::Superseded,
    Exit::NoMaster,
    Exit::TimedOut,
    Exit::Incomplete,
    Exit::Interrupted,
];
const LOCAL: &[Exit] = &[Exit::Done, Exit::Failed, Exit::Usage];

/// A verb that nobody described: a test tells.
const UNKNOWN: About = local("", &[], &[]);

const fn asks(
    verb: &'static str,
    paragraphs: &'static [&'static str],
    examples: &'static [(&'static str, &'static str)],
    exits: &'static [Exit],
) -> About {
    About {
        verb,
        local: false,
        paragraphs,
        examples,
        exits,
    }
}

const fn local(
    verb: &'static str,
    paragraphs: &'static [&'static str],
    examples: &'static [(&'static str, &'static str)],
) -> About {
    About {
        verb,
        local: true,
        paragraphs,
        examples,
        exits: LOCAL,
    }
}

const ABOUT: &[About] = &[
    About {
        verb: "",
        local: true,
        paragraphs: &[
            "A master binds the listening sockets once, or takes them from systemd, and never closes them while \
             generations of the program come and go. A new generation is started beside the old one, has to get \
             ready and to prove itself, and only then is the old one told to finish what it has. Until then any \
             failure leaves the old one serving as before.",
            "The master is started by handover run, under systemd, in a container or in a shell. Every other verb \
             speaks to a running master over its control socket; so can any program (HTTP and JSON).",
        ],
        examples: &[
            (
                "handover run --listen 127.0.0.1:8080 -- ./server",
                "Keep ./server reachable at port 8080.",
            ),
            ("handover upgrade", "Replace it by what ./server is now."),
        ],
        exits: WAITED,
    },
    local(
        "run",
        &[
            "The program gets the listeners as descriptors 3, 4 and so on, announced by LISTEN_FDS, LISTEN_PID and \
             LISTEN_FDNAMES as systemd does. It is ready when it says READY=1 on NOTIFY_SOCKET, or when the kernel \
             shows that it waits on its listeners; --ready asks for another sign.",
            "Values come from the config file, over it from the environment (HANDOVER_APP__WORKERS=4 is app.workers), \
             over that from these options. What needs no restart is read again by upgrade and reload.",
        ],
        &[
            (
                "handover run --listen :8080 -- ./server",
                "One worker, both families of addresses.",
            ),
            (
                "handover run --config /etc/handover/web.toml",
                "Everything from a file; its stem is the service's name.",
            ),
        ],
    ),
    asks(
        "upgrade",
        &[
            "Reads the config again, pins the release as it is on disk now, starts a generation of it beside the one \
             that serves, and returns when the new one is active (ready and baked), or when it failed and everything \
             is as before. A command after -- or --env stays in force once it succeeded, until the config's [app] \
             changes.",
            "One upgrade runs at a time. A call for the same release joins the one that runs and gets its answer; a \
             call for another one waits in the one place that there is, and supersedes whoever waited there.",
        ],
        &[
            (
                "handover upgrade web",
                "What the config and the files say now.",
            ),
            (
                "handover upgrade web --label v42 --drained",
                "Named, and back only when the old generation has ended.",
            ),
            (
                "handover upgrade web -- ./server-v2 --verbose",
                "Another command.",
            ),
        ],
        WAITED,
    ),
    asks(
        "promote",
        &[
            "The generation that bakes, or stands as a canary, becomes active at once, and the old one drains.",
        ],
        &[("handover promote web", "Enough proven.")],
        WAITED,
    ),
    asks(
        "scale",
        &[
            "The active generation gets more workers, or lets the newest go; those finish what they have. Answers \
             when all that were added are ready; when one cannot start, the number is what it was (exit status 1).",
            "Later generations have as many, until app.workers changes in the config: status says so. The signals \
             TTIN and TTOU add one and take one away. 0 is refused: that is what stop is for.",
        ],
        &[("handover scale web 4", "Four workers from now on.")],
        WAITED,
    ),
    asks(
        "abort",
        &[
            "The new generation of the operation that runs is let go, and the old one serves as before. Whoever \
             waits for that operation gets exit status 1 and the reason.",
        ],
        &[("handover abort web", "Undo what is under way.")],
        WAITED,
    ),
    asks(
        "rollback",
        &[
            "The release is run as it was pinned: the program is the same even where the file was replaced since. \
             Where files named in its command changed, it is refused unless --anyway says to run what they hold now.",
        ],
        &[
            (
                "handover rollback web",
                "To the last good release before this one.",
            ),
            ("handover rollback web --to 7", "To that of generation 7."),
        ],
        WAITED,
    ),
    asks(
        "reload",
        &[
            "As upgrade, but where the release is the same (command, environment, directory, the program and the \
             files that it names) nothing is started, and only what applies at once does.",
        ],
        &[("handover reload web", "After an edit of the config.")],
        WAITED,
    ),
    asks(
        "stop",
        &[
            "Every worker is told to finish what it has, and is ended by drain.timeout; then the master ends, with \
             exit status 0, and closes the listeners.",
        ],
        &[
            ("handover stop web", "Drain and end."),
            ("handover stop web --now", "End at once."),
        ],
        WAITED,
    ),
    asks(
        "status",
        &[
            "Which evidence made a worker ready is said beside it, and what a generation that drains still has. \
             --watch shows it anew as it changes.",
        ],
        &[
            ("handover status", "The only master that runs."),
            (
                "handover status web --json",
                "For scripts; docs/schemas/status.json describes it.",
            ),
        ],
        ANSWERED,
    ),
    asks(
        "history",
        &["The last 64 operations, and those under way, newest first."],
        &[(
            "handover history web",
            "Who deployed what, and how it ended.",
        )],
        ANSWERED,
    ),
    asks(
        "events",
        &[
            "The last events are kept in memory; --follow goes on with what happens from now on, until interrupted.",
        ],
        &[("handover events web --follow", "Watch an upgrade.")],
        ANSWERED,
    ),
    asks(
        "logs",
        &["The last 64 KiB of each worker, and of those that ended lately."],
        &[
            ("handover logs web --follow", "What they print from now on."),
            (
                "handover logs web --generation 7",
                "What generation 7 printed.",
            ),
        ],
        ANSWERED,
    ),
    asks(
        "config",
        &[
            "Values of environment variables are masked; everything else is as the master has it in force.",
        ],
        &[("handover config web", "Where does this value come from?")],
        ANSWERED,
    ),
    local(
        "check",
        &["What only a start can show (a port in use, a right that is missing) is not looked for."],
        &[(
            "handover check /etc/handover/web.toml",
            "Before a deploy, in a pipeline.",
        )],
    ),
    local(
        "completions",
        &["The scripts know verbs and options."],
        &[(
            "handover completions fish > ~/.config/fish/completions/handover.fish",
            "For one user of fish.",
        )],
    ),
    local(
        "man",
        &["The pages are made from the program itself, so that they fit its version."],
        &[(
            "handover man ./man && man ./man/handover.1",
            "Read them here.",
        )],
    ),
];

pub(super) const SIGNALS: &[(&str, &str)] = &[
    ("USR2", "as handover upgrade, without the answer"),
    (
        "HUP",
        "as handover reload, without the answer; ignored where the kernel sends it because a terminal went away",
    ),
    (
        "TERM, INT, QUIT",
        "drain and stop; a second one stops at once",
    ),
];

pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "HANDOVER_SECTION__KEY, HANDOVER__KEY",
        "a key of the config, for handover run; docs/config.md names them all",
    ),
    (
        "RUNTIME_DIRECTORY, XDG_RUNTIME_DIR",
        "where the runtime directory is and is looked for",
    ),
    ("NO_COLOR", "no colours"),
];

pub(super) const FILES: &[(&str, &str)] = &[
    (
        "/etc/handover/NAME.toml",
        "the config that systemd/handover@.service names",
    ),
    (
        "/run/handover/NAME/control.sock",
        "the control socket of a master that runs as root; of others below $XDG_RUNTIME_DIR/handover or /tmp/handover-UID",
    ),
];
