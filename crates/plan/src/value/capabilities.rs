//! Capabilities by the names of `capabilities(7)`.

/// The names in lower case without `CAP_`; each stands at the kernel's number.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The bit of a capability given as `net_admin`, `NET_ADMIN` or `CAP_NET_ADMIN`.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let name = match name.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("cap_") => name.get(4..)?,
        _ => name,
    };
    CAPABILITIES.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|at| 1 << at)
}

#[cfg(test)]
mod tests {
    #[test]
    fn capabilities_have_the_kernels_numbers() {
        for (name, number) in [
            ("chown", 0),
            ("net_bind_service", 10),
            ("CAP_NET_ADMIN", 12),
            ("Cap_Sys_Admin", 21),
            ("SYS_TIME", 25),
            ("checkpoint_restore", 40),
        ] {
            assert_eq!(super::bit(name), Some(1 << number), "{name}");
        }
        assert_eq!(super::bit("cap_"), None);
        assert_eq!(super::bit("net"), None);
    }
}
