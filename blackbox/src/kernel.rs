//! What the kernel at hand is, where that decides what can be seen.

/// Its version: of Linux 6.12.9 that is (6, 12).
pub fn version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether this is what is to be told of the end of a process that is nobody's child here. Where the kernel does not keep it, it is
/// known to who looks before the process is reaped, which is somebody else's business: then it may also be not known.
pub fn is_end_of_another<T: PartialEq>(told: Option<T>, end: T) -> bool {
    told.map_or(!keeps_ends(), |told| told == end)
}

/// Whether it keeps how a process ended for whoever holds it (Linux 6.15); else only its parent learns that.
pub fn keeps_ends() -> bool {
    version() >= (6, 15)
}
