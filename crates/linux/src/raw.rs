//! System calls without libc: what may run between `clone` and `execve` in a child that shares our memory.
//!
//! libc's wrappers write `errno` into thread-local storage (the parent's, when memory is shared), take locks, and turn
//! `setresuid` into a broadcast to all threads. These do none of that: a register load and a trap.

#![expect(unsafe_code, reason = "a system call is inline assembly")]

use core::arch::asm;
use core::ffi::{c_int, c_long, c_void};

use crate::Errno;

/// A system call with six arguments; the kernel looks only at those it knows.
///
/// # Safety
/// As the call's own rules say: pointers must be good for what the kernel does with them.
#[inline(always)]
pub(crate) unsafe fn syscall6(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the x86-64 calling convention of `syscall(2)`; rcx and r11 are the only registers it spoils.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the arm64 calling convention of `syscall(2)`; x0 is the only register it spoils.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

macro_rules! shorter {
    ($($(#[$meta:meta])* $name:ident($($arg:ident),*; $($zero:literal),*);)*) => {
        $(
            $(#[$meta])*
            #[inline(always)]
            pub(crate) unsafe fn $name(number: c_long, $($arg: usize),*) -> isize {
                // SAFETY: the caller keeps the call's rules; arguments it does not have are not looked at.
                unsafe { syscall6(number, $($arg,)* $($zero),*) }
            }
        )*
    };
}

shorter! {
    /// A system call without arguments. # Safety: see [`syscall6`].
    syscall0(; 0, 0, 0, 0, 0, 0);
    /// A system call with one argument. # Safety: see [`syscall6`].
    syscall1(a; 0, 0, 0, 0, 0);
    /// A system call with two arguments. # Safety: see [`syscall6`].
    syscall2(a, b; 0, 0, 0, 0);
    /// A system call with three arguments. # Safety: see [`syscall6`].
    syscall3(a, b, c; 0, 0, 0);
    /// A system call with four arguments. # Safety: see [`syscall6`].
    syscall4(a, b, c, d; 0, 0);
    /// A system call with five arguments. # Safety: see [`syscall6`].
    syscall5(a, b, c, d, e; 0);
}

/// What a call returned: a number, or the error it stands for (-1 to -4095).
#[inline]
pub(crate) fn check(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(Errno::from_raw_os_error(-result as c_int)) } else { Ok(result as usize) }
}

/// The error number as facts carry it.
pub(crate) fn code(errno: Errno) -> u16 {
    errno.raw_os_error() as u16
}

/// Where a new process begins: it has its argument, a stack of its own, and nowhere to return to.
pub(crate) type Entry = unsafe extern "C" fn(*mut c_void) -> !;

/// `clone3(2)`; the child calls `entry(argument)` on the stack named in `args`.
///
/// # Safety
/// `args` must point to `size` bytes of a good `struct clone_args` with a stack of its own, 16-byte aligned at its top.
/// With `CLONE_VM` the child works on our memory: with `CLONE_VFORK` too, so that we wait until it is done with it, and with
/// every signal blocked, so that no handler runs in it.
pub(crate) unsafe fn clone3(args: *const c_void, size: usize, entry: Entry, argument: *mut c_void) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `syscall` keeps r12 and r13. The parent goes on at 2: with registers and stack untouched; the child never
    // comes back into compiled code: it calls an entry that does not return, on its own stack (aligned as a call wants it).
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") args, in("rsi") size, in("r12") entry, in("r13") argument,
            out("rcx") _, out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `svc` keeps all but x0. The parent goes on at 2: with registers and stack untouched; the child never comes
    // back into compiled code: it calls an entry that does not return, on its own stack.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x21",
            "blr x20",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args as isize => result,
            in("x1") size, in("x20") entry, in("x21") argument,
        );
    }
    result
}

/// `clone(2)` with a stack and nothing else but where the parent is told the pid.
///
/// # Safety
/// As [`clone3`]: `stack` is the top of the child's own stack, 16-byte aligned; `parent_tid` is good for a write.
pub(crate) unsafe fn clone(
    flags: usize,
    stack: *mut c_void,
    parent_tid: *mut u32,
    entry: Entry,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `clone3`; the order of arguments is flags, stack, parent_tid, child_tid, tls.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags, in("rsi") stack, in("rdx") parent_tid, in("r10") 0, in("r8") 0,
            in("r12") entry, in("r13") argument,
            out("rcx") _, out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `clone3`; the order of arguments is flags, stack, parent_tid, tls, child_tid.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x21",
            "blr x20",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone,
            inlateout("x0") flags as isize => result,
            in("x1") stack, in("x2") parent_tid, in("x3") 0, in("x4") 0,
            in("x20") entry, in("x21") argument,
        );
    }
    result
}
