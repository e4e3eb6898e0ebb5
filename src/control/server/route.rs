//! The routes: one table, which also tells a lost client where to go.

use hyper::Method;

use super::door::Guest;
use crate::control::view::OperationKind;
use crate::control::{ApiError, ErrorKind};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Config,
    History,
    Events,
    Operation(String),
    Logs { worker: Option<String> },
    Start(OperationKind),
    Healthz,
    Readyz,
    Metrics,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct NoRoute {
    pub(super) error: ApiError,
    /// The methods of this path, for the `Allow` header.
    pub(super) allow: Option<&'static str>,
}

struct Entry {
    method: &'static str,
    /// A segment `*` stands for an id.
    path: &'static str,
    /// The query's names.
    query: &'static [&'static str],
    route: fn(&str) -> Route,
}

const fn entry(
    method: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    route: fn(&str) -> Route,
) -> Entry {
    Entry {
        method,
        path,
        query,
        route,
    }
}

const LOGS: &[&str] = &["generation", "worker", "after", "lines"];
const WAIT: &[&str] = &["wait"];

const TABLE: &[Entry] = &[
    entry("GET", "/v1/status", &[], |_| Route::Status),
    entry("GET", "/v1/config", &[], |_| Route::Config),
    entry("GET", "/v1/history", &[], |_| Route::History),
    entry("GET", "/v1/events", &["since", "follow"], |_| Route::Events),
    entry("GET", "/v1/logs", LOGS, |_| Route::Logs { worker: None }),
    entry("GET", "/v1/workers/*/logs", &["after", "lines"], |id| {
        Route::Logs {
            worker: Some(id.to_owned()),
        }
    }),
    entry("GET", "/v1/operations/*", WAIT, |id| {
        Route::Operation(id.to_owned())
    }),
    entry("POST", "/v1/upgrade", WAIT, |_| {
        Route::Start(OperationKind::Upgrade)
    }),
    entry("POST", "/v1/rollback", WAIT, |_| {
        Route::Start(OperationKind::Rollback)
    }),
    entry("POST", "/v1/promote", WAIT, |_| {
        Route::Start(OperationKind::Promote)
    }),
    entry("POST", "/v1/abort", WAIT, |_| {
        Route::Start(OperationKind::Abort)
    }),
    entry("POST", "/v1/reload", WAIT, |_| {
        Route::Start(OperationKind::Reload)
    }),
    entry("POST", "/v1/scale", WAIT, |_| {
        Route::Start(OperationKind::Scale)
    }),
    entry("POST", "/v1/stop", WAIT, |_| {
        Route::Start(OperationKind::Stop)
    }),
];

/// How the service does: what anybody may ask.
const PROBES: &[Entry] = &[
    entry("GET", "/healthz", &[], |_| Route::Healthz),
    entry("GET", "/readyz", &[], |_| Route::Readyz),
    entry("GET", "/metrics", &[], |_| Route::Metrics),
];

fn open_to(guest: Guest) -> impl Iterator<Item = &'static Entry> {
    let all: &[Entry] = match guest {
        Guest::Caller(_) => TABLE,
        Guest::Anybody => &[],
    };
    all.iter().chain(PROBES)
}

/// The route of a request, and the names that its query may have.
pub(super) fn find(
    guest: Guest,
    method: &Method,
    path: &str,
) -> Result<(Route, &'static [&'static str]), NoRoute> {
    let Some((entry, id)) =
        open_to(guest).find_map(|entry| matches(entry.path, path).map(|id| (entry, id)))
    else {
        return Err(NoRoute {
            error: no_such_path(guest, path),
            allow: None,
        });
    };
    let read = entry.method == "GET";
    // HEAD is GET without the body (RFC 9110, section 9.3.2); hyper leaves it out.
    if method.as_str() == entry.method || (read && method == Method::HEAD) {
        return Ok(((entry.route)(id), entry.query));
    }
    let message = format_args!("{} is {}, not {method}", entry.path, entry.method);
    let error = ApiError::new(ErrorKind::MethodNotAllowed, message);
    Err(NoRoute {
        error,
        allow: Some(if read { "GET, HEAD" } else { "POST" }),
    })
}

