"""Writes Launch Manager configurations of S-CORE's seed (``versionMajor`` 7), which verger reads as they are.

The calls of :class:`LaunchManagerConfGen`, their parameters and defaults are those of the seed's own script. Times are
in seconds. Whatever the Launch Manager or verger would refuse raises :class:`ValueError` at the call, or in
``generate_json`` where it takes the whole to see it.
"""

import json
import math
import os
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
_MILLISECONDS_MAX = 2**32 - 1
_ID_MAX = 2**31 - 1


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
        _sequence("states", states)
        if not states:
            raise ValueError(f"process group {name!r} has no states")
        known = []
        for state in states:
            _name("state", state)
            if state in known:
                raise ValueError(f"state {state!r} of process group {name!r} is given twice")
            known.append(state)
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

        ``special_rights`` is what the file calls ``functionClusterAffiliation``: ``STATE_MANAGEMENT`` and so on.
        """
        self._own(pg)
        _name("process", name)
        if name.startswith("/"):
            raise ValueError(f"process {name!r} begins with a slash, and nobody could depend on it")
        if self._find(name) is not None:
            raise ValueError(f"there is a process {name!r} already")
        path = f"/opt/apps/{name}/{name}" if executable_name is None else executable_name
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"executable_name of process {name!r} is {path!r}, and not a full path")
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
        for group in groups:
            for process in group.processes.values():
                if not process.configs:
                    raise ValueError(f"process {process.name!r} has no startup config")
                self._check_dependencies(process)
                processes.append({**process.keys, "startupConfig": list(process.configs.values())})
        return {
            "versionMajor": 7,
            "versionMinor": 0,
            "Process": processes,
            "ModeGroup": [_mode_group(group) for group in groups],
        }

    def _check_dependencies(self, process):
        for config in process.configs.values():
            for dependency in config["executionDependency"]:
                name = dependency["targetProcess_identifier"]
                target = self._find(name)
                of = f"startup config {config['identifier']!r} of process {process.name!r}"
                if target is None:
                    raise ValueError(f"{of} depends on {name!r}, which is no process")
                if target is process:
                    raise ValueError(f"{of} depends on its own process")
                if target.group is not process.group:
                    raise ValueError(f"{of} depends on {name!r}, which is in another process group")

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
