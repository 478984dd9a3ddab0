//! `guest`: what can only be tried as the first process of a real kernel, in an emulated machine.
//!
//! [`machine`] runs one, [`cpio`] packs its files, [`kernel`] fetches what it boots. This file has the scenarios: the
//! files to put into it and what must be true of what comes out.

mod blackbox;
mod cpio;
mod kernel;
mod machine;

use crate::needs::Need;
use crate::report::{Tally, spell};
use crate::test::Context;
use crate::workspace::Workspace;
use crate::{Trouble, failed, needs, ship};
use machine::{Console, EMULATOR, End, Guest, GuestFile, Source};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Some thirty times what a scenario takes on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

struct Scenario {
    name: &'static str,
    /// What is in the machine.
    files: fn(&Programs) -> Vec<GuestFile>,
    /// What the kernel is told.
    cmdline: &'static str,
    claims: &'static [Claim],
}

/// Something to be seen of a machine.
struct Claim {
    what: &'static str,
    holds: fn(&Console) -> bool,
}

/// Where programs lie.
struct Programs {
    /// What runs only in the machine.
    guest: PathBuf,
    /// What a user gets.
    product: PathBuf,
}

const BOOTS: Scenario = Scenario {
    name: "boots",
    files: |programs| vec![program("/init", &programs.guest, "guest-init")],
    cmdline: "",
    claims: &[
        Claim { what: "our program is process 1", holds: |it| it.after("guest-init: pid ") == Some("1") },
        Claim {
            what: "cgroups have the memory and pids controllers",
            holds: |it| {
                let controllers = it.after("guest-init: controllers ").unwrap_or_default();
                ["memory", "pids"].iter().all(|wanted| controllers.split(' ').any(|it| it == *wanted))
            },
        },
        Claim { what: "it powers off", holds: |it| it.end == End::PoweredOff },
    ],
};

