"""Writes Launch Manager configurations of S-CORE's seed (``versionMajor`` 7), which verger reads as they are.

The calls of :class:`LaunchManagerConfGen`, their parameters and defaults are those of the seed's own script. Times are
in seconds. Whatever the Launch Manager or verger would refuse raises :class:`ValueError` at the call, or in
``generate_json`` where it takes the whole to see it.
"""

import json
import math
import os
import re
import tempfile
from types import MappingProxyType

__all__ = ["LaunchManagerConfGen"]

#: The group that the Launch Manager enters by itself, and the state of it.
MAIN_GROUP = "MainPG"
STARTUP = "Startup"
#: The state after a failure.
RECOVERY = "Recovery"

_NOTHING = MappingProxyType({})
_POLICIES = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR")
_TERMINATIONS = ("ProcessIsNotSelfTerminating", "ProcessIsSelfTerminating")
_CONDITIONS = ("Running", "Terminated")
#: The Launch Manager's own entry.
LAUNCHER = "LAUNCH_MANAGEMENT"
_RIGHTS = ("", "STATE_MANAGEMENT", "PLATFORM_HEALTH_MANAGEMENT", LAUNCHER)
_MILLISECONDS_MAX = 2**32 - 1
_ID_MAX = 2**31 - 1
#: verger's rule of names: every other character becomes ``_``, so does one of ``-.`` at the beginning, and it is cut.
_NO_NAME = re.compile(r"^[-.]|[^A-Za-z0-9._@:+-]")
_NAME_MAX = 64


class _Machine:
    """What holds for every process."""

    def __init__(self, name, enter, exit_, env_variables):
        self.name = name
        self.enter = enter
        self.exit = exit_
        self.env_variables = dict(env_variables)
        self.groups = {}


class _ProcessGroup:
    def __init__(self, machine, name, states):
        self.machine = machine
        self.name = name
        self.states = states
        self.processes = {}


class _Process:
    def __init__(self, group, name, keys):
        self.group = group
        self.name = name
        self.keys = keys
        self.configs = {}

    def is_launcher(self):
        """Whether it is the Launch Manager itself: that is verger, and no service."""
        return self.keys["functionClusterAffiliation"] == LAUNCHER


