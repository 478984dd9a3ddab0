//! Where a socket listens, as a plan writes it: `tcp:80`, `udp:[::1]:53`, `unix:/run/x.sock`.

use std::net::{IpAddr, Ipv6Addr};

use verger_engine::image::{Address, SOCKET_PATH_BYTES_MAX};

/// What can stand there, for complaints.
pub(crate) const LOOKS: &str =
    "\"tcp:PORT\", \"tcp:ADDRESS:PORT\", the same with \"udp\", \"unix:PATH\" or \"unix-datagram:PATH\"";

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It begins with none of the kinds.
    NoKind,
    /// The port is not there.
    NoPort,
    /// The port is none.
    BadPort,
    /// What stands before the port is no address.
    BadHost,
    /// An IPv6 address without brackets.
    Bare6,
    /// `*`, or something like it.
    Any,
    /// A Unix socket without a path.
    NoPath,
    /// A path that depends on where the daemon runs.
    RelativePath,
    /// A path with more bytes than `sun_path` holds.
    LongPath(usize),
}

impl Flaw {
    /// What to write instead, where that can be told.
    pub(crate) fn hint(self, text: &str) -> Option<String> {
        Some(match self {
            Flaw::NoKind if is_port(text) => format!("write \"tcp:{text}\""),
            Flaw::NoKind if text.starts_with(['/', '@']) => format!("write \"unix:{text}\""),
            Flaw::NoKind => match text.rsplit_once(':') {
                Some((host, port)) if host_of(host).is_ok() && is_port(port) => format!("write \"tcp:{text}\""),
                Some(_) | None => return None,
            },
            Flaw::NoPort => "the port stands at the end: \"tcp:80\" is port 80 of all addresses".to_owned(),
            Flaw::BadPort => "a port is a number from 1 to 65535; names are not looked up".to_owned(),
            Flaw::BadHost => {
                "an address is written in numbers, `127.0.0.1` or `[::1]`; names are not looked up".to_owned()
            }
            Flaw::Bare6 => "an IPv6 address stands in brackets: \"tcp:[::1]:80\"".to_owned(),
            Flaw::Any => {
                let (kind, port) = (text.split(':').next(), text.rsplit(':').next());
                format!("write \"{}:{}\": that is all addresses", kind.unwrap_or("tcp"), port.unwrap_or("80"))
            }
            Flaw::NoPath => "write \"unix:/run/NAME.sock\", or \"unix:@NAME\" for an abstract name".to_owned(),
            Flaw::RelativePath => "a path begins with `/`, an abstract name with `@`".to_owned(),
            Flaw::LongPath(bytes) => {
                format!("the path has {bytes} bytes: the kernel takes {SOCKET_PATH_BYTES_MAX} at most")
            }
        })
    }
}

fn is_port(text: &str) -> bool {
    port_of(text).is_ok()
}

/// Reads an address.
pub(crate) fn parse(text: &str) -> Result<Address<String>, Flaw> {
    let (kind, rest) = text.split_once(':').ok_or(Flaw::NoKind)?;
    Ok(match kind {
        "tcp" => internet(rest).map(|(host, port)| Address::Tcp(host, port))?,
        "udp" => internet(rest).map(|(host, port)| Address::Udp(host, port))?,
        "unix" => Address::Unix(path(rest)?),
        "unix-datagram" => Address::UnixDatagram(path(rest)?),
        _ => return Err(Flaw::NoKind),
    })
}

fn internet(text: &str) -> Result<(Option<IpAddr>, u16), Flaw> {
    if text.is_empty() {
        return Err(Flaw::NoPort);
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Err(if host_of(text).is_ok() { Flaw::NoPort } else { Flaw::BadHost });
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        // An address without a port, perhaps.
        return match host_of(text) {
            Ok(_) => Err(Flaw::NoPort),
            Err(Flaw::Any) => Err(Flaw::Any),
            Err(_) => Ok((None, port_of(text)?)),
        };
    };
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(Flaw::Bare6);
    }
    let host = host_of(host)?;
    if port.is_empty() {
        return Err(Flaw::NoPort);
    }
    Ok((Some(host), port_of(port)?))
}

fn host_of(text: &str) -> Result<IpAddr, Flaw> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Flaw::BadHost);
    }
    match text.parse() {
        Ok(IpAddr::V4(host)) => Ok(IpAddr::V4(host)),
        Ok(IpAddr::V6(_)) => Err(Flaw::Bare6),
        Err(_) if matches!(text, "" | "*" | "any" | "all") => Err(Flaw::Any),
        Err(_) => Err(Flaw::BadHost),
    }
}

fn port_of(text: &str) -> Result<u16, Flaw> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(Flaw::BadPort)
}

fn path(text: &str) -> Result<String, Flaw> {
    match text {
        "" | "@" | "/" => Err(Flaw::NoPath),
        _ if !text.starts_with(['/', '@']) => Err(Flaw::RelativePath),
        _ if text.len() > SOCKET_PATH_BYTES_MAX => Err(Flaw::LongPath(text.len())),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in [
            "tcp:80",
            "tcp:127.0.0.1:80",
            "tcp:[::1]:80",
            "tcp:[::]:65535",
            "udp:53",
            "udp:0.0.0.0:1",
            "unix:/run/x.sock",
            "unix:@name",
            "unix:@a:b",
            "unix-datagram:/run/log",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("tcp:0080"), Ok(Address::Tcp(None, 80)));
        assert_eq!(parse(&format!("unix:/{}", "x".repeat(106))).map(|it| it.has_connections()), Ok(true));
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, flaw) in [
            ("", Flaw::NoKind),
            ("80", Flaw::NoKind),
            ("http:80", Flaw::NoKind),
            ("TCP:80", Flaw::NoKind),
            ("/run/x.sock", Flaw::NoKind),
            ("tcp:", Flaw::NoPort),
            ("tcp:127.0.0.1", Flaw::NoPort),
            ("tcp:127.0.0.1:", Flaw::NoPort),
            ("tcp:[::1]", Flaw::NoPort),
            ("tcp:[::1]:", Flaw::NoPort),
            ("tcp:0", Flaw::BadPort),
            ("tcp:65536", Flaw::BadPort),
            ("tcp:+80", Flaw::BadPort),
            ("tcp:-1", Flaw::BadPort),
            ("tcp:http", Flaw::BadPort),
            ("tcp:127.0.0.1:x", Flaw::BadPort),
            ("udp:127.0.0.1:0", Flaw::BadPort),
            ("tcp:localhost:80", Flaw::BadHost),
            ("tcp:[::1:80", Flaw::BadHost),
            ("tcp:[x]", Flaw::BadHost),
            ("tcp:[127.0.0.1]:80", Flaw::BadHost),
            ("tcp:[fe80::1%eth0]:80", Flaw::BadHost),
            ("tcp:127.0.0.256:80", Flaw::BadHost),
            ("tcp:::1", Flaw::Bare6),
            ("tcp:fe80::1:2:80", Flaw::Bare6),
            ("tcp:*:80", Flaw::Any),
            ("tcp::80", Flaw::Any),
            ("unix:", Flaw::NoPath),
            ("unix:@", Flaw::NoPath),
            ("unix:/", Flaw::NoPath),
            ("unix:x.sock", Flaw::RelativePath),
            ("unix-datagram:./x", Flaw::RelativePath),
        ] {
            assert_eq!(parse(text), Err(flaw), "{text}");
        }
        assert_eq!(parse(&format!("unix:/{}", "x".repeat(107))), Err(Flaw::LongPath(108)));
    }
}
