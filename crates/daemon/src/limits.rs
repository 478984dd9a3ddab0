//! What all processes of a service may have together of memory and CPU time: by the run's cgroup where that has the
//! controllers, else as near as it gets, and then it is said what is not as the plan asks.
//!
//! Near to `memory_max` is the address space (`RLIMIT_AS`): of each process instead of all, what is reserved instead of what is
//! used, and who reaches it is refused instead of killed; but nothing that a process takes escapes it. To `cpu_max` nothing
//! comes near.

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use verger_engine::image::{PROBE, ResourceLimit, SchedulingPolicy, ServiceView};
use verger_engine::runs::Containment;
use verger_linux::contain::{RunName, Tree};

use crate::recipe::decimal;

/// `RLIMIT_AS`.
pub(crate) const ADDRESS_SPACE: u8 = 9;
/// In which time the share of the CPU is had: the kernel's own default, microseconds.
const PERIOD_US: u64 = 100_000;

/// The controllers that the cgroups of runs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controllers {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
}

impl Controllers {
    /// Those of a run that is held so.
    pub(crate) fn of(self, containment: Containment, has_tree: bool) -> Controllers {
        // A namespace is inside a cgroup too, where there is one.
        let is_inside = has_tree && matches!(containment, Containment::Cgroup | Containment::Pidns);
        if is_inside { self } else { Controllers::default() }
    }
}

/// Sets what the cgroup of a run limits, before anybody is in it.
///
/// # Errors
/// What the kernel says of the value; `ENOENT`: somebody took the controller away.
pub(crate) fn set(tree: &Tree, run: &RunName, service: &ServiceView<'_>, had: Controllers) -> Result<(), Errno> {
    let mut digits = [0; 20];
    if let Some(bytes) = service.memory_max().filter(|_| had.memory) {
        tree.set(run, "memory.max", decimal(bytes, &mut digits))?;
        // The limit is the run's, and so is the end: half a service is none. Linux 4.19 and later.
        let _only_one_is_killed = tree.set(run, "memory.oom.group", b"1");
    }
    if let Some(percent) = service.cpu_max().filter(|_| had.cpu) {
        // The kernel's default period goes with it. One per cent is the millisecond that it takes at least.
        tree.set(run, "cpu.max", decimal(u64::from(percent) * PERIOD_US / 100, &mut digits))?;
    }
    Ok(())
}

/// The address space that stands in for `memory_max` where no cgroup limits it: no more than the plan's own limit of that, and than
/// this daemon may give.
pub(crate) fn address_space(service: &ServiceView<'_>, had: Controllers) -> Option<ResourceLimit> {
    let most = service.memory_max().filter(|_| !had.memory)?;
    let most = most.min(getrlimit(Resource::As).maximum.unwrap_or(u64::MAX));
    let planned = service.resource_limits().find(|limit| limit.resource == ADDRESS_SPACE);
    let (soft, hard) = planned.map_or((most, most), |limit| (limit.soft.min(most), limit.hard.min(most)));
    Some(ResourceLimit { resource: ADDRESS_SPACE, soft, hard })
}

/// What of a service's limits is not as its plan asks, a line each.
pub(crate) fn lacks(
    service: &ServiceView<'_>,
    containment: Containment,
    had: Controllers,
) -> impl Iterator<Item = String> {
    // Its service says the same.
    let name = Some(service.name()).filter(|_| service.program() != PROBE);
    let in_cgroup = matches!(containment, Containment::Cgroup | Containment::Pidns);
    let why = move |controller: &str| match in_cgroup {
        true => format!("no {controller} controller here"),
        false => format!("it is held by a {containment}, not by a cgroup"),
    };
    let memory = name.filter(|_| service.memory_max().is_some() && !had.memory);
    let memory = memory.map(|name| format!("memory_max of {name}: {}, limited by RLIMIT_AS instead", why("memory")));
    let cpu = name.filter(|_| service.cpu_max().is_some() && !had.cpu);
    let cpu = cpu.map(|name| format!("cpu_max of {name} has no effect: {}", why("cpu")));
    // sched(7): what runs by these is bounded by the machine's `sched_rt_runtime_us`, not by its cgroup's `cpu.max`.
    let realtime =
        |(policy, _)| matches!(policy, SchedulingPolicy::Fifo | SchedulingPolicy::RoundRobin).then_some(policy);
    let realtime = service.scheduling().and_then(realtime).filter(|_| service.cpu_max().is_some());
    let realtime = realtime
        .zip(name)
        .map(|(policy, name)| format!("cpu_max of {name} has no effect: the kernel holds no `{policy}` to it"));
    let cpu = realtime.or(cpu);
    memory.into_iter().chain(cpu)
}