class LaunchManagerConfGen:
    """Collects a machine, its process groups, their processes and the startup configs of these, and writes the file."""

    def __init__(self):
        self._machine = None

    def add_machine(
        self,
        name,
        default_application_timeout_enter=0.5,
        default_application_timeout_exit=0.5,
        env_variables=MappingProxyType({"LD_LIBRARY_PATH": "/opt/lib"}),
    ):
        """The machine; its handle. There is one. Times are seconds, for startup configs that have none."""
        if self._machine is not None:
            raise ValueError(f"there is a machine already: {self._machine.name!r}")
        _milliseconds("default_application_timeout_enter", default_application_timeout_enter, 1)
        _milliseconds("default_application_timeout_exit", default_application_timeout_exit, 0)
        _check_variables(env_variables)
        self._machine = _Machine(
            _name("machine", name), default_application_timeout_enter, default_application_timeout_exit, env_variables
        )
        return self._machine

    def machine_add_process_group(self, machine, name, states=("Off", "Verify")):
        """A process group; its handle. States have no group before them."""
        if machine is not self._machine or machine is None:
            raise ValueError("this is not the machine of this generator")
        _name("process group", name)
        if name in machine.groups:
            raise ValueError(f"there is a process group {name!r} already")
        _check_apart("process groups", [*machine.groups, name])
        _sequence("states", states)
        if not states:
            raise ValueError(f"process group {name!r} has no states")
        known = []
        for state in states:
            _name("state", state)
            if state in known:
                raise ValueError(f"state {state!r} of process group {name!r} is given twice")
            known.append(state)
        _check_apart(f"states of process group {name!r}", known)
        machine.groups[name] = group = _ProcessGroup(machine, name, known)
        return group

    def process_group_add_process(
        self,
        pg,
        name,
        executable_name=None,
        uid=1001,
        gid=1001,
        supplementary_group_ids=(),
        restart_attempts=0,
        native_application=False,
        special_rights="",
    ):
        """A process of a group; its handle. Without ``executable_name`` it is ``/opt/apps/NAME/NAME``.

        ``special_rights`` is what the file calls ``functionClusterAffiliation``: ``STATE_MANAGEMENT`` switches targets,
        ``LAUNCH_MANAGEMENT`` is the Launch Manager itself, ``PLATFORM_HEALTH_MANAGEMENT`` has no effect.
        """
        self._own(pg)
        _name("process", name)
        if name.startswith("/"):
            raise ValueError(f"process {name!r} begins with a slash, and nobody could depend on it")
        if self._find(name) is not None:
            raise ValueError(f"there is a process {name!r} already")
        path = f"/opt/apps/{name}/{name}" if executable_name is None else executable_name
        if not _text(f"executable_name of process {name!r}", path).startswith("/"):
            raise ValueError(f"executable_name of process {name!r} is {path!r}, and not a full path")
        if not isinstance(native_application, bool):
            raise ValueError(f"native_application of process {name!r} is {native_application!r}, and not True or False")
        if special_rights not in _RIGHTS:
            known = ", ".join(repr(each) for each in _RIGHTS)
            raise ValueError(f"special_rights of process {name!r} is {special_rights!r}, and none of {known}")
        _sequence("supplementary_group_ids", supplementary_group_ids)
        keys = {
            "identifier": name,
            "path": path,
            "uid": _whole("uid", uid, _ID_MAX),
            "gid": _whole("gid", gid, _ID_MAX),
            "sgids": [{"sgid": _whole("supplementary_group_ids", sgid, _ID_MAX)} for sgid in supplementary_group_ids],
            "numberOfRestartAttempts": _whole("restart_attempts", restart_attempts, _MILLISECONDS_MAX),
            "executable_reportingBehavior": (
                "DoesNotReportExecutionState" if native_application else "ReportsExecutionState"
            ),
            "functionClusterAffiliation": special_rights,
        }
        pg.processes[name] = process = _Process(pg, name, keys)
        return process

    def process_add_startup_config(
        self,
        process,
        name,
        process_arguments=(),
        env_variables=_NOTHING,
        scheduling_policy="SCHED_OTHER",
        scheduling_priority=0,
        enter_timeout=None,
        exit_timeout=None,
        execution_error=1,
        depends_on=_NOTHING,
        use_in=(),
        termination_behavior="ProcessIsNotSelfTerminating",
    ):
        """A startup config of a process. Times are seconds; ``None`` is the machine's.

        ``env_variables`` go over the machine's. ``depends_on`` has processes (names or handles) and how far each must
        be: ``Running`` or ``Terminated``. ``use_in`` has states of the process's group, without the group before them.
        """
        if not isinstance(process, _Process):
            raise ValueError("this is no process")
        self._own(process.group)
        _name("startup config", name)
        of = f"startup config {name!r} of process {process.name!r}"
        if name in process.configs:
            raise ValueError(f"there is a {of} already")
        _sequence("process_arguments", process_arguments)
        for argument in process_arguments:
            _text("an argument", argument)
        _check_variables(env_variables)
        policy = str(scheduling_policy).upper()
        if policy not in _POLICIES:
            raise ValueError(f"scheduling_policy of {of} is {scheduling_policy!r}, and none of {', '.join(_POLICIES)}")
        if termination_behavior not in _TERMINATIONS:
            raise ValueError(
                f"termination_behavior of {of} is {termination_behavior!r}, and none of {', '.join(_TERMINATIONS)}"
            )
        dependencies = []
        for target, condition in dict(depends_on).items():
            if isinstance(target, _Process):
                target = target.name
            target = _text("a name in depends_on", target).removeprefix("/")
            if condition not in _CONDITIONS:
                raise ValueError(f"depends_on of {of} has {target!r}: {condition!r}, and not Running or Terminated")
            if target in (known for known, _ in dependencies):
                raise ValueError(f"depends_on of {of} has {target!r} twice")
            dependencies.append((target, condition))
        _sequence("use_in", use_in)
        states = []
        for state in use_in:
            state = _text("a state in use_in", state).removeprefix(f"{process.group.name}/")
            if state not in process.group.states:
                raise ValueError(f"use_in of {of} has {state!r}, no state of process group {process.group.name!r}")
            if state in states:
                raise ValueError(f"use_in of {of} has {state!r} twice")
            states.append(state)
        machine = process.group.machine
        variables = {**machine.env_variables, **env_variables}
        native = process.keys["executable_reportingBehavior"] == "DoesNotReportExecutionState"
        enter = machine.enter if enter_timeout is None else enter_timeout
        leave = machine.exit if exit_timeout is None else exit_timeout
        process.configs[name] = {
            "identifier": name,
            "executionError": str(_whole("execution_error", execution_error, _MILLISECONDS_MAX)),
            "schedulingPolicy": policy,
            "schedulingPriority": str(_whole("scheduling_priority", scheduling_priority, 99)),
            "enterTimeoutValue": _milliseconds("enter_timeout", enter, 0 if native else 1),
            "exitTimeoutValue": _milliseconds("exit_timeout", leave, 0),
            "terminationBehavior": termination_behavior,
            "executionDependency": [
                {"stateName": condition, "targetProcess_identifier": target} for target, condition in dependencies
            ],
            "processGroupStateDependency": [
                {"stateMachine_name": process.group.name, "stateName": f"{process.group.name}/{state}"}
                for state in states
            ],
            "environmentVariable": [{"key": key, "value": value} for key, value in variables.items()],
            "processArgument": [{"argument": argument} for argument in process_arguments],
        }

    def generate_json(self, out_path):
        """Writes the file, whole or not at all.

        A group without a state ``Recovery`` gets one in which nothing runs: what is entered after a failure must
        be there.
        """
        text = json.dumps(self._document(), indent=2) + "\n"
        folder = os.path.dirname(os.path.abspath(out_path))
        descriptor, beside = tempfile.mkstemp(dir=folder, prefix=".confgen-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(beside, 0o666 & ~mask)
            os.replace(beside, out_path)
        except BaseException:
            os.unlink(beside)
            raise

    def _document(self):
        if self._machine is None:
            raise ValueError("there is no machine")
        groups = list(self._machine.groups.values())
        main = self._machine.groups.get(MAIN_GROUP)
        if main is None or STARTUP not in main.states:
            raise ValueError(f"there is no state {MAIN_GROUP}/{STARTUP}, which the Launch Manager enters by itself")
        processes = []
        edges = {}
        for process in self._processes():
            if not process.configs:
                raise ValueError(f"process {process.name!r} has no startup config")
            for name in process.configs:
                edges[process, name] = self._check_dependencies(process, name)
            processes.append({**process.keys, "startupConfig": list(process.configs.values())})
        _check_apart("processes", [_service(*each) for each in edges if not each[0].is_launcher()])
        _check_circles(edges)
        return {
            "versionMajor": 7,
            "versionMinor": 0,
            "Process": processes,
            "ModeGroup": [_mode_group(group) for group in groups],
        }

    def _check_dependencies(self, process, name):
        """The startup configs that this one waits for, as verger takes them: of several the one in the same states."""
        config = process.configs[name]
        of = f"startup config {name!r} of process {process.name!r}"
        waited_for = []
        for dependency in config["executionDependency"]:
            target = self._find(dependency["targetProcess_identifier"])
            if target is None:
                raise ValueError(f"{of} depends on {dependency['targetProcess_identifier']!r}, which is no process")
            if target is process:
                raise ValueError(f"{of} depends on its own process")
            if target.group is not process.group:
                raise ValueError(f"{of} depends on {target.name!r}, which is in another process group")
            if target.is_launcher() or process.is_launcher():
                continue
            states = _states(config)
            ones = [each for each, other in target.configs.items() if states & _states(other)]
            ones = ones or list(target.configs)[:1]
            if dependency["stateName"] == "Terminated":
                if len(ones) > 1:
                    raise ValueError(
                        f"{of} waits for the end of {target.name!r}, which is {len(ones)} startup configs there:"
                        " give it a startup config for each of them"
                    )
                if any(target.configs[each]["terminationBehavior"] != "ProcessIsSelfTerminating" for each in ones):
                    raise ValueError(
                        f"{of} waits for the end of {target.name!r}, which is not to end by itself: "
                        "expected termination_behavior ProcessIsSelfTerminating there, or Running here"
                    )
            waited_for.extend((target, each) for each in ones)
        return waited_for

    def _processes(self):
        return [process for group in self._machine.groups.values() for process in group.processes.values()]

    def _find(self, name):
        groups = self._machine.groups.values() if self._machine else ()
        return next((group.processes[name] for group in groups if name in group.processes), None)

    def _own(self, group):
        if not isinstance(group, _ProcessGroup) or group.machine is not self._machine:
            raise ValueError("this is no process group of this generator's machine")


def _mode_group(group):
    states = group.states if RECOVERY in group.states else [*group.states, RECOVERY]
    return {
        "identifier": group.name,
        "initialMode_name": "Off",
        "recoveryMode_name": f"{group.name}/{RECOVERY}",
        "modeDeclaration": [{"identifier": f"{group.name}/{state}"} for state in states],
    }


def _states(config):
    return {dependency["stateName"] for dependency in config["processGroupStateDependency"]}


def _service(process, config):
    """What verger calls it."""
    return process.name if len(process.configs) == 1 else f"{process.name}@{config}"


def _check_apart(what, names):
    """Names may be freer here than verger's, where they must still be told apart."""
    taken = {}
    for name in names:
        ours = _NO_NAME.sub("_", name)[:_NAME_MAX]
        if ours in taken:
            raise ValueError(
                f"the {what} {taken[ours]!r} and {name!r} are both {ours!r} to verger: expected names that differ there"
            )
        taken[ours] = name


def _check_circles(edges):
    """``edges``: startup configs, each with those that it waits for."""
    left = dict(edges)
    # Who waits for nobody that is left can start; who is never taken out waits in a circle, or for one.
    while ready := [each for each, others in left.items() if not any(other in left for other in others)]:
        for each in ready:
            del left[each]
    if left:
        path = [next(iter(left))]
        while (ahead := next(other for other in left[path[-1]] if other in left)) not in path:
            path.append(ahead)
        circle = " -> ".join(_service(*each) for each in [*path[path.index(ahead) :], ahead])
        raise ValueError(f"processes depend on each other in a circle, and none could ever start: {circle}")


def _text(what, text):
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"{what} is {text!r}, and not a string without NUL")
    return text


def _name(what, name):
    if not _text(f"the name of a {what}", name):
        raise ValueError(f"the name of a {what} is empty")
    return name


def _sequence(what, values):
    # A string is a sequence too, of letters, which nobody means.
    if isinstance(values, (str, bytes)):
        raise ValueError(f"{what} is {values!r}, and not a list")


def _whole(what, number, most):
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise ValueError(f"{what} is {number!r}, and not an integer from 0 to {most}")
    return number


def _milliseconds(what, seconds, least):
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise ValueError(f"{what} is {seconds!r}, and not a number of seconds")
    milliseconds = round(seconds * 1000)
    if seconds < 0 or milliseconds < least or (milliseconds == 0 and seconds != 0) or milliseconds > _MILLISECONDS_MAX:
        raise ValueError(f"{what} is {seconds!r} seconds: that is negative, too short or too long")
    return milliseconds


def _check_variables(variables):
    for name, value in dict(variables).items():
        _text("the name of a variable", name)
        _text(f"the variable {name!r}", value)
        if not name or "=" in name:
            raise ValueError(f"{name!r} is no name of a variable")
