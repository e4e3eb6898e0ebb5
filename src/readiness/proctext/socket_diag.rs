//! Answers of the kernel's socket tables (sock_diag(7)).

/// How an answer's datagram ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagPart {
    /// More datagrams follow.
    More,
    /// The table is complete.
    Done,
    /// The kernel refused, or the datagram makes no sense.
    Refused,
}

/// Hands the inode of every socket in one datagram of netlink messages to `each`.
pub fn diag_inodes(mut bytes: &[u8], mut each: impl FnMut(u64)) -> DiagPart {
    const HEADER: usize = 16; // struct nlmsghdr
    const INODE: usize = HEADER + 68; // last field of struct inet_diag_msg
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    while let Some(&[a, b, c, d, e, f, ..]) = bytes.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(message) = bytes
            .get(..length)
            .filter(|message| message.len() >= HEADER)
        else {
            return DiagPart::Refused;
        };
        match u16::from_ne_bytes([e, f]) {
            NLMSG_DONE => return DiagPart::Done,
            NLMSG_ERROR => return DiagPart::Refused,
            SOCK_DIAG_BY_FAMILY => {
                if let Some(inode) = message.get(INODE..).and_then(|rest| rest.first_chunk()) {
                    each(u64::from(u32::from_ne_bytes(*inode)));
                }
            }
            _ => {}
        }
        // Messages start at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    DiagPart::More
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn takes_the_inode_of_each_message() {
        let mut body = [0_u8; 72];
        body[68..].copy_from_slice(&31009_u32.to_ne_bytes());
        let mut bytes = message(20, &body);
        bytes.extend(message(20, &body[..40])); // too short to have one
        let mut seen = vec![];
        assert_eq!(
            diag_inodes(&bytes, |inode| seen.push(inode)),
            DiagPart::More
        );
        bytes.extend(message(3, &[0; 4]));
        assert_eq!(diag_inodes(&bytes, |_| ()), DiagPart::Done);
        assert_eq!(seen, [31009]);
        assert_eq!(
            diag_inodes(&message(2, &[0; 20]), |_| ()),
            DiagPart::Refused
        );
        assert_eq!(diag_inodes(&[0; 16], |_| ()), DiagPart::Refused);
    }
}
