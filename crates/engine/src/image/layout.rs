//! How an image lies in memory: a header, tables of fixed records, and one run of texts.
//!
//! Every number is little-endian and read byte by byte, so an image needs no alignment and no `unsafe`. A table is named
//! by its offset and its count; a list inside a record is a start and a count in the table of its kind; a text is an
//! offset and a length in the run of texts, and a NUL byte follows it there, so that it can be given to `execve(2)` as it is.
//!
//! The offsets of the fields are computed from the one list in this file; writer, reader and verifier share them.

use super::plan::ExitCodes;
use crate::time::Span;

/// What an image begins with.
pub const MAGIC: [u8; 8] = *b"verger\x00\x01";
/// The version of this layout. A daemon takes exactly its own.
pub const VERSION: u32 = 13;
/// No image is larger: offsets are 32 bits, and nobody plans 64 MiB of services by accident.
pub const IMAGE_BYTES_MAX: usize = 64 << 20;
/// The checksum covers everything from here on (after magic, version and itself).
pub(super) const CHECKED_FROM: usize = 20;

/// A value that can be a field: fixed size, one reading, one writing.
pub(super) trait Field: Copy {
    const SIZE: usize;
    fn get(bytes: &[u8]) -> Self;
    fn put(self, bytes: &mut [u8]);
}

macro_rules! number_fields {
    ($($number:ty),*) => {$(
        impl Field for $number {
            const SIZE: usize = size_of::<$number>();
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$number>()];
                raw.copy_from_slice(&bytes[..Self::SIZE]);
                <$number>::from_le_bytes(raw)
            }
            fn put(self, bytes: &mut [u8]) {
                bytes[..Self::SIZE].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
number_fields!(u8, u16, u32, u64, u128, i8, i16);

impl Field for Span {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Self {
        Span(u64::get(bytes))
    }
    fn put(self, bytes: &mut [u8]) {
        self.0.put(bytes);
    }
}

impl Field for ExitCodes {
    const SIZE: usize = 32;
    fn get(bytes: &[u8]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::get(bytes);
        }
        ExitCodes(words)
    }
    fn put(self, bytes: &mut [u8]) {
        for (word, bytes) in self.0.into_iter().zip(bytes.chunks_exact_mut(8)) {
            word.put(bytes);
        }
    }
}

/// A text: where it begins in the run of texts, and how many bytes it has (the NUL after it not counted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Text {
    pub(super) at: u32,
    pub(super) len: u32,
}

/// A list: the first entry in the table of its kind, and how many there are. Also: a table, by offset and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct List {
    pub(super) start: u32,
    pub(super) count: u32,
}

impl Field for Text {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Self {
        Text { at: u32::get(bytes), len: u32::get(&bytes[4..]) }
    }
    fn put(self, bytes: &mut [u8]) {
        self.at.put(bytes);
        self.len.put(&mut bytes[4..]);
    }
}

impl Field for List {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Self {
        List { start: u32::get(bytes), count: u32::get(&bytes[4..]) }
    }
    fn put(self, bytes: &mut [u8]) {
        self.start.put(bytes);
        self.count.put(&mut bytes[4..]);
    }
}

/// Declares a record: a plain struct for the writer, and for the reader one function per field that reads just it.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name { $(pub(super) $field: $type,)* }

        impl $name {
            pub(super) const SIZE: usize = 0 $(+ <$type as Field>::SIZE)*;

            pub(super) fn put(&self, bytes: &mut [u8]) {
                let mut at = 0;
                $(
                    self.$field.put(&mut bytes[at..]);
                    at += <$type as Field>::SIZE;
                )*
                debug_assert_eq!(at, Self::SIZE);
            }

            record!(@readers 0usize; $($field: $type,)*);
        }
    };
    (@readers $at:expr; ) => {};
    (@readers $at:expr; $field:ident: $type:ty, $($rest:tt)*) => {
        pub(super) fn $field(bytes: &[u8]) -> $type {
            <$type as Field>::get(&bytes[$at..])
        }
        record!(@readers $at + <$type as Field>::SIZE; $($rest)*);
    };
}

