//! The binary generation: the kernel's structs, in the machine's own byte order and alignment.
//!
//! An [`Order`] is `struct supervise_send_signal`: two 32-bit numbers, the pid and the signal. An [`Ending`] is the `siginfo_t`
//! that `waitid(2)` fills (64-bit Linux: 128 bytes).

use super::{Boundaries, signal};

/// The bytes of an order.
pub const ORDER_BYTES: usize = 8;

/// Send this signal to this child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The process; never 0. Whether it is a child is not known here.
    pub pid: u32,
    /// 1 to 64.
    pub signal: u8,
}

impl Order {
    /// The struct.
    pub fn bytes(self) -> [u8; ORDER_BYTES] {
        let [a, b, c, d] = self.pid.to_ne_bytes();
        let [e, f, g, h] = u32::from(self.signal).to_ne_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// Puts orders together from whatever pieces they come in.
#[derive(Clone, Debug)]
pub struct Orders {
    boundaries: Boundaries,
    part: [u8; ORDER_BYTES],
    length: usize,
}

impl Orders {
    /// For a transport that has, or has not, boundaries of its own.
    pub const fn new(boundaries: Boundaries) -> Orders {
        Orders { boundaries, part: [0; ORDER_BYTES], length: 0 }
    }

    /// Takes what one read gave and calls `obey` with each complete order that names a possible process and signal.
    ///
    /// Where messages are kept apart, `bytes` are one of them; what is left at its end is no order and is dropped.
    pub fn take(&mut self, bytes: &[u8], mut obey: impl FnMut(Order)) {
        for byte in bytes {
            if let Some(place) = self.part.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
            if self.length == ORDER_BYTES {
                self.length = 0;
                order(self.part).into_iter().for_each(&mut obey);
            }
        }
        if self.boundaries == Boundaries::Messages {
            self.length = 0;
        }
    }
}

fn order(bytes: [u8; ORDER_BYTES]) -> Option<Order> {
    let [a, b, c, d, e, f, g, h] = bytes;
    let pid = u32::try_from(i32::from_ne_bytes([a, b, c, d])).ok().filter(|pid| *pid != 0)?;
    let number = u32::try_from(i32::from_ne_bytes([e, f, g, h])).ok()?;
    Some(Order { pid, signal: signal(number)? })
}

/// The bytes of an ending.
pub const ENDING_BYTES: usize = 128;

/// `si_signo`: it is about a child.
const SIGCHLD: i32 = 17;

/// That a child ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `si_code`: 1 exited, 2 killed, 3 killed with a core.
    pub code: i32,
    /// The child.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// The exit status, or the signal.
    pub status: i32,
}

impl Ending {
    /// The struct.
    pub fn bytes(self) -> [u8; ENDING_BYTES] {
        let mut bytes = [0; ENDING_BYTES];
        // Offsets 4 (`si_errno`), 12 (padding) and 28 to the end are zero.
        let fields = [
            (0, SIGCHLD.to_ne_bytes()),
            (8, self.code.to_ne_bytes()),
            (16, self.pid.to_ne_bytes()),
            (20, self.uid.to_ne_bytes()),
            (24, self.status.to_ne_bytes()),
        ];
        for (offset, field) in fields {
            if let Some(place) = bytes.get_mut(offset..offset + 4) {
                place.copy_from_slice(&field);
            }
        }
        bytes
    }

    /// Reads the struct; `None` when it is not about the end of a child.
    pub fn parse(bytes: &[u8; ENDING_BYTES]) -> Option<Ending> {
        let word = |offset: usize| -> Option<[u8; 4]> { bytes.get(offset..offset + 4)?.try_into().ok() };
        let code = i32::from_ne_bytes(word(8)?);
        let ended = i32::from_ne_bytes(word(0)?) == SIGCHLD && (1..=3).contains(&code);
        ended.then_some(Ending {
            code,
            pid: u32::from_ne_bytes(word(16)?),
            uid: u32::from_ne_bytes(word(20)?),
            status: i32::from_ne_bytes(word(24)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struct_of(pid: i32, signal: i32) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&pid.to_ne_bytes());
        bytes[4..].copy_from_slice(&signal.to_ne_bytes());
        bytes
    }

    fn heard(boundaries: Boundaries, reads: &[&[u8]]) -> Vec<(u32, u8)> {
        let mut orders = Orders::new(boundaries);
        let mut all = Vec::new();
        reads.iter().for_each(|read| orders.take(read, |order| all.push((order.pid, order.signal))));
        all
    }

    #[test]
    fn an_order_names_one_process_and_one_signal_or_is_none() {
        for (pid, signal, order) in [
            (4711, 15, Some((4711, 15))),
            (1, 1, Some((1, 1))),
            (i32::MAX, 64, Some((0x7fff_ffff, 64))),
            (0, 15, None),
            (-1, 15, None),
            (i32::MIN, 15, None),
            (4711, 0, None),
            (4711, 65, None),
            (4711, 999, None),
            (4711, -1, None),
            (4711, 256 + 9, None),
        ] {
            let heard = heard(Boundaries::None, &[&struct_of(pid, signal)]);
            assert_eq!(heard, order.into_iter().collect::<Vec<_>>(), "{pid} {signal}");
        }
    }

    #[test]
    fn orders_come_in_pieces_and_in_heaps() {
        let two = [struct_of(10, 1), struct_of(20, 2)].concat();
        let both = [(10, 1), (20, 2)];
        for cut in 0..=two.len() {
            assert_eq!(heard(Boundaries::None, &[&two[..cut], &two[cut..]]), both, "cut at {cut}");
        }
        assert_eq!(heard(Boundaries::Messages, &[&two]), both);
        assert_eq!(heard(Boundaries::Messages, &[&two[..11], &two[8..]]), both, "a message's rest is dropped");
        assert!(heard(Boundaries::Messages, &[&two[..3], &two[3..8]]).is_empty());
        assert_eq!(heard(Boundaries::None, &[&two[..3], b"", &two[3..8]]), [(10, 1)]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn structs_to_the_byte() {
        assert_eq!(heard(Boundaries::None, &[&[0x67, 0x12, 0, 0, 15, 0, 0, 0]]), [(4711, 15)]);
        let bytes = Ending { code: 2, pid: 4711, uid: 1000, status: 9 }.bytes();
        let golden = [17, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x67, 0x12, 0, 0, 0xe8, 3, 0, 0, 9, 0, 0, 0];
        assert_eq!(bytes[..28], golden);
        assert_eq!(bytes[28..], [0; 100]);
    }

    #[test]
    fn an_ending_is_read_as_it_was_written() {
        for code in 1..=3 {
            let ending = Ending { code, pid: 77, uid: u32::MAX, status: 255 };
            assert_eq!(Ending::parse(&ending.bytes()), Some(ending));
        }
        // Stopped, continued and the like are defined and never sent.
        let stopped = Ending { code: 5, pid: 77, uid: 0, status: 19 };
        assert_eq!(Ending::parse(&stopped.bytes()), None);
        assert_eq!(Ending::parse(&[0; ENDING_BYTES]), None);
    }
}
