//! What the kernel at hand is, where that decides what can be seen.

/// Its version: of Linux 6.12.9 that is (6, 12).
pub fn version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether it keeps how a process ended for whoever holds it (Linux 6.15); else only its parent learns that.
pub fn keeps_ends() -> bool {
    version() >= (6, 15)
}