/// verger is the first process of the machine; `blackbox/guest/machine.toml` is what it runs.
const MACHINE: Scenario = Scenario {
    name: "machine",
    files: |programs| {
        let mut files = run_by_verger(programs, "/etc/machine.toml", PLAN);
        files.push(GuestFile {
            path: "/etc/below.toml".to_owned(),
            from: Source::Bytes(BELOW.as_bytes().to_vec()),
            mode: 0o644,
        });
        files
    },
    cmdline: "rdinit=/bin/verger -- run /etc/machine.toml",
    claims: &[
        Claim { what: "verger is process 1", holds: |it| it.after("story: process 1 is ") == Some("vergerd") },
        Claim { what: "it has mounted what it needs", holds: |it| it.after("story: kernel ").is_some() },
        Claim {
            what: "each run has a cgroup of its own",
            holds: |it| it.after("story: containment ") == Some("cgroup"),
        },
        Claim {
            what: "a rest of 1500 ms lasts as long while the clock goes forward and back by hours",
            holds: |it| {
                let rested =
                    it.after("story: rested for ").and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
                rested.is_some_and(|ms| (1500..=2500).contains(&ms))
            },
        },
        Claim { what: "and nothing else happens", holds: |it| it.after("story: steady is ") == Some("as it was") },
        Claim {
            what: "who is killed for want of memory is reported so",
            holds: |it| {
                let exit = it.after("story: eater ended ").unwrap_or_default();
                exit.contains(r#""signal":"SIGKILL""#) && exit.contains(r#""out_of_memory":true"#)
            },
        },
        Claim {
            what: "and `verger why` says it in words",
            holds: |it| it.lines.iter().any(|line| line.starts_with("story: why: ") && line.contains("memory")),
        },
        Claim {
            what: "a service has the limits of its plan in its cgroup, and no other in their place",
            holds: |it| {
                it.after("story: bounded memory.max ") == Some("16777216")
                    && it.after("story: bounded memory.oom.group ") == Some("1")
                    && it.after("story: bounded cpu.max ") == Some("50000 100000")
                    && it.after("story: bounded Max address space ") == Some("unlimited unlimited bytes")
            },
        },
        Claim {
            what: "a run that goes over its memory_max by a child's doing is killed as a whole",
            holds: |it| {
                let exit = it.after("story: bounded ended ").unwrap_or_default();
                exit.contains(r#""signal":"SIGKILL""#) && exit.contains(r#""out_of_memory":true"#)
            },
        },
        Claim {
            what: "and `verger why` says of which limit",
            holds: |it| {
                let hint = |line: &String| line.contains("Hint: `memory_max` lets it have 16M of memory");
                it.lines.iter().any(|line| line.starts_with("story: bounded why: ") && hint(line))
            },
        },
        Claim {
            what: "a daemon that is not process 1 limits what it runs, in a cgroup that it has for itself",
            holds: |it| {
                let is_limited = |which: &str| {
                    let told = it.after(&format!("story: {which} below yard/verger.below/bounded."));
                    told.is_some_and(|told| told.ends_with(": memory.max 16777216"))
                };
                is_limited("first") && is_limited("second")
            },
        },
        Claim {
            what: "beside others it runs everything, and cannot limit it",
            holds: |it| {
                let told = it.after("story: crowded below yard/verger.below/bounded.");
                told.is_some_and(|told| told.ends_with(": memory.max none"))
            },
        },
        Claim {
            what: "and leaves that cgroup as it found it, also when it is killed",
            holds: |it| {
                let ends = [("first", "exit status: 0"), ("second", "exit status: 0"), ("crowded", "exit status: 0")];
                ends.into_iter().chain([("killed", "signal: 9 (SIGKILL)")]).all(|(which, end)| {
                    it.after(&format!("story: {which} below ended: ")) == Some(end)
                        && it.after(&format!("story: {which} below left ")) == Some("[] \"domain\" \"\"")
                })
            },
        },
        Claim {
            what: "a service is confined by its profile of AppArmor, whoever it runs as",
            holds: |it| {
                it.after("story: confined is in ") == Some("guest-yard (complain)")
                    && it.after("story: confined-nobody is in ") == Some("guest-yard (complain)")
            },
        },
        Claim {
            what: "and does not start where nobody has loaded it, which is said",
            holds: |it| {
                let is_told = |words: &str| {
                    it.lines.iter().any(|line| line.contains("story: strayed why: ") && line.contains(words))
                };
                is_told("step security-module: No such file or directory") && is_told("load that profile first")
            },
        },
        Claim { what: "the story is told to its end", holds: |it| it.after("story: told").is_some() },
        Claim { what: "it powers off when everything has ended", holds: |it| it.end == End::PoweredOff },
    ],
};

/// A ladder of recovery ends in a reboot; `blackbox/guest/reboot.toml` is what the machine runs.
const REBOOTS: Scenario = Scenario {
    name: "reboots",
    files: |programs| run_by_verger(programs, "/etc/reboot.toml", REBOOT),
    cmdline: "rdinit=/bin/verger -- run /etc/reboot.toml",
    claims: &[
        Claim { what: "the step before is taken", holds: |it| it.after("story: mending does not help").is_some() },
        Claim {
            what: "it has not helped, and the reboot is told",
            holds: |it| is_told_before(it, "story: mending does not help", "step 2: reboot"),
        },
        Claim {
            what: "everything has ended in order before",
            holds: |it| is_told_before(it, "step 2: reboot", "steady: down"),
        },
        Claim {
            what: "the machine is rebooted, and not by a kernel that panics",
            holds: |it| {
                let is_told = |what: &str| it.lines.iter().any(|line| line.contains(what));
                it.end == End::Restarted && is_told("reboot: Restarting system") && !is_told("Kernel panic")
            },
        },
    ],
};

/// Whether both are on the console, one after the other.
fn is_told_before(console: &Console, first: &str, then: &str) -> bool {
    let mut lines = console.lines.iter().skip_while(|line| !line.contains(first));
    lines.any(|line| line.contains(then))
}

const SCENARIOS: &[Scenario] = &[BOOTS, MACHINE, REBOOTS];

const PLAN: &str = include_str!("../../../../blackbox/guest/machine.toml");
const BELOW: &str = include_str!("../../../../blackbox/guest/below.toml");
const REBOOT: &str = include_str!("../../../../blackbox/guest/reboot.toml");

/// What a machine has whose first process is verger, with a plan at `path`.
fn run_by_verger(programs: &Programs, path: &'static str, plan: &str) -> Vec<GuestFile> {
    vec![
        program("/bin/verger", &programs.product, "verger"),
        program("/bin/vergerd", &programs.product, "vergerd"),
        program("/bin/guest-story", &programs.guest, "guest-story"),
        GuestFile { path: path.to_owned(), from: Source::Bytes(plan.as_bytes().to_vec()), mode: 0o644 },
    ]
}

fn program(path: &str, folder: &Path, name: &str) -> GuestFile {
    GuestFile { path: path.to_owned(), from: Source::Host(folder.join(name)), mode: 0o755 }
}

/// `cargo xtask guest`: scenarios and black-box suites by their names, or all.
pub(crate) fn guest(words: Vec<OsString>) -> Result<(), Trouble> {
    let (mut scenarios, mut suites) = (Vec::new(), Vec::new());
    for word in &words {
        let scenario = SCENARIOS.iter().find(|it| word == it.name);
        let suite = blackbox::SUITES.iter().find(|it| word == *it);
        if scenario.is_none() && suite.is_none() {
            let names: Vec<&str> = SCENARIOS.iter().map(|it| it.name).chain(blackbox::SUITES.iter().copied()).collect();
            return Err(Trouble::Usage(format!("`{}` is no scenario: {}", word.display(), names.join(", "))));
        }
        scenarios.extend(scenario);
        suites.extend(suite.copied());
    }
    if words.is_empty() {
        scenarios.extend(SCENARIOS);
        suites.extend(blackbox::SUITES);
    }
    let tally = run(&Workspace::find()?, &scenarios, &suites)?;
    if tally.failed == 0 { Ok(()) } else { Err(failed("the machine did not do what it should")) }
}

/// All scenarios and the tests, as a part of the tests.
pub(crate) fn part(context: &Context) -> Result<Tally, Trouble> {
    run(&context.workspace, &SCENARIOS.iter().collect::<Vec<_>>(), blackbox::SUITES)
}

fn run(workspace: &Workspace, scenarios: &[&Scenario], suites: &[&'static str]) -> Result<Tally, Trouble> {
    if !cfg!(target_arch = "x86_64") {
        return Err(failed("the emulated machine is an x86_64 one, and runs programs built on such a host only"));
    }
    needs::programs(&[Need { program: EMULATOR, package: "qemu-system-x86" }])?;
    let kernel = kernel::get(workspace, kernel::MAIN)?;
    let programs =
        Programs { guest: ship::build(workspace, &ship::GUEST)?, product: ship::build(workspace, &ship::PRODUCT)? };
    let mut tally = Tally::default();
    for scenario in scenarios {
        let console = boot(scenario, &kernel, &programs)?;
        for claim in scenario.claims {
            let outcome = if (claim.holds)(&console) { Ok(()) } else { Err(format!("{:?}", console.end)) };
            tally.note(&format!("guest {}: {}", scenario.name, claim.what), outcome);
        }
        println!("guest {}: {} from the emulator's start to its end", scenario.name, spell(console.took));
    }
    if !suites.is_empty() {
        tally.add(tests(workspace, &kernel, &programs, suites)?);
    }
    Ok(tally)
}

/// Runs the black-box tests in a machine of one processor: where there are two, a kernel that rewrites its own code (when the first
/// cgroup gets a quota, say) now and then runs into a breakpoint that the emulator has kept from before, and panics ("Oops: int3").
fn tests(workspace: &Workspace, kernel: &Path, programs: &Programs, suites: &[&'static str]) -> Result<Tally, Trouble> {
    let guest = Guest {
        kernel: PathBuf::from(kernel),
        files: blackbox::files(workspace, programs, suites)?,
        cmdline: String::new(),
        memory_mib: 1024,
        processors: 1,
        devices: Vec::new(),
        limit: blackbox::LIMIT,
    };
    let mut count = blackbox::Count::new(suites);
    let console = guest.run(&mut |line| count.take(line))?;
    blackbox::tell_left_out(suites);
    println!("guest suites: {} from the emulator's start to its end", spell(console.took));
    Ok(count.close(&console))
}

fn boot(scenario: &Scenario, kernel: &Path, programs: &Programs) -> Result<Console, Trouble> {
    let guest = Guest {
        kernel: PathBuf::from(kernel),
        files: (scenario.files)(programs),
        cmdline: scenario.cmdline.to_owned(),
        memory_mib: 256,
        processors: 1,
        devices: Vec::new(),
        limit: LIMIT,
    };
    guest.run(&mut |line| println!("  | {line}"))
}
