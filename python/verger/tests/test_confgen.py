"""What `verger.confgen` writes, read by the real `verger`. `VERGER_PROGRAMS` names the folder of the programs."""

import inspect
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "src"))

from verger.confgen import LaunchManagerConfGen  # noqa: E402 (the path comes first)

VERGER = pathlib.Path(os.environ["VERGER_PROGRAMS"]) / "verger"
PATIENCE = 20


class Written(unittest.TestCase):
    """A generator with a machine and its main group."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="verger-confgen-")
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "robot.json"
        self.gen = LaunchManagerConfGen()
        self.machine = self.gen.add_machine("robot")
        self.main = self.gen.machine_add_process_group(self.machine, "MainPG", ["Off", "Startup", "Recovery"])

    def add(self, name, group=None, **config):
        process = self.gen.process_group_add_process(group or self.main, name)
        self.gen.process_add_startup_config(process, "only", **{"use_in": ["Startup"], **config})
        return process

    def verger(self, *words):
        return subprocess.run(
            [VERGER, *words, "--json", str(self.file)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def written(self):
        """The file as it was written, after verger has found nothing to say about it."""
        self.gen.generate_json(self.file)
        done = self.verger("check", "--elsewhere")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        (found,) = json.loads(done.stdout)["files"]
        self.assertEqual((found["format"], found["complaints"]), ("score-seed", []))
        self.services = found["services"]
        return json.loads(self.file.read_text())

    def refused(self, words, call, *arguments, **keywords):
        with self.assertRaisesRegex(ValueError, words):
            call(*arguments, **keywords)


class Calls(Written):
    def test_parameters_and_defaults_are_the_seeds(self):
        def parameters(name):
            return [
                (each.name, each.default)
                for each in inspect.signature(getattr(LaunchManagerConfGen, name)).parameters.values()
            ][1:]

        none = inspect.Parameter.empty
        self.assertEqual(
            parameters("add_machine"),
            [
                ("name", none),
                ("default_application_timeout_enter", 0.5),
                ("default_application_timeout_exit", 0.5),
                ("env_variables", {"LD_LIBRARY_PATH": "/opt/lib"}),
            ],
        )
        self.assertEqual(
            parameters("machine_add_process_group"), [("machine", none), ("name", none), ("states", ("Off", "Verify"))]
        )
        self.assertEqual(
            parameters("process_group_add_process"),
            [
                ("pg", none),
                ("name", none),
                ("executable_name", None),
                ("uid", 1001),
                ("gid", 1001),
                ("supplementary_group_ids", ()),
                ("restart_attempts", 0),
                ("native_application", False),
                ("special_rights", ""),
            ],
        )
        self.assertEqual(
            parameters("process_add_startup_config"),
            [
                ("process", none),
                ("name", none),
                ("process_arguments", ()),
                ("env_variables", {}),
                ("scheduling_policy", "SCHED_OTHER"),
                ("scheduling_priority", 0),
                ("enter_timeout", None),
                ("exit_timeout", None),
                ("execution_error", 1),
                ("depends_on", {}),
                ("use_in", ()),
                ("termination_behavior", "ProcessIsNotSelfTerminating"),
            ],
        )
        self.assertEqual(parameters("generate_json"), [("out_path", none)])

    def test_a_whole_file(self):
        setup = self.gen.process_group_add_process(self.main, "setup", native_application=True)
        self.gen.process_add_startup_config(
            setup, "once", use_in=["Startup"], termination_behavior="ProcessIsSelfTerminating", exit_timeout=0
        )
        camera = self.gen.process_group_add_process(
            self.main,
            "camera",
            executable_name="/opt/camera",
            uid=7,
            gid=8,
            supplementary_group_ids=[1, 2],
            restart_attempts=3,
            special_rights="STATE_MANAGEMENT",
        )
        self.gen.process_add_startup_config(
            camera,
            "only",
            process_arguments=["--rate", "30 Hz"],
            env_variables={"LEVEL": "debug"},
            scheduling_policy="SCHED_FIFO",
            scheduling_priority=10,
            enter_timeout=1.5,
            execution_error=17,
            depends_on={"setup": "Terminated"},
            use_in=["Startup", "Recovery"],
        )
        # `setup` is not in Recovery, where the camera needs it: verger says so, and that is all.
        self.gen.generate_json(self.file)
        done = self.verger("check", "--elsewhere")
        (found,) = json.loads(done.stdout)["files"]
        self.assertEqual((done.returncode, found["errors"], len(found["complaints"])), (0, 0, 1), done.stdout)
        self.assertIn("`setup` is not in Recovery", found["complaints"][0]["message"])
        document = json.loads(self.file.read_text())
        self.assertEqual((document["versionMajor"], document["versionMinor"]), (7, 0))
        (group,) = document["ModeGroup"]
        self.assertEqual((group["initialMode_name"], group["recoveryMode_name"]), ("Off", "MainPG/Recovery"))
        self.assertEqual(
            [mode["identifier"] for mode in group["modeDeclaration"]],
            ["MainPG/Off", "MainPG/Startup", "MainPG/Recovery"],
        )
        process = document["Process"][1]
        (config,) = process.pop("startupConfig")
        self.assertEqual(
            process,
            {
                "identifier": "camera",
                "path": "/opt/camera",
                "uid": 7,
                "gid": 8,
                "sgids": [{"sgid": 1}, {"sgid": 2}],
                "numberOfRestartAttempts": 3,
                "executable_reportingBehavior": "ReportsExecutionState",
                "functionClusterAffiliation": "STATE_MANAGEMENT",
            },
        )
        self.assertEqual(
            config,
            {
                "identifier": "only",
                "executionError": "17",
                "schedulingPolicy": "SCHED_FIFO",
                "schedulingPriority": "10",
                "enterTimeoutValue": 1500,
                "exitTimeoutValue": 500,
                "terminationBehavior": "ProcessIsNotSelfTerminating",
                "executionDependency": [{"stateName": "Terminated", "targetProcess_identifier": "setup"}],
                "processGroupStateDependency": [
                    {"stateMachine_name": "MainPG", "stateName": "MainPG/Startup"},
                    {"stateMachine_name": "MainPG", "stateName": "MainPG/Recovery"},
                ],
                "environmentVariable": [
                    {"key": "LD_LIBRARY_PATH", "value": "/opt/lib"},
                    {"key": "LEVEL", "value": "debug"},
                ],
                "processArgument": [{"argument": "--rate"}, {"argument": "30 Hz"}],
            },
        )
        first = document["Process"][0]
        self.assertEqual(first["path"], "/opt/apps/setup/setup")
        self.assertEqual(first["executable_reportingBehavior"], "DoesNotReportExecutionState")

    def test_every_key_of_the_file_is_in_the_report(self):
        self.add("camera")
        self.written()
        done = self.verger("import", "--report")
        self.assertEqual(done.returncode, 0, done.stderr)
        fates = {key["key"]: key["fate"] for key in json.loads(done.stdout)["keys"]}
        self.assertEqual(fates["Process.camera.path"], "kept")
        self.assertEqual(fates["Process.camera.startupConfig.only.executionError"], "not applicable")

    def test_a_hundred_processes_in_each_of_four_groups(self):
        groups = [self.main]
        for number in range(3):
            groups.append(self.gen.machine_add_process_group(self.machine, f"PG{number}", ["Off", "Startup"]))
        for number, group in enumerate(groups):
            for each in range(100):
                before = {f"p{number}_{each - 1}": "Running"} if each else {}
                self.add(f"p{number}_{each}", group, depends_on=before)
        document = self.written()
        self.assertEqual((len(document["Process"]), self.services), (400, 400))
        # What is entered after a failure is there, also where nobody named it.
        self.assertIn({"identifier": "PG0/Recovery"}, document["ModeGroup"][1]["modeDeclaration"])


class Mended(Written):
    def test_a_slash_before_a_name_is_taken_off(self):
        self.add("b")
        self.add("a", depends_on={"/b": "Running"})
        dependency = self.written()["Process"][1]["startupConfig"][0]["executionDependency"]
        self.assertEqual(dependency, [{"stateName": "Running", "targetProcess_identifier": "b"}])

    def test_a_handle_is_as_good_as_a_name(self):
        self.add("a", depends_on={self.add("b"): "Running"})
        self.assertEqual(self.services_of("a"), ["b"])

    def services_of(self, name):
        (process,) = (each for each in self.written()["Process"] if each["identifier"] == name)
        dependencies = process["startupConfig"][0]["executionDependency"]
        return [dependency["targetProcess_identifier"] for dependency in dependencies]

    def test_a_second_startup_config_goes_to_its_own_process(self):
        self.add("b")
        a = self.add("a", depends_on={"b": "Running"})
        self.gen.process_add_startup_config(a, "other", use_in=["Recovery"])
        processes = self.written()["Process"]
        names = [[config["identifier"] for config in process["startupConfig"]] for process in processes]
        self.assertEqual(names, [["only"], ["only", "other"]])
        self.assertEqual(self.services, 3)

    def test_nothing_is_shared_between_calls(self):
        variables, arguments, states = {"A": "1"}, ["x"], ["Startup"]
        a = self.add("a", env_variables=variables, process_arguments=arguments, use_in=states)
        variables["B"] = "2"
        arguments.append("y")
        states.append("Recovery")
        self.gen.process_add_startup_config(a, "other", use_in=["Recovery"])
        one, other = self.written()["Process"][0]["startupConfig"]
        self.assertEqual([each["key"] for each in one["environmentVariable"]], ["LD_LIBRARY_PATH", "A"])
        self.assertEqual((len(one["processArgument"]), len(one["processGroupStateDependency"])), (1, 1))
        self.assertEqual([each["key"] for each in other["environmentVariable"]], ["LD_LIBRARY_PATH"])
        self.assertEqual(LaunchManagerConfGen().add_machine("other").env_variables, {"LD_LIBRARY_PATH": "/opt/lib"})


class Refused(Written):
    def test_what_is_there_already(self):
        self.refused("machine already", self.gen.add_machine, "other")
        self.refused("'MainPG' already", self.gen.machine_add_process_group, self.machine, "MainPG")
        a = self.add("a")
        other = self.gen.machine_add_process_group(self.machine, "Other")
        self.refused("process 'a' already", self.gen.process_group_add_process, other, "a")
        self.refused("already", self.gen.process_add_startup_config, a, "only")
        self.refused("twice", self.gen.machine_add_process_group, self.machine, "Third", ["On", "On"])

    def test_what_is_not_there(self):
        a = self.gen.process_group_add_process(self.main, "a")
        self.refused("no state", self.gen.process_add_startup_config, a, "only", use_in=["Verify"])
        self.refused("'a' has no startup config", self.gen.generate_json, self.file)
        self.gen.process_add_startup_config(a, "only", use_in=["MainPG/Startup"])
        self.add("b", depends_on={"nobody": "Running"})
        self.refused("'nobody', which is no process", self.gen.generate_json, self.file)
        self.assertEqual(list(self.file.parent.iterdir()), [])
        self.refused("no process group", self.gen.process_group_add_process, None, "x")
        self.refused("no machine", LaunchManagerConfGen().generate_json, self.file)
        alone = LaunchManagerConfGen()
        alone.machine_add_process_group(alone.add_machine("m"), "MainPG")
        self.refused("no state MainPG/Startup", alone.generate_json, self.file)

    def test_another_group_and_oneself(self):
        other = self.gen.machine_add_process_group(self.machine, "Other", ["Off", "Startup"])
        self.add("b", other)
        self.add("a", depends_on={"b": "Running"})
        self.refused("in another process group", self.gen.generate_json, self.file)
        self.setUp()
        self.add("a", depends_on={"a": "Running"})
        self.refused("its own process", self.gen.generate_json, self.file)

    def test_a_circle_of_dependencies(self):
        self.add("before", depends_on={"a": "Running"})
        self.add("a", depends_on={"b": "Running"})
        self.add("b", depends_on={"c": "Running"})
        self.add("c", depends_on={"a": "Running"})
        self.refused("in a circle.*: a -> b -> c -> a", self.gen.generate_json, self.file)
        # Of several startup configs it is the one in the same states that is meant: this is no circle.
        self.setUp()
        for name, other in (("a", "b"), ("b", "a")):
            process = self.add(name, use_in=["Startup"], depends_on={"b": "Running"} if name == "a" else {})
            self.gen.process_add_startup_config(
                process, "later", use_in=["Recovery"], depends_on={other: "Running"} if name == "b" else {}
            )
        self.written()

    def test_the_end_of_who_does_not_end(self):
        self.add("b")
        self.add("a", depends_on={"b": "Terminated"})
        self.refused("not to end by itself: expected termination_behavior", self.gen.generate_json, self.file)
        self.setUp()
        once = {"termination_behavior": "ProcessIsSelfTerminating"}
        b = self.add("b", **once)
        self.gen.process_add_startup_config(b, "other", use_in=["Startup"], **once)
        self.add("a", depends_on={"b": "Terminated"})
        self.refused("2 startup configs there", self.gen.generate_json, self.file)

    def test_names_that_are_one_to_verger(self):
        self.add("a b")
        self.add("a_b")
        self.refused("'a b' and 'a_b' are both 'a_b'", self.gen.generate_json, self.file)
        self.refused("states of", self.gen.machine_add_process_group, self.machine, "Other", ["On/1", "On_1"])
        self.gen.machine_add_process_group(self.machine, "G 1")
        self.refused("'G 1' and 'G_1'", self.gen.machine_add_process_group, self.machine, "G_1")

    def test_what_a_process_is(self):
        add = self.gen.process_group_add_process
        for rights in (5, None, "STATE_MANAGMENT"):
            with self.subTest(rights=rights):
                self.refused("none of '', 'STATE_MANAGEMENT'", add, self.main, "a", special_rights=rights)
        self.refused("without NUL", add, self.main, "a", executable_name="/a\0b")
        self.refused("not True or False", add, self.main, "a", native_application="no")
        # The Launch Manager itself is up: who waits for it waits for nobody.
        launcher = add(self.main, "lm", special_rights="LAUNCH_MANAGEMENT")
        self.gen.process_add_startup_config(launcher, "only", use_in=["Startup"])
        self.add("a", depends_on={"lm": "Running"})
        self.gen.generate_json(self.file)
        self.assertEqual(self.verger("check", "--elsewhere").returncode, 0)

    def test_times_and_numbers(self):
        for seconds in (-1, 0, 0.0001, 5e6, float("nan"), float("inf"), "1", True):
            with self.subTest(seconds=seconds):
                self.refused("enter_timeout", self.add, f"a{seconds}", enter_timeout=seconds)
        for uid in (-1, 2**31, 1.5, "root", True):
            with self.subTest(uid=uid):
                self.refused("uid", self.gen.process_group_add_process, self.main, f"u{uid}", uid=uid)
        self.refused("scheduling_policy", self.add, "x", scheduling_policy="FIFO")
        self.refused("scheduling_priority", self.add, "y", scheduling_priority=100)
        self.refused("Running or Terminated", self.add, "z", depends_on={"x": "Ready"})
        self.refused("full path", self.gen.process_group_add_process, self.main, "w", executable_name="camera")
        self.refused("not a list", self.add, "v", use_in="Startup")
        self.refused("no name of a variable", self.add, "t", env_variables={"A=B": "1"})

    def test_a_machine_has_times_too(self):
        self.refused("default_application_timeout_exit", LaunchManagerConfGen().add_machine, "m", 0.5, -1)


if __name__ == "__main__":
    unittest.main()
