//! `pong`: answers each line `ping N` with `pong N`; reports ready by `sd_notify(3)` once it listens.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use verger_pingpong::lines::{Lines, Sent};
use verger_pingpong::options::{self, Asked, Options};
use verger_pingpong::watch::{End, Turn, Watch};
use verger_pingpong::{complain, ready, tell};

const HELP: &str = "\
pong: answers ping over a Unix socket, and reports ready by NOTIFY_SOCKET if that is set

Usage: pong --socket ADDR [OPTIONS]

";

/// Further callers wait in the kernel's queue until one of these has gone.
const CONNECTIONS_MAX: usize = 64;

fn main() -> ExitCode {
    let notify_socket = std::env::var_os("NOTIFY_SOCKET");
    let options = match options::read(std::env::args_os().skip(1), |_, _| Ok(false)) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => {
            tell(format_args!("{HELP}{}", options::HELP));
            return ExitCode::SUCCESS;
        }
        Err(why) => return options::misused("pong", &why),
    };
    match serve(&options, notify_socket) {
        Ok((end, answered)) => {
            tell(format_args!("pong: {answered} answered, ending on {end}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(format_args!("pong: {}: {why}", options.socket));
            ExitCode::FAILURE
        }
    }
}

/// Answers until it is asked to end; says how often it answered.
fn serve(options: &Options, notify_socket: Option<OsString>) -> io::Result<(End, u64)> {
    let mut watch = Watch::begin("pong", options.misdeeds.clone())?;
    let listener = options.socket.listen()?;
    let tell_supervisor = |message| {
        if let Err(why) = ready::notify(notify_socket.as_deref(), message) {
            complain(format_args!("pong: {why}"));
        }
    };
    tell(format_args!("pong: listening at {}", options.socket));
    tell_supervisor("READY=1");

    let mut connections: Vec<Lines> = Vec::new();
    let mut answered = 0;
    loop {
        // The listener comes last and is left out while the house is full, so that the rest keeps its places.
        let mut readable: Vec<_> = connections.iter().map(AsFd::as_fd).collect();
        if connections.len() < CONNECTIONS_MAX {
            readable.push(listener.as_fd());
        }
        let news = match watch.wait(&readable, None)? {
            Turn::News(news) => news,
            Turn::Time => continue,
            Turn::End(end) => {
                tell_supervisor("STOPPING=1");
                options.socket.remove();
                return Ok((end, answered));
            }
        };
        let mut news = news.into_iter();
        connections.retain_mut(|connection| match news.next() {
            Some(true) => match answer(connection) {
                Ok(count) => {
                    answered += count;
                    true
                }
                Err(why) => {
                    if why.kind() != ErrorKind::UnexpectedEof {
                        complain(format_args!("pong: a caller is dropped: {why}"));
                    }
                    false
                }
            },
            Some(false) | None => true,
        });
        if news.next() == Some(true)
            && let Some(caller) = accept(&listener)?
        {
            connections.push(caller);
        }
    }
}

fn accept(listener: &UnixListener) -> io::Result<Option<Lines>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            Ok(Some(Lines::over(stream)))
        }
        // The caller has given up in the meantime.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers what has arrived on one connection; an error means that it is over.
fn answer(connection: &mut Lines) -> io::Result<u64> {
    let mut answered = 0;
    for line in connection.read()? {
        let number = line.strip_prefix("ping ").and_then(|it| it.parse::<u64>().ok());
        let Some(number) = number else {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("`{line}` is not `ping N`")));
        };
        match connection.send(&format!("pong {number}"))? {
            Sent::Whole => answered += 1,
            Sent::Nothing => return Err(io::Error::other("it does not read its answers")),
        }
    }
    Ok(answered)
}
