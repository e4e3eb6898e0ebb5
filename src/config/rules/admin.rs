//! `[admin]`: an address that is TCP and nobody else's; a word where others may reach it.

use super::super::address::{Address, Host};
use super::super::build::Build;
use super::super::raw::Wrong;

const KEY: &str = "admin.listen";

pub(super) fn check(build: &mut Build<'_>) {
    if build.broken.contains(KEY) {
        return;
    }
    let Some(address) = build.config.admin.listen.clone() else {
        return;
    };
    let Address::Tcp(at) = &address else {
        let wrong = Wrong::new(format!("needs a TCP address, not {address}"));
        return build.rule(KEY, wrong.text("127.0.0.1:9464"));
    };
    let clash = build
        .listeners
        .iter()
        .position(|other| other.whole && other.listen.address.clashes_with(&address));
    if let Some(index) = clash {
        let wrong = Wrong::new(format!("is {address}, which listen[{index}] serves"));
        return build.rule(KEY, wrong.hint("choose a port of its own, such as 9464"));
    }
    let local = match &at.host {
        Host::Any => false,
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => name == "localhost",
    };
    if !local {
        let port = at.port;
        let wrong = Wrong::new(format!(
            "is {address}: whoever reaches it reads metrics and health without being asked who they are"
        ));
        let hint = format!(
            "write listen = \"127.0.0.1:{port}\", or see that only those you mean reach it"
        );
        build.warn(KEY, wrong.hint(hint));
    }
}
