//! Reading an address, with a guess at what was meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use super::super::suggest;
use super::{Address, AddressError, Host, HostPort, UNIX_PATH_BYTES_MAX};

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if text.trim() != text {
            return Err(wrong("has spaces around it").write(text.trim()));
        }
        if text.is_empty() {
            return Err(wrong("is empty").say("write :8080, 127.0.0.1:8080 or unix:/run/web.sock"));
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(wrong(format!("holds a control character ({control:?})")));
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(rest);
        }
        if let Some(name) = text.strip_prefix("fd:") {
            return inherited(name);
        }
        if let Some(rest) = text.strip_prefix("udp:") {
            return match host_port(rest) {
                Ok(at) => Ok(Address::Udp(at)),
                Err(error) => Err(error.map_fix(|fix| format!("udp:{fix}"))),
            };
        }
        if let Some(error) = common_mistake(text) {
            return Err(error);
        }
        host_port(text).map(Address::Tcp)
    }
}

fn unix(rest: &str) -> Result<Address, AddressError> {
    let rest = match rest.strip_prefix("//") {
        Some(tail) if tail.starts_with('/') => {
            return Err(wrong("is a URL").write(format!("unix:{tail}")));
        }
        _ => rest,
    };
    let (abstract_name, bytes) = match rest.strip_prefix('@') {
        Some(name) => (true, name.as_bytes()),
        None => (false, rest.as_bytes()),
    };
    if bytes.is_empty() {
        return Err(wrong("names no path")
            .say("write unix:/run/web.sock, or unix:@web for an abstract name"));
    }
    if bytes.len() > UNIX_PATH_BYTES_MAX {
        let what = if abstract_name { "name" } else { "path" };
        return Err(wrong(format!(
            "has a unix {what} of {} bytes; the kernel takes at most {UNIX_PATH_BYTES_MAX}",
            bytes.len()
        ))
        .say(format!(
            "shorten it by {} bytes",
            bytes.len() - UNIX_PATH_BYTES_MAX
        )));
    }
    if abstract_name {
        return Ok(Address::Abstract(bytes.to_vec()));
    }
    if rest.ends_with('/') || rest == "." || rest == ".." {
        return Err(wrong("names a directory")
            .write(format!("unix:{}/web.sock", rest.trim_end_matches('/'))));
    }
    Ok(Address::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(
        bytes,
    ))))
}

fn inherited(name: &str) -> Result<Address, AddressError> {
    if name.is_empty() {
        return Err(wrong("names no descriptor")
            .say("write fd:NAME with the FileDescriptorName= of the .socket unit"));
    }
    // What systemd allows (fdname_is_valid): printable ASCII without the separator.
    if name.len() > 255 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(wrong("is not a descriptor name")
            .say("a descriptor name is at most 255 printable ASCII characters without ':'"));
    }
    Ok(Address::Inherited(name.to_owned()))
}

fn common_mistake(text: &str) -> Option<AddressError> {
    for (scheme, port) in [
        ("http://", 80),
        ("https://", 443),
        ("tcp://", 8080),
        ("tcp:", 8080),
    ] {
        if let Some(rest) = text.strip_prefix(scheme) {
            let host = rest.split('/').next().unwrap_or_default();
            let fix = match host_port(host) {
                Ok(at) => at.to_string(),
                Err(_) => format!("{host}:{port}"),
            };
            let what = if scheme.ends_with('/') {
                "is a URL"
            } else {
                "has a scheme; TCP needs none"
            };
            let error = wrong(what);
            return Some(if host_port(&fix).is_ok() {
                error.write(fix)
            } else {
                error
            });
        }
    }
    // With a port behind it a scheme was meant, and no host.
    if let Some((word, rest)) = text.split_once(':')
        && rest.contains([':', '/'])
        && let Some(scheme) = suggest::nearest(word, ["udp", "unix"])
    {
        return Some(wrong(format!("has no scheme {word:?}")).write(format!("{scheme}:{rest}")));
    }
    if text.starts_with(['/', '.']) {
        return Some(wrong("looks like a path").write(format!("unix:{text}")));
    }
    if let Some(name) = text.strip_prefix('@') {
        return Some(wrong("looks like an abstract name").write(format!("unix:@{name}")));
    }
    None
}

