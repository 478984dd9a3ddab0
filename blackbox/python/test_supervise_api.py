"""The published client of the `supervise` that ours takes the place of, against ours; its own tests among the rest.

The client looks for `supervise` on PATH when it is imported. `VERGER_PROGRAMS` names the folder of the programs.
"""

import os
import pathlib
import select
import signal
import tempfile
import time
import unittest
import warnings

PROGRAMS = pathlib.Path(os.environ["VERGER_PROGRAMS"])
os.environ["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"

import supervise_api  # noqa: E402 (PATH comes first)
import supervise_api.tests.test_supervise  # noqa: E402

PATIENCE = 20


def load_tests(loader, tests, _pattern):
    """Ours, and the client's own."""
    tests.addTests(loader.loadTestsFromModule(supervise_api.tests.test_supervise))
    return tests


class Clock(unittest.TestCase):
    """What the tests have in common: waits that have an end."""

    def ended(self, process):
        """Waits until everybody is dead, as the client learns it."""
        deadline = time.monotonic() + PATIENCE
        while not (process.childfree or process.hangup):
            left = deadline - time.monotonic()
            self.assertGreater(left, 0, "it does not end")
            select.select([process.fileno()], [], [], left)
            process.flush_events()
        return process.childfree

    def gone(self, reading):
        """Waits until nobody holds the other end of a pipe; what came before."""
        came = b""
        while True:
            ready, _, _ = select.select([reading], [], [], PATIENCE)
            self.assertTrue(ready, f"somebody holds the pipe, after {came!r}")
            part = os.read(reading, 4096)
            if not part:
                return came
            came += part

    def pipe(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        return reading, os.fdopen(writing, "wb", buffering=0)


class Basics(Clock):
    def test_ours_is_what_it_found(self):
        self.assertEqual(pathlib.Path(os.fsdecode(supervise_api.supervise.supervise_utility_location)).resolve(),
                         (PROGRAMS / "supervise").resolve())

    def test_a_result_is_the_commands(self):
        for script, code in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -9), ("kill -USR1 $$", -10)]:
            process = supervise_api.Process(["sh", "-c", script])
            process.wait()
            self.assertEqual(process.returncode, code, script)
            self.assertTrue(self.ended(process), script)
            process.close()

    def test_signals_reach_the_command(self):
        for order, code in [("kill", -9), ("terminate", -15)]:
            process = supervise_api.Process(["sleep", "1000"])
            self.assertGreater(process.pid, 1)
            self.assertIsNone(process.poll())
            getattr(process, order)()
            process.wait()
            self.assertEqual(process.returncode, code)
            self.assertTrue(self.ended(process))
            process.close()
        process = supervise_api.Process(["sleep", "1000"])
        process.send_signal(signal.SIGUSR2)
        process.wait()
        self.assertEqual(process.returncode, -signal.SIGUSR2)
        process.close()

    def test_its_pid_is_the_commands(self):
        reading, writing = self.pipe()
        with writing:
            process = supervise_api.Process(["sh", "-c", "echo $$"], fds={1: writing})
        said = self.gone(reading)
        self.assertEqual(int(said), process.pid)
        process.close()

    def test_a_program_that_is_not_there(self):
        with self.assertRaises(FileNotFoundError):
            supervise_api.Process(["there-is-no-such-program"])

    def test_a_program_that_goes_before_it_is_executed(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder, "script")
            script.write_text("#!/nowhere/interpreter\n")
            script.chmod(0o755)
            process = supervise_api.Process([script])
            process.wait()
            self.assertEqual(process.returncode, 127)
            self.assertTrue(self.ended(process))
            process.close()

    def test_many_at_once(self):
        processes = [supervise_api.Process(["sh", "-c", f"exit {code}"]) for code in range(40)]
        for code, process in enumerate(processes):
            process.wait()
            self.assertEqual(process.returncode, code)
            self.assertTrue(self.ended(process))
            process.close()


class Descriptors(Clock):
    def test_they_are_where_they_are_wanted(self):
        reading, writing = self.pipe()
        with writing:
            process = supervise_api.Process(["sh", "-c", "echo to nine >&9; echo to one"], fds={9: writing, 1: writing})
        self.assertEqual(self.gone(reading), b"to nine\nto one\n")
        process.close()

    def test_two_change_places(self):
        first, one = self.pipe()
        second, two = self.pipe()
        with one, two:
            # At numbers that a shell can name.
            os.dup2(one.fileno(), 8)
            os.dup2(two.fileno(), 9)
            process = supervise_api.Process(["sh", "-c", "echo was nine >&8; echo was eight >&9"], fds={8: 9, 9: 8})
            os.close(8)
            os.close(9)
        self.assertEqual((self.gone(first), self.gone(second)), (b"was eight\n", b"was nine\n"))
        process.close()

    def test_the_command_has_none_of_the_protocols(self):
        reading, writing = self.pipe()
        with writing:
            process = supervise_api.Process(
                ["sh", "-c", "for fd in /proc/$$/fd/*; do readlink $fd; done"], fds={1: writing})
        self.assertNotIn(b"socket:", self.gone(reading))
        process.close()


class Survivors(Clock):
    """Five that left in every way; after the close all are dead: nobody holds the pipe that all inherited."""

    def shape(self, before, depth):
        command = f"{before} sleep 1000"
        for _ in range(depth):
            command = f"sh -c '{command} &'" if "'" not in command else f'sh -c "{command} &"'
        return " ".join(f"{command} &" for _ in range(5))

    def gone_after(self, script, end):
        reading, writing = self.pipe()
        with writing:
            process = supervise_api.Process(["sh", "-c", f"{script}\necho up"], fds={1: writing})
        while select.select([reading], [], [], PATIENCE)[0] and b"up\n" not in os.read(reading, 4096):
            pass
        end(process)
        self.gone(reading)
        return process

    def test_a_close_ends_all(self):
        for before in ["", "nohup", "setsid", "setsid nohup"]:
            for depth in range(3):
                with self.subTest(before=before, depth=depth):
                    process = self.gone_after(self.shape(before, depth), lambda it: it.close())
                    self.assertTrue(process.closed())

    def test_who_forgets_it_ends_all(self):
        reading, writing = self.pipe()
        with writing, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            supervise_api.dfork(["sh", "-c", self.shape("setsid", 1) + " echo up; sleep 1000"], fds={1: writing})
        # The socket was nobody's as soon as it was there.
        self.gone(reading)

    def test_the_rest_lives_on_when_the_command_is_killed(self):
        reading, writing = self.pipe()
        with writing:
            process = supervise_api.Process(["sh", "-c", "setsid sleep 1000 & echo up; wait"], fds={1: writing})
        self.assertEqual(os.read(reading, 4096), b"up\n")
        process.kill()
        process.wait()
        self.assertEqual(process.returncode, -9)
        self.assertFalse(select.select([reading, process.fileno()], [], [], 0.3)[0], "somebody lives on")
        self.assertFalse(process.childfree)
        process.close()
        self.gone(reading)


if __name__ == "__main__":
    unittest.main()