record! {
    /// The first bytes of an image.
    HeaderRecord {
        magic: u64,
        version: u32,
        checksum: u64,
        length: u64,
        name: Text,
        services: List,
        edges: List,
        texts: List,
        stops: List,
        resource_limits: List,
        descriptors: List,
        handles: List,
        cpus: List,
        exit_codes: List,
        groups: List,
        targets: List,
        members: List,
        recovery: List,
        steps: List,
        // Offset, and length in bytes.
        run_of_texts: List,
        limit_services: u32,
        limit_edges: u32,
        limit_images: u32,
        limit_commands: u32,
        limit_connections: u32,
        limit_groups: u32,
        shutdown_budget_given: u8,
        shutdown_budget: Span,
        lock_memory: u8,
        max_starting: u32,
        // In percent; 0 is no limit.
        pressure_memory: u8,
        pressure_cpu: u8,
        pressure_io: u8,
        pressure_wait_max: Span,
        pressure_folder: Text,
    }
}

record! {
    /// One service. Services lie in the order of their names.
    ServiceRecord {
        name: Text,
        description: Text,
        origin_file: Text,
        origin_line: u32,
        digest: u64,
        // How manyth it is in the plan as it was written.
        position: u32,
        program: Text,
        argv: List,
        arguments_from: u32,
        environment: List,
        inherit_environment: u8,
        working_directory: Text,
        user: Text,
        group: Text,
        groups: List,
        groups_given: u8,
        umask: u16,
        nice: i8,
        oom_score_adjust: i16,
        scheduling_policy: u8,
        scheduling_priority: u8,
        cpus: List,
        resource_limits: List,
        // In bytes, and in percent of one CPU; 0 is no limit.
        memory_max: u64,
        cpu_max: u32,
        capabilities_given: u8,
        capabilities: u64,
        apparmor_profile: Text,
        selinux_context: Text,
        no_new_privileges: u8,
        randomize_addresses: u8,
        session: u8,
        hold: u8,
        descriptors: List,
        control: u8,
        restricted: u8,
        brain: u32,
        alive_within: Span,
        edges: List,
        ready: u8,
        ready_fd: u32,
        alive_for: Span,
        success: ExitCodes,
        start_retries: u32,
        start_retry_delay: Span,
        start_timeout: Span,
        on_success: u32,
        on_failure: u32,
        stop: List,
        stuck_after: Span,
        restart: u8,
        restart_delay: Span,
        restart_delay_max: Span,
        healthy_after: Span,
        give_up_after: u32,
        give_up_within: Span,
        autostart: u8,
        essential: u8,
        paced: u8,
        recovery: u32,
        containment: u8,
        survive: u8,
    }
}

/// "None" for `brain`.
pub(super) const NO_BRAIN: u32 = u32::MAX;
/// "Not given" for `umask`, `nice`, `oom_score_adjust` and `scheduling_policy`; and for a socket's `mode`.
pub(super) const NO_UMASK: u16 = u16::MAX;
pub(super) const NO_NICE: i8 = i8::MIN;
pub(super) const NO_OOM_SCORE: i16 = i16::MIN;
pub(super) const NO_SCHEDULING: u8 = u8::MAX;
pub(super) const NO_MODE: u16 = u16::MAX;

record! {
    /// An edge of the graph: from the service that lists it to the one it names.
    /// `exit_codes`: the statuses of condition "exited", a number in their table.
    EdgeRecord { target: u32, kind: u8, condition: u8, when_down: u8, exit_codes: u32, }
}

record! {
    StopRecord { signal: u8, wait: Span, }
}

record! {
    ResourceLimitRecord { resource: u8, soft: u64, hard: u64, }
}

record! {
    DescriptorRecord { number: u32, source: u8, path: Text, handle: u32, end: u8, }
}

