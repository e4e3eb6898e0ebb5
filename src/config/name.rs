//! What a service is called.

use std::path::Path;

use super::field::clean_name;
use super::types::Config;

/// Programs whose own name says nothing: the script behind them does.
const INTERPRETERS: [&str; 16] = [
    "python", "python2", "python3", "pypy3", "node", "nodejs", "deno", "bun", "ruby", "perl",
    "php", "java", "sh", "bash", "lua", "env",
];

/// The `name` key, else the file's stem, else the command's base name; the script's stem when the
/// command is an interpreter. Always a valid name.
pub fn service_name(config: &Config, file: Option<&Path>) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .and_then(|stem| clean_name(&stem.to_string_lossy()))
    };
    config
        .name
        .clone()
        .or_else(|| file.and_then(stem))
        .or_else(|| of_command(&config.app.command))
        .unwrap_or_else(|| "service".into())
}

fn of_command(command: &[String]) -> Option<String> {
    let program = Path::new(command.first()?)
        .file_name()?
        .to_string_lossy()
        .into_owned();
    if is_interpreter(&program) {
        let rest = command.get(1..).unwrap_or_default();
        // `env A=b python3 app.py`: what it runs is the command.
        if program == "env" {
            let skip = rest
                .iter()
                .take_while(|arg| arg.starts_with('-') || arg.contains('='))
                .count();
            return of_command(rest.get(skip..).unwrap_or_default())
                .or_else(|| clean_name(&program));
        }
        if let Some(script) = script(rest) {
            return Some(script);
        }
    }
    clean_name(&program)
}

/// `python3.11` is `python`.
fn is_interpreter(program: &str) -> bool {
    let bare = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&program) || INTERPRETERS.contains(&bare)
}

/// The file that an interpreter is told to read, where a command names one beyond doubt: by the suffix of a script, and
/// with nothing to be filled in.
pub fn script_of(command: &[String]) -> Option<&str> {
    const SUFFIXES: [&str; 14] = [
        "py", "pyz", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "jar", "sh", "bash", "lua", "pyc",
    ];
    let (program, rest) = command.split_first()?;
    let program = Path::new(program).file_name()?.to_str()?;
    if !is_interpreter(program) {
        return None;
    }
    for (at, word) in rest.iter().enumerate() {
        match word.as_str() {
            "-c" | "-e" | "--eval" | "-m" | "--module" => return None,
            flag if flag.starts_with('-') => {}
            _ if program == "env" && word.contains('=') => {}
            // What it runs is the command.
            _ if program == "env" => return script_of(rest.get(at..)?),
            path => {
                let suffix = Path::new(path).extension().and_then(|it| it.to_str());
                let is_script = suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix));
                return (is_script && !path.contains(['{', '}'])).then_some(path);
            }
        }
    }
    None
}

/// The stem of the first argument that names a file or, after `-m` or `-jar`, what follows.
fn script(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-m" | "--module" => {
                let module = args.next()?;
                return clean_name(module.rsplit('.').next().unwrap_or(module));
            }
            "-c" | "-e" | "--eval" => return None,
            flag if flag.starts_with('-') => {}
            path => {
                return Path::new(path)
                    .file_stem()
                    .and_then(|stem| clean_name(&stem.to_string_lossy()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_nearest_thing_that_has_one() {
        let of = |command: &str| {
            let mut config = Config::default();
            config.app.command = command.split(' ').map(str::to_owned).collect();
            service_name(&config, None)
        };
        assert_eq!(of("./server"), "server");
        assert_eq!(of("/usr/bin/my@server --x"), "my-server");
        assert_eq!(of("python3 examples/server.py"), "server");
        assert_eq!(of("/usr/bin/python3.11 -u -m app.web 80"), "web");
        assert_eq!(of("node --enable-x dist/index.mjs"), "index");
        assert_eq!(of("java -jar /opt/shop.jar"), "shop");
        assert_eq!(of("python3 -c pass"), "python3");
        assert_eq!(of("/usr/bin/env A=b python3 app.py"), "app");
        assert_eq!(of("server.v2"), "server.v2");
        assert_eq!(of("/"), "service");
        let mut config = Config::default();
        assert_eq!(
            service_name(&config, Some(Path::new("/etc/handover/web.toml"))),
            "web"
        );
        assert_eq!(
            service_name(&config, Some(Path::new("/etc/my shop.toml"))),
            "my-shop"
        );
        config.name = Some("shop".into());
        assert_eq!(
            service_name(&config, Some(Path::new("/etc/handover/web.toml"))),
            "shop"
        );
    }

    #[test]
    fn a_script_is_known_where_the_command_names_it_beyond_doubt() {
        let of = |command: &str| {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            script_of(&words).map(str::to_owned)
        };
        for (command, script) in [
            ("python3 app.py", Some("app.py")),
            (
                "/usr/bin/python3.11 -u web/app.py --port 80",
                Some("web/app.py"),
            ),
            ("env -i A=b python3 app.py", Some("app.py")),
            ("java -jar shop.jar", Some("shop.jar")),
            ("node dist", None),
            ("deno run app.ts", None),
            ("python3 -W ignore app.py", None),
            ("python3 -m http.server", None),
            ("sh -c app.sh", None),
            ("python3 {state}/app.py", None),
            ("./serve app.py", None),
            ("python3", None),
        ] {
            assert_eq!(of(command).as_deref(), script, "{command}");
        }
    }
}
