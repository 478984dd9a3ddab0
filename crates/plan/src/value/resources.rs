//! Resource limits by the names of `getrlimit(2)`, in lower case and without `RLIMIT_`.

/// The names; each stands at the kernel's number of the resource (as on x86-64 and arm64), with its unit.
pub(crate) const RESOURCES: [(&str, &str); 16] = [
    ("cpu", "seconds of CPU time"),
    ("fsize", "bytes of the largest file it may write"),
    ("data", "bytes of data segment"),
    ("stack", "bytes of stack"),
    ("core", "bytes of core dump"),
    ("rss", "bytes resident (without effect on Linux)"),
    ("nproc", "processes of the user"),
    ("nofile", "open descriptors"),
    ("memlock", "bytes locked in memory"),
    ("as", "bytes of address space"),
    ("locks", "file locks (without effect on Linux)"),
    ("sigpending", "signals queued"),
    ("msgqueue", "bytes in POSIX message queues"),
    ("nice", "20 minus the lowest niceness it may take"),
    ("rtprio", "the highest real-time priority it may take"),
    ("rttime", "microseconds of real-time CPU between two waits"),
];

/// The kernel's number of a resource.
pub(crate) fn number(name: &str) -> Option<u8> {
    RESOURCES.iter().position(|(known, _)| *known == name).map(|at| at as u8)
}

/// A limit as it stands in a plan.
pub(crate) fn written(limit: u64) -> String {
    if limit == u64::MAX { "\"unlimited\"".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use verger_engine::runs::Step;

    #[test]
    fn the_step_of_a_limit_is_called_after_it() {
        for (number, (name, _)) in (0..).zip(super::RESOURCES) {
            assert_eq!(Step::of_limit(number).word(), format!("limit-{name}"));
        }
    }

    #[test]
    fn resources_have_the_kernels_numbers() {
        for (name, number) in [("cpu", 0), ("core", 4), ("nofile", 7), ("as", 9), ("rttime", 15)] {
            assert_eq!(super::number(name), Some(number), "{name}");
        }
        assert_eq!(super::number("NOFILE"), None);
    }
}