fn host_port(text: &str) -> Result<HostPort, AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            return Err(wrong("has a '[' that is never closed").write(format!("[{}]:8080", rest)));
        };
        let ip = v6(inside)?;
        let Some(port) = after.strip_prefix(':') else {
            return Err(wrong("has no port").write(format!("[{ip}]:8080")));
        };
        return Ok(HostPort {
            host: Host::Ip(IpAddr::V6(ip)),
            port: read_port(port, &format!("[{ip}]"))?,
        });
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(no_colon(text));
    };
    if host.contains(':') {
        return Err(unbracketed(text, host, port));
    }
    let host = match host {
        "" => Host::Any,
        "*" => return Err(wrong("has '*' for a host").write(format!(":{port}"))),
        _ => read_host(host)?,
    };
    let shown = match &host {
        Host::Any => String::new(),
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    Ok(HostPort {
        port: read_port(port, &shown)?,
        host,
    })
}

fn no_colon(text: &str) -> AddressError {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return wrong("is a port without a ':'")
            .write(format!(":{text}"))
            .say(format!(
                "write :{text} for every address, or 127.0.0.1:{text} for this machine only"
            ));
    }
    let error = wrong("has no port");
    match read_host(text) {
        Ok(_) => error.write(format!("{text}:8080")),
        Err(_) => {
            error.say("write HOST:PORT, :PORT, [V6]:PORT, unix:PATH, udp:HOST:PORT or fd:NAME")
        }
    }
}

/// `::1:8080`: more colons than HOST:PORT has.
fn unbracketed(text: &str, host: &str, port: &str) -> AddressError {
    let error = wrong("has an IPv6 address without brackets");
    let plausible_port = port.bytes().all(|b| b.is_ascii_digit()) && port.len() >= 2;
    if host.parse::<Ipv6Addr>().is_ok() && plausible_port {
        error.write(format!("[{host}]:{port}"))
    } else if text.parse::<Ipv6Addr>().is_ok() {
        error.write(format!("[{text}]:8080"))
    } else if let Some(rest) = host
        .strip_suffix(':')
        .filter(|h| h.parse::<Ipv6Addr>().is_ok())
    {
        error.write(format!("[{rest}]:{port}"))
    } else {
        wrong("has too many colons").say("write HOST:PORT, or [V6]:PORT with brackets")
    }
}

fn v6(text: &str) -> Result<Ipv6Addr, AddressError> {
    if let Some((_, zone)) = text.split_once('%') {
        return Err(wrong(format!(
            "has a zone (%{zone}), which a listener cannot be bound to"
        ))
        .say("write [::] with only_v6 = true, or an address that is not link-local"));
    }
    text.parse().map_err(|_| match text.parse::<Ipv4Addr>() {
        Ok(ip) => wrong("has an IPv4 address in brackets").say(format!("write {ip}:PORT")),
        Err(_) => wrong(format!("has no IPv6 address in its brackets ({text:?})"))
            .say("write [::1]:8080 for this machine only, [::]:8080 for every address"),
    })
}

fn read_host(text: &str) -> Result<Host, AddressError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(
            wrong(format!("has no IPv4 address in front of the port ({text})"))
                .say("an IPv4 address has four numbers of at most 255: 127.0.0.1"),
        );
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() > 253 || !text.trim_end_matches('.').split('.').all(label_ok) {
        return Err(wrong(format!("has a host that is no name ({text:?})"))
            .say("a host name has letters, digits, '-' and '.'"));
    }
    Ok(Host::Name(text.to_owned()))
}

fn read_port(text: &str, host: &str) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Err(wrong("has no port after the ':'").write(format!("{host}:8080")));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        let error = wrong(format!("has a port that is no number ({text:?})"));
        return Err(match text {
            "http" => error.write(format!("{host}:80")),
            "https" => error.write(format!("{host}:443")),
            _ => error.write(format!("{host}:8080")),
        });
    }
    text.parse().map_err(|_| {
        wrong(format!("has the port {text}; the highest is 65535"))
            .say("choose a port from 1 to 65535, or 0 for any free one")
    })
}

fn wrong(message: impl Into<String>) -> AddressError {
    AddressError {
        message: message.into(),
        fix: None,
        hint: None,
    }
}

impl AddressError {
    fn write(self, fix: impl Into<String>) -> AddressError {
        AddressError {
            fix: Some(fix.into()),
            ..self
        }
    }

    fn say(self, hint: impl Into<String>) -> AddressError {
        AddressError {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn map_fix(self, with: impl FnOnce(String) -> String) -> AddressError {
        AddressError {
            fix: self.fix.map(with),
            ..self
        }
    }
}
