//! A day of a proxy with pools, in a process of its own (it reaps whatever child there is): it takes no memory after its start.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair};
use verger_engine::proxy::Pool;
use verger_linux::allocator::count;

use super::options::HandlePool;
use super::*;

/// Says it is the process of its own.
const ALONE: &str = "VERGER_TEST_ALONE";
const STARTS: usize = 10_000;
const CALLERS: usize = 1000;

/// A proxy, and the other end of one of its controllers.
struct Day {
    daemonproxy: Daemonproxy,
    end: OwnedFd,
    heard: [u8; 8192],
    length: usize,
}

impl Day {
    fn begin() -> Day {
        let options = Options {
            services: Some(Pool { services: 8, bytes: 256 }),
            handles: Some(HandlePool { handles: 12, bytes: 64 }),
            ..Options::default()
        };
        let null = std::fs::File::open("/dev/null").unwrap();
        let handles = Handles::new(null.into(), options.handles).unwrap();
        let log = Log::new(Name::new(b"nobody").unwrap());
        let signals = SignalFd::new(SignalSet::NONE).unwrap();
        let hands = Hands::new(true).unwrap();
        let mut daemonproxy = Daemonproxy::over(&options, handles, hands, signals, log, Ending::default());
        let (ours, end) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        daemonproxy.add(Origin::Caller, Ends::Socket(ours, true, true));
        Day { daemonproxy, end, heard: [0; 8192], length: 0 }
    }

    /// Says something, and lets turns pass until a line that begins so has been heard.
    fn say(&mut self, text: &[u8], until: &[u8]) {
        let mut said = 0;
        for _ in 0..1_000_000 {
            if said < text.len() {
                said += channel::send(&self.end, &text[said..], &[]).unwrap_or(0);
            }
            self.daemonproxy.turn();
            if self.length == self.heard.len() {
                self.length = 0;
            }
            self.length += rustix::io::read(&self.end, &mut self.heard[self.length..]).unwrap_or(0);
            while let Some(at) = self.heard[..self.length].iter().position(|byte| *byte == b'\n') {
                let is_it = self.heard[..at].starts_with(until);
                self.heard.copy_within(at + 1..self.length, 0);
                self.length -= at + 1;
                if is_it {
                    return;
                }
            }
        }
        panic!("{} was not heard", until.escape_ascii());
    }
}

fn live(folder: &Path) {
    let path = folder.join("socket");
    let address = SocketAddrUnix::new(&path).unwrap();
    let listen = format!("socket.create\t-\t{}\necho\tlistens\n", path.display());
    let overlong = [vec![b'x'; 5000], b"\necho\tshort again\n".to_vec()].concat();
    let noise: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let noise = [noise, b"\necho\tsilence\n".to_vec()].concat();
    let flood = [b"service.tags\ta\tone\ttwo\n".repeat(20_000), b"echo\tebb\n".to_vec()].concat();
    let mut day = Day::begin();

    let (allocations, ()) = count(|| {
        day.say(
            b"service.args\ta\ttrue\nservice.fds\ta\tnull\tlog.w\tx\t-\tnull\nfd.pipe\tlog.r\tlog.w\necho\t1\n",
            b"1",
        );
        day.say(b"service.fds\ta\tnull\tlog.w\t-\tnull\necho\t2\n", b"2");
        for _ in 0..STARTS {
            day.say(b"service.start\ta\n", b"service.state\ta\tdown");
        }
        day.say(b"service.args\tb\t/no/such/program\nservice.start\tb\n", b"service.state\tb\tdown");
        day.say(
            b"service.args\tc\ttrue\nservice.fds\tc\tcontrol.event\tcontrol.cmd\nservice.start\tc\n",
            b"service.state\tc\tdown",
        );
        day.say(b"service.auto_up\tc\t1\talways\nservice.auto_up\tc\t1\nstatedump\necho\t3\n", b"3");
        day.say(listen.as_bytes(), b"listens");
        for _ in 0..CALLERS {
            let caller = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
            connect(&caller, &address).unwrap();
            channel::send(&caller, b"statedump\necho\thello\nfd.op", &[]).unwrap();
            day.say(b"echo\tnext\n", b"next");
        }
        day.say(&overlong, b"short again");
        day.say(&noise, b"silence");
        day.say(&flood, b"ebb");
        for name in 0..20u8 {
            let line = [b'f', b'd', b'.', b'o', b'p', b'e', b'n', b'\t', b'a' + name, b'\t', b'\t', b'/', b'\n'];
            day.say(&line, if name < 6 { b"fd.state" } else { b"error" });
            let line = [
                b's',
                b'e',
                b'r',
                b'v',
                b'i',
                b'c',
                b'e',
                b'.',
                b't',
                b'a',
                b'g',
                b's',
                b'\t',
                b'j' + name % 16,
                b'\n',
            ];
            day.say(&line, b"");
        }
    });
    assert_eq!(allocations, 0);
    let (counted, _) = count(|| std::hint::black_box(vec![1]));
    assert_eq!(counted, 1, "and it counts at all");
}

#[test]
fn a_whole_day_takes_no_memory() {
    if std::env::var_os(ALONE).is_some() {
        let folder = std::env::temp_dir().join(format!("verger-day-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        live(&folder);
        return std::fs::remove_dir_all(&folder).unwrap();
    }
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "proxy::tests::a_whole_day_takes_no_memory", "--nocapture"]).env(ALONE, "1");
    assert!(alone.status().unwrap().success());
}
