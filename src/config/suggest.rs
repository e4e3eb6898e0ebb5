//! "Did you mean …?"

/// The candidate that is near enough to have been meant.
pub(crate) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Long garbage is near nothing, and the distance costs its square.
    if given.chars().count() > 64 {
        return None;
    }
    let folded = given.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let distance =
                strsim::damerau_levenshtein(&folded, &candidate.to_lowercase().replace('-', "_"));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What other managers call it.
pub(crate) fn alias(given: &str) -> Option<&'static str> {
    let folded = given.to_lowercase().replace(['-', '_'], "");
    Some(match folded.as_str() {
        "cmd" | "exec" | "execstart" | "program" | "args" | "argv" | "run" | "script" => {
            "app.command"
        }
        "processes" | "numprocs" | "instances" | "concurrency" | "numworkers" => "app.workers",
        "cwd" | "chdir" | "workingdirectory" | "workdir" | "dir" => "app.directory",
        "environment" | "environ" | "envs" | "envvars" => "app.env",
        "environmentfile" | "dotenv" => "app.env_file",
        "uid" | "username" | "runas" => "app.user",
        "gid" => "app.group",
        "bind" | "port" | "addr" | "host" | "socket" | "listenstream" => "listen.address",
        "listenqueue" => "listen.backlog",
        "killtimeout" | "stoptimeout" | "gracefultimeout" | "timeoutstopsec" | "graceperiod" => {
            "drain.timeout"
        }
        "stopsignal" | "killsignal" => "drain.signal",
        "starttimeout" | "timeoutstartsec" | "startsecs" => "ready.timeout",
        "minreadyseconds" => "upgrade.bake",
        "restartsec" | "backoff" => "restart.delay",
        "limitnofile" | "maxfiles" | "fds" => "limits.nofile",
        "loglevel" | "verbosity" => "log.level",
        "logformat" => "log.format",
        "servicename" | "title" => "name",
        "mode" => "route",
        _ => return None,
    })
}