/// The id in `path` (empty where the pattern has none), if it fits.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut id = "";
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        match wanted {
            "*" if is_id(segment) => id = segment,
            _ if wanted == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(id)
}

fn is_id(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&segment.len()) && segment.bytes().all(allowed)
}

fn no_such_path(guest: Guest, path: &str) -> ApiError {
    let path: String = path.chars().take(100).collect();
    let routes: Vec<String> = open_to(guest)
        .map(|entry| format!("{} {}", entry.method, entry.path.replace('*', "ID")))
        .collect();
    let error = ApiError::not_found(format_args!("there is no {path}"));
    let elsewhere = match guest {
        Guest::Caller(_) => "",
        Guest::Anybody => "; the control socket has more",
    };
    error.hint(format_args!("there are {}{elsewhere}", routes.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Caller;

    const ROOT: Guest = Guest::Caller(Caller { uid: 0, pid: 1 });

    #[test]
    fn every_entry_is_found_by_its_own_path() {
        for entry in open_to(ROOT) {
            let method: Method = entry
                .method
                .parse()
                .expect("methods of the table are valid");
            let (route, query) =
                find(ROOT, &method, &entry.path.replace('*', "8.0")).expect("its own path");
            assert_eq!(route, (entry.route)("8.0"));
            assert_eq!(query, entry.query);
        }
    }

    #[test]
    fn an_id_stands_in_its_place_only() {
        let found = |path| find(ROOT, &Method::GET, path).map(|(route, _)| route).ok();
        assert_eq!(
            found("/v1/operations/up_12"),
            Some(Route::Operation("up_12".to_owned()))
        );
        for path in [
            "/v1/operations/",
            "/v1/operations/a/b",
            "/v1/operations/..%2f",
            "/v1/operations/é",
            "/v1//logs",
            "/v1/workers//logs",
            "/v1/status/",
            "/v1",
            "/",
            "",
            "*",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
        assert_eq!(found(&format!("/v1/operations/{}", "a".repeat(65))), None);
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let refusal = find(ROOT, &Method::DELETE, "/v1/status").expect_err("no such method");
        assert_eq!(refusal.error.kind, ErrorKind::MethodNotAllowed);
        assert_eq!(refusal.allow, Some("GET, HEAD"));
        let refusal = find(ROOT, &Method::GET, "/v1/upgrade").expect_err("no such method");
        assert_eq!(refusal.error.message, "/v1/upgrade is POST, not GET");
        assert_eq!(refusal.allow, Some("POST"));
    }

    #[test]
    fn a_wrong_path_is_told_all_of_them() {
        let refusal = find(ROOT, &Method::GET, "/v2/status").expect_err("no such path");
        assert_eq!(refusal.error.kind, ErrorKind::NotFound);
        let hint = refusal.error.hint.expect("the list");
        assert!(hint.contains("GET /v1/status, ") && hint.contains("GET /v1/operations/ID"));
    }

    #[test]
    fn anybody_is_told_how_it_does_and_nothing_else() {
        let found = |method, path: &str| {
            let found = find(Guest::Anybody, &method, path);
            found.map(|(route, _)| route)
        };
        assert_eq!(found(Method::GET, "/metrics").ok(), Some(Route::Metrics));
        assert_eq!(found(Method::HEAD, "/readyz").ok(), Some(Route::Readyz));
        for entry in TABLE {
            let path = entry.path.replace('*', "8.0");
            for method in [Method::GET, Method::POST, Method::HEAD] {
                let refusal = found(method, &path).expect_err("not for anybody");
                assert_eq!(refusal.error.kind, ErrorKind::NotFound, "{path}");
            }
        }
        let refusal = found(Method::POST, "/healthz").expect_err("read-only");
        assert_eq!(refusal.error.kind, ErrorKind::MethodNotAllowed);
    }
}
