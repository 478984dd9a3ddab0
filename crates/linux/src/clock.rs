//! Clocks and the one timer a loop needs.
//!
//! Everything that is decided rests on `CLOCK_MONOTONIC`: it never jumps and stands still while the machine sleeps. The wall
//! clock is for people and calendars. Reading a clock goes through the vDSO, about 20 ns, no system call.
//!
//! It is libc that finds the vDSO: rustix does it too, but on kernels before 6.4 its first look reads `/proc` into a vector.

#![expect(unsafe_code, reason = "clock_gettime by libc; the time zone is known to the C library alone")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use verger_engine::time::Moment;

use crate::Errno;

const NANOS: u64 = 1_000_000_000;

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a timespec. It fails for clocks only that do not exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time
}

fn nanos(time: libc::timespec) -> u64 {
    (time.tv_sec as u64).saturating_mul(NANOS).saturating_add(time.tv_nsec as u64)
}

/// Now, on the monotonic clock.
pub fn now() -> Moment {
    Moment(nanos(read(libc::CLOCK_MONOTONIC)))
}

/// Nanoseconds since boot, sleep of the machine included (`CLOCK_BOOTTIME`).
pub fn since_boot() -> u64 {
    nanos(read(libc::CLOCK_BOOTTIME))
}

/// Ticks since boot, sleep included, in which the kernel gives the start times of processes (`USER_HZ`, a hundred a second
/// on every architecture that we know; `proc_pid_stat(5)`, field 22).
pub fn ticks_since_boot() -> u64 {
    since_boot() / (TICK_MS * 1_000_000)
}

/// Such a tick in milliseconds.
pub const TICK_MS: u64 = 10;

/// The wall clock: nanoseconds since 1970-01-01 UTC. It jumps.
pub fn wall() -> i128 {
    let time = read(libc::CLOCK_REALTIME);
    i128::from(time.tv_sec) * i128::from(NANOS) + i128::from(time.tv_nsec)
}

/// Sets the wall clock (`clock_settime(2)`), for a guest in which nothing else does.
///
/// # Errors
/// `EPERM` without CAP_SYS_TIME; `EINVAL` for a time before 1970 or before boot.
pub fn set_wall(nanos: i128) -> Result<(), Errno> {
    let split = |nanos: i128| Some((i64::try_from(nanos / NANOS as i128).ok()?, (nanos % NANOS as i128) as i64));
    let (tv_sec, tv_nsec) = split(nanos).filter(|_| nanos >= 0).ok_or(Errno::INVAL)?;
    rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec })
}

/// A time of the wall clock as people here read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Local {
    /// The year.
    pub year: i32,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second; 60 is a leap second.
    pub second: u8,
}

/// Seconds since 1970-01-01 UTC in this machine's time zone (`TZ`, else `/etc/localtime`; without either UTC). May read that
/// file, once. `None` beyond the years that there are.
pub fn local(seconds: i64) -> Option<Local> {
    // SAFETY: all zeros are a `tm`: numbers and a pointer to a name, which nobody follows here.
    let mut parts: libc::tm = unsafe { core::mem::zeroed() };
    // SAFETY: two places that live here. It reads the environment, which nothing in this workspace writes to (that takes an
    // `unsafe` of its own).
    let known = unsafe { !libc::localtime_r(&raw const seconds, &raw mut parts).is_null() };
    let small = |number: i32| u8::try_from(number).ok();
    known.then_some(())?;
    Some(Local {
        year: parts.tm_year.checked_add(1900)?,
        month: small(parts.tm_mon + 1)?,
        day: small(parts.tm_mday)?,
        hour: small(parts.tm_hour)?,
        minute: small(parts.tm_min)?,
        second: small(parts.tm_sec)?,
    })
}

/// A descriptor that is readable from a moment of the monotonic clock on (`timerfd_create(2)`); close-on-exec, never blocking.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Timer, Errno> {
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).map(Timer)
    }

    /// Sets it to a moment, also one that has passed; [`Moment::NEVER`] stops it. What was set before is forgotten, and the
    /// descriptor is not readable on its account any more.
    ///
    /// # Errors
    /// None in ordinary life.
    pub fn set(&self, moment: Moment) -> Result<(), Errno> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at = match moment {
            Moment::NEVER => zero,
            // Zero would stop it.
            Moment(0) => Timespec { tv_sec: 0, tv_nsec: 1 },
            Moment(nanos) => Timespec { tv_sec: (nanos / NANOS) as i64, tv_nsec: (nanos % NANOS) as i64 },
        };
        let once = Itimerspec { it_interval: zero, it_value: at };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once).map(drop)
    }

    /// Whether its moment has come; after that it has not, until it is set anew.
    ///
    /// # Errors
    /// None in ordinary life.
    pub fn take(&self) -> Result<bool, Errno> {
        match rustix::io::read(&self.0, &mut [0u8; 8]) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use verger_engine::time::Span;

    fn wait(timer: &Timer, millis: i64) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
        poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn a_timer_comes_at_its_moment_and_once() {
        let timer = Timer::new().unwrap();
        assert_eq!(timer.take(), Ok(false));
        let due = now() + Span::from_millis(5);
        timer.set(due).unwrap();
        assert!(poll(&mut [PollFd::new(&timer, PollFlags::IN)], None).is_ok());
        assert!(now() >= due);
        assert_eq!(timer.take(), Ok(true));
        assert_eq!(timer.take(), Ok(false));
        for passed in [Moment(0), Moment(1), now()] {
            timer.set(passed).unwrap();
            assert!(wait(&timer, 500));
            assert_eq!(timer.take(), Ok(true));
        }
        timer.set(Moment(0)).unwrap();
        timer.set(Moment::NEVER).unwrap();
        assert!(!wait(&timer, 0));
        timer.set(Moment(u64::MAX - 1)).unwrap();
        assert!(!wait(&timer, 0));
    }

    #[test]
    fn clocks_go_forward() {
        let (first, boot) = (now(), since_boot());
        assert!(now() >= first && since_boot() >= boot && boot >= first.0);
        assert!(wall() > 1_600_000_000 * i128::from(NANOS));
        assert_eq!(set_wall(-1), Err(Errno::INVAL));
    }

    #[test]
    fn a_wall_clock_is_read_as_people_here_do() {
        // Wherever this runs, a day later is the day after at the same time, in the middle of January.
        let noon = local(1_768_478_400).unwrap();
        assert_eq!((noon.year, noon.month), (2026, 1));
        assert_eq!(local(1_768_478_400 + 86_400), Some(Local { day: noon.day + 1, ..noon }));
        assert_eq!(local(1_768_478_401).map(|time| time.second), Some(noon.second + 1));
        assert_eq!(local(i64::MAX), None);
    }
}