record! {
    /// The fields after `path` are a socket's: how many bytes its host has (0, 4, 16), those bytes, and the rest.
    HandleRecord { name: Text, kind: u8, path: Text, host_length: u8, host: u128, port: u16, mode: u16, backlog: u32, }
}

record! {
    GroupRecord {
        name: Text,
        targets: List,
        initial: u32,
        fallback: u32,
        fallback_attempts: u32,
        fallback_delay: Span,
        fallback_healthy_after: Span,
        last_resort: List,
    }
}

record! {
    /// `members`: the numbers of services, rising: those listed, those of included targets, and what all of them pull as far as
    /// no other group does. `needed`: those of them without which the target is not there: those listed and included, and what
    /// they require; what is only wanted, is one of several or may end as it likes is not among them.
    TargetRecord { name: Text, members: List, needed: List, transition_timeout: Span, }
}

record! {
    /// `members`: the numbers of services, in the order they are listed.
    RecoveryRecord { name: Text, members: List, scope: u8, give_up_after: u32, give_up_within: Span, steps: List, }
}

record! {
    /// `group` and `target` are a switch's, `service` is the number of the one that is started or run.
    StepRecord { wait: Span, action: u8, group: Text, target: Text, service: u32, }
}

/// "None" for a group's `fallback`, for a service's `recovery`, `arguments_from`, `on_success` and
/// `on_failure`, and for `start_retries`.
pub(super) const NO_NUMBER: u32 = u32::MAX;

pub(super) const READY_STARTED: u8 = 0;
pub(super) const READY_ALIVE_FOR: u8 = 1;
pub(super) const READY_NOTIFY: u8 = 2;
pub(super) const READY_FD: u8 = 3;
pub(super) const READY_EXIT: u8 = 4;
pub(super) const READY_SET: u8 = 5;
pub(super) const READY_NEEDS: u8 = 6;

pub(super) const SOURCE_NULL: u8 = 0;
pub(super) const SOURCE_INHERIT: u8 = 1;
pub(super) const SOURCE_FILE: u8 = 2;
pub(super) const SOURCE_HANDLE: u8 = 3;
pub(super) const SOURCE_LINES: u8 = 4;

pub(super) const HANDLE_FILE: u8 = 0;
pub(super) const HANDLE_PIPE: u8 = 1;
pub(super) const HANDLE_TCP: u8 = 2;
pub(super) const HANDLE_UDP: u8 = 3;
pub(super) const HANDLE_UNIX: u8 = 4;
pub(super) const HANDLE_UNIX_DATAGRAM: u8 = 5;
pub(super) const HANDLE_MEMORY: u8 = 6;

/// Tells damage, not malice (whoever can write an image can also write its checksum; that is why everything else is verified too).
///
/// By words and in four lanes, which the processor works out side by side: FNV, byte by byte, was half of the time that a large image
/// is verified in. Each step can be undone, so damage within one word is always seen. A product carries nothing to lower bits: so
/// before each of two the upper half is put on the lower one.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    /// Odd, and no pattern in its bits: 2^64 over the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread = |sum: u64| (sum ^ sum >> 29).wrapping_mul(SPREAD);
    let step = |sum: u64, word: u64| spread(spread(sum ^ word));
    let (words, rest) = bytes.as_chunks::<8>();
    let (fours, words) = words.as_chunks::<4>();
    let mut lanes = [1, 2, 3, 4];
    for four in fours {
        for (lane, word) in lanes.iter_mut().zip(four) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let length = bytes.len() as u64;
    lanes.into_iter().chain(words).chain([last, length, 0]).fold(0, step)
}

/// The running state of FNV-1a with 64 bits. <http://www.isthe.com/chongo/tech/comp/fnv/>
pub(super) struct Fnv(pub(super) u64);

impl Fnv {
    pub(super) fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl core::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.feed(text.as_bytes());
        Ok(())
    }
}
