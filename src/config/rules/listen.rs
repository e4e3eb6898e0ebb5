//! Listeners: how many, under which names, at which addresses, with which options.

use super::super::address::Address;
use super::super::build::{At, Build};
use super::super::raw::Wrong;

/// Each becomes a descriptor of every worker, and travels in one message to the launcher.
pub(crate) const LISTENERS_MAX: usize = 64;

/// Names that mean something else in LISTEN_FDNAMES.
const RESERVED: [&str; 2] = [super::super::types::PROBE, "private"];

pub(super) fn check(build: &mut Build<'_>) {
    how_many(build);
    fill_names(build);
    names(build);
    addresses(build);
    options(build);
}

fn how_many(build: &mut Build<'_>) {
    let count = build.listeners.len();
    if count == 0 && !build.broken.contains("listen") && build.broken_lines.is_empty() {
        let hint = match build.source {
            Some(_) => {
                "write [[listen]] and below it address = \":8080\", or run with --listen :8080"
            }
            None => "write --listen :8080",
        };
        build.rule(
            "listen",
            Wrong::new("is missing: there is no socket to serve").hint(hint),
        );
    }
    if count > LISTENERS_MAX {
        let at = build.listeners.get(LISTENERS_MAX).map(|l| l.at.clone());
        let wrong = Wrong::new(format!(
            "has {count} listeners; at most {LISTENERS_MAX} are possible"
        ));
        if let Some(at) = at {
            build.fault(
                &at,
                "listen",
                wrong.hint("split the service, or listen on a wildcard address"),
            );
        }
    }
}

fn fill_names(build: &mut Build<'_>) {
    for (index, listener) in build.listeners.iter_mut().enumerate() {
        if !listener.named {
            listener.listen.name = format!("listen-{index}");
        }
    }
}

fn names(build: &mut Build<'_>) {
    let mut faults: Vec<(At, String, Wrong)> = Vec::new();
    for (index, listener) in build.listeners.iter().enumerate() {
        let name = listener.listen.name.as_str();
        let path = format!("listen[{index}].name");
        let earlier = build
            .listeners
            .iter()
            .take(index)
            .position(|other| other.listen.name == name);
        let at = listener.at("name").clone();
        if RESERVED.contains(&name) {
            let wrong = Wrong::new(format!(
                "is \"{name}\", a name that handover keeps for itself"
            ));
            faults.push((
                at,
                path,
                wrong.hint("choose another name, such as \"http\""),
            ));
        } else if let Some(earlier) = earlier {
            let wrong = Wrong::new(format!("is \"{name}\", as listen[{earlier}] already is"));
            faults.push((
                at,
                path,
                wrong.hint(format!("choose another name, such as \"{name}-{index}\"")),
            ));
        }
    }
    faults
        .into_iter()
        .for_each(|(at, path, wrong)| build.fault(&at, &path, wrong));
}

fn addresses(build: &mut Build<'_>) {
    let mut faults: Vec<(At, String, Wrong)> = Vec::new();
    let whole: Vec<_> = build
        .listeners
        .iter()
        .enumerate()
        .filter(|(_, l)| l.whole)
        .collect();
    for (i, (index, listener)) in whole.iter().enumerate() {
        let clash = whole.iter().take(i).find(|(_, other)| {
            let both_share = listener.listen.reuse_port && other.listen.reuse_port;
            let families_apart = (listener.listen.only_v6 == Some(true)
                || other.listen.only_v6 == Some(true))
                && is_v4(&listener.listen.address) != is_v4(&other.listen.address);
            !both_share
                && !families_apart
                && listener.listen.address.clashes_with(&other.listen.address)
        });
        let Some((earlier, other)) = clash else {
            continue;
        };
        let (mine, theirs) = (&listener.listen.address, &other.listen.address);
        let wrong = if mine == theirs {
            Wrong::new(format!("is {mine}, as listen[{earlier}] already is"))
                .hint("remove one of the two")
        } else {
            Wrong::new(format!(
                "is {mine}, which clashes with {theirs} of listen[{earlier}]: one covers the other"
            ))
            .hint("keep the wider one, or choose another port")
        };
        faults.push((
            listener.at("address").clone(),
            format!("listen[{index}].address"),
            wrong,
        ));
    }
    faults
        .into_iter()
        .for_each(|(at, path, wrong)| build.fault(&at, &path, wrong));
}

fn is_v4(address: &Address) -> bool {
    use super::super::address::Host;
    match address {
        Address::Tcp(at) | Address::Udp(at) => matches!(at.host, Host::Ip(std::net::IpAddr::V4(_))),
        _ => false,
    }
}

/// Which kinds of address an option needs; `None`: any that handover binds itself.
fn needs(option: &str) -> Option<&'static str> {
    match option {
        "mode" | "user" | "group" => Some("a unix path"),
        "backlog" => Some("a stream listener"),
        "nodelay" | "keepalive" | "defer_accept" | "fastopen" => Some("a TCP listener"),
        "only_v6" => Some("an IPv6 address"),
        "reuse_port" | "freebind" | "transparent" => Some("a TCP or UDP address"),
        _ => None,
    }
}

fn fits(option: &str, address: &Address) -> bool {
    use super::super::address::Host;
    match (option, address) {
        ("mode" | "user" | "group", _) => matches!(address, Address::Unix(_)),
        ("backlog", _) => !address.is_datagram(),
        ("nodelay" | "keepalive" | "defer_accept" | "fastopen", _) => {
            matches!(address, Address::Tcp(_))
        }
        ("only_v6", Address::Tcp(at) | Address::Udp(at)) => {
            !matches!(at.host, Host::Ip(std::net::IpAddr::V4(_)))
        }
        ("only_v6" | "reuse_port" | "freebind" | "transparent", _) => {
            matches!(address, Address::Tcp(_) | Address::Udp(_))
        }
        _ => true,
    }
}

fn options(build: &mut Build<'_>) {
    let mut faults: Vec<(At, String, Wrong)> = Vec::new();
    for (index, listener) in build.listeners.iter().enumerate().filter(|(_, l)| l.whole) {
        let address = &listener.listen.address;
        for (option, at) in &listener.set {
            let path = format!("listen[{index}].{option}");
            if matches!(*option, "name" | "address" | "ready") || build.broken.contains(&path) {
                continue;
            }
            let wrong = if let Address::Inherited(_) = address {
                Wrong::new(format!(
                    "cannot be set for {address}: systemd made that socket"
                ))
                .hint("remove it, and set it in the .socket unit (systemd.socket(5))")
            } else if !fits(option, address) {
                let needs = needs(option).unwrap_or("another address");
                Wrong::new(format!("needs {needs}, not {address}")).hint("remove it")
            } else {
                continue;
            };
            faults.push((at.clone(), path, wrong));
        }
    }
    faults
        .into_iter()
        .for_each(|(at, path, wrong)| build.fault(&at, &path, wrong));
}
