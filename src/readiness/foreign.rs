//! Where a worker listens instead.

use std::net::{IpAddr, SocketAddr};

use super::evidence::Wanted;
use super::procfs::Reader;
use super::proctext::{self, Target, TcpRow};
use super::tree::Tree;

/// A socket that a worker's tree listens on, and that it was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The process that holds it.
    pub pid: i32,
    /// Its name.
    pub comm: String,
    /// `0.0.0.0:3000`, `[::]:3000`, `unix:/run/app.sock`.
    pub address: String,
    /// The port, where there is one.
    pub port: Option<u16>,
}

/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 1024;
/// Tables are read up to here, in bytes; TCP ones begin with the listening sockets.
const TABLE_MAX: usize = 256 * 1024;

/// What the worker's tree listens on besides what it was given, the likeliest mistake first:
/// the port that was wanted, then what others can reach, then what only this machine can.
///
/// `wanted` is all that it was given, also what does not count for readiness. The tables are those of the worker's own network namespace. Empty when nothing
/// is found or nothing may be read. Costs a few hundred microseconds: not for every look.
pub(super) fn foreign_listeners(
    tree: &Tree,
    reader: &mut Reader,
    wanted: &[Wanted],
) -> Vec<Foreign> {
    let mut found: Vec<(u8, Foreign)> = Vec::new();
    let mut tables: Option<(Vec<Listening>, u64)> = None;
    for process in &tree.processes {
        let (tid, links) = process.descriptors(reader, DESCRIPTORS_MAX);
        let sockets = links.iter().filter_map(|&(_, target)| match target {
            Target::Socket(inode) if wanted.iter().all(|w| w.inode != inode) => Some(inode),
            _ => None,
        });
        let sockets: Vec<u64> = sockets.collect();
        if sockets.is_empty() {
            continue;
        }
        // One namespace for the whole tree, nearly always: read its tables once.
        let namespace = namespace(process.pid);
        let listening = match &tables {
            Some((listening, of)) if *of == namespace => listening,
            _ => {
                &tables
                    .insert((listening(process.pid, wanted, reader), namespace))
                    .0
            }
        };
        let mine: Vec<_> = listening
            .iter()
            .filter(|l| sockets.contains(&l.inode))
            .collect();
        if mine.is_empty() {
            continue;
        }
        let comm = process
            .stat(reader, tid)
            .map(|stat| stat.comm)
            .unwrap_or_default();
        for listening in mine {
            // Workers that forked share their parent's socket: the parent is named.
            if found
                .iter()
                .all(|(_, known)| known.address != listening.address)
            {
                let (address, port) = (listening.address.clone(), listening.port);
                let foreign = Foreign {
                    pid: process.pid,
                    comm: comm.clone(),
                    address,
                    port,
                };
                found.push((listening.rank, foreign));
            }
        }
    }
    found.sort_by_key(|&(rank, _)| rank);
    found.into_iter().map(|(_, foreign)| foreign).collect()
}

#[derive(Debug)]
struct Listening {
    inode: u64,
    address: String,
    port: Option<u16>,
    rank: u8,
}

fn namespace(pid: i32) -> u64 {
    rustix::fs::stat(format!("/proc/{pid}/ns/net")).map_or(0, |stat| stat.st_ino)
}

/// Everything that listens in the network namespace of a process, as far as it is of the
/// kinds that are wanted.
fn listening(pid: i32, wanted: &[Wanted], reader: &mut Reader) -> Vec<Listening> {
    let mut all = Vec::new();
    let rank = |port: u16, address: IpAddr| match () {
        () if wanted.iter().any(|wanted| wanted.port == Some(port)) => 0,
        () if !address.is_loopback() => 1,
        () => 2,
    };
    let mut add = |row: TcpRow| {
        all.push(Listening {
            inode: row.inode,
            address: SocketAddr::new(row.address, row.port).to_string(),
            port: Some(row.port),
            rank: rank(row.port, row.address),
        });
    };
    for table in ["tcp", "tcp6"] {
        let text = reader
            .path(&format!("/proc/{pid}/net/{table}"), TABLE_MAX)
            .unwrap_or_default();
        // Listening sockets come first; connections may be many.
        let rows = proctext::tcp_rows(text).take_while(|row| row.state == TcpRow::LISTEN);
        rows.for_each(&mut add);
    }
    // An unconnected UDP socket may be a client's: only those on a wanted port count.
    let udp_ports: Vec<u16> = wanted
        .iter()
        .filter(|w| w.datagram)
        .filter_map(|wanted| wanted.port)
        .collect();
    for table in if udp_ports.is_empty() {
        &[][..]
    } else {
        &["udp", "udp6"]
    } {
        let text = reader
            .path(&format!("/proc/{pid}/net/{table}"), TABLE_MAX)
            .unwrap_or_default();
        proctext::tcp_rows(text)
            .filter(|row| row.state == TcpRow::CLOSE && udp_ports.contains(&row.port))
            .for_each(&mut add);
    }
    if wanted
        .iter()
        .any(|wanted| wanted.port.is_none() && !wanted.datagram)
    {
        let text = reader
            .path(&format!("/proc/{pid}/net/unix"), TABLE_MAX)
            .unwrap_or_default();
        for row in proctext::unix_rows(text).filter(|row| row.listens) {
            let path = row.path.unwrap_or_else(|| "(unnamed)".into());
            let address = format!("unix:{path}");
            let rank = if wanted.iter().any(|w| w.address == address) {
                0
            } else {
                2
            };
            all.push(Listening {
                inode: row.inode,
                address,
                port: None,
                rank,
            });
        }
    }
    all
}
