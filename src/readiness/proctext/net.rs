//! `/proc/PID/net/{tcp,tcp6,udp,udp6}` (proc_pid_net(5)) and `/proc/PID/net/unix`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{decimal, hexadecimal, lines, words};

/// A row of a TCP or UDP table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpRow {
    /// Local address.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// Port of the other end; 0 where there is none.
    pub remote_port: u16,
    /// State as in `include/net/tcp_states.h`.
    pub state: u8,
    /// The socket's inode; 0 when no descriptor refers to it.
    pub inode: u64,
}

impl TcpRow {
    /// `TCP_LISTEN`.
    pub const LISTEN: u8 = 0x0a;
    /// `TCP_CLOSE`, which is the state of an unconnected UDP socket.
    pub const CLOSE: u8 = 0x07;
}

/// The rows of a table; lines that are not one (the heading) are passed over.
pub fn tcp_rows(text: &[u8]) -> impl Iterator<Item = TcpRow> {
    lines(text).filter_map(tcp_row)
}

fn tcp_row(line: &[u8]) -> Option<TcpRow> {
    let mut words = words(line);
    let _slot = words.next()?;
    let (address, port) = endpoint(words.next()?)?;
    let (_, remote_port) = endpoint(words.next()?)?;
    let state = u8::try_from(hexadecimal(words.next()?)?).ok()?;
    // tx:rx queue, timer, retransmits, uid, timeout; then the inode.
    let inode = decimal(words.nth(5)?)?;
    Some(TcpRow {
        address,
        port,
        remote_port,
        state,
        inode,
    })
}

/// `0100007F:1F90`: the address as 32-bit words in the machine's order, the port as a number.
fn endpoint(word: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = word.iter().position(|&byte| byte == b':')?;
    let (address, port) = (word.get(..colon)?, word.get(colon + 1..)?);
    let port = u16::try_from(hexadecimal(port)?).ok()?;
    let quad = |part: &[u8]| Some(u32::try_from(hexadecimal(part)?).ok()?.to_ne_bytes());
    match address.len() {
        8 => Some((IpAddr::V4(Ipv4Addr::from(quad(address)?)), port)),
        32 => {
            let mut bytes = [0; 16];
            let (parts, _) = address.as_chunks::<8>();
            let (slots, _) = bytes.as_chunks_mut::<4>();
            for (slot, part) in slots.iter_mut().zip(parts) {
                *slot = quad(part)?;
            }
            Some((IpAddr::V6(Ipv6Addr::from(bytes)), port))
        }
        _ => None,
    }
}

/// A row of the table of unix sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixRow {
    /// `listen(2)` was called on it.
    pub listens: bool,
    /// The socket's inode.
    pub inode: u64,
    /// The path, or `@NAME` of an abstract address; an accepted socket has its listener's.
    pub path: Option<String>,
}

/// The rows of the table of unix sockets.
pub fn unix_rows(text: &[u8]) -> impl Iterator<Item = UnixRow> {
    lines(text).filter_map(|line| {
        const ACCEPTS: u64 = 1 << 16; // __SO_ACCEPTCON of linux/net.h
        let mut words = words(line);
        let _slot = words.next()?.strip_suffix(b":")?;
        let flags = hexadecimal(words.nth(2)?)?;
        let inode = decimal(words.nth(2)?)?;
        // A path may hold blanks: it is all that follows the inode.
        let rest = after_words(line, 7);
        let path = (!rest.is_empty()).then(|| String::from_utf8_lossy(rest).into_owned());
        Some(UnixRow {
            listens: flags & ACCEPTS != 0,
            inode,
            path,
        })
    })
}

/// What follows the first `count` words of a line.
fn after_words(line: &[u8], count: usize) -> &[u8] {
    let mut rest = line.trim_ascii_start();
    for _ in 0..count {
        let end = rest
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families() {
        let text = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31009 1 0000000000000000 100 0 0 10 0\n";
        let rows: Vec<_> = tcp_rows(text).collect();
        assert_eq!(rows.len(), 1);
        if cfg!(target_endian = "little") {
            assert_eq!(rows[0].address, IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        assert_eq!(
            (rows[0].port, rows[0].state, rows[0].inode),
            (8080, TcpRow::LISTEN, 31009)
        );
        let six = b"   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1\n";
        let row = tcp_rows(six).next().expect("a row");
        if cfg!(target_endian = "little") {
            assert_eq!(row.address, IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
        assert_eq!((row.port, row.inode), (80, 7));
    }

    #[test]
    fn unix_paths_may_hold_blanks_or_be_missing() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
0000000000000000: 00000002 00000000 00010000 0001 01 20991 /run/a b.sock\n\
0000000000000000: 00000003 00000000 00000000 0001 03 20992\n";
        let rows: Vec<_> = unix_rows(text).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].listens && !rows[1].listens);
        assert_eq!(rows[0].path.as_deref(), Some("/run/a b.sock"));
        assert_eq!((rows[1].inode, rows[1].path.as_deref()), (20992, None));
    }
}
