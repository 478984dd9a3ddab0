"""Somebody else's varlink client, in another language, against a real daemon.

The client knows nothing of verger but what the daemon tells about itself: it reads the interface, and makes its methods and
types from that. `VERGER_PROGRAMS` names the folder of the programs.
"""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

import varlink

PROGRAMS = pathlib.Path(os.environ["VERGER_PROGRAMS"])
PLAN = """
[service.db]
command = "sleep 1000"
restart_delay = "10ms"
[service.web]
description = "what people see"
command = "sleep 1000"
requires = ["db"]
[service.once]
command = "true"
ready = "exit"
[service.broken]
command = "/no/such/program"
[service.idle]
command = "sleep 1000"
autostart = false
"""
PATIENCE = 20


class Daemon(unittest.TestCase):
    """A daemon for each test, and a connection to it."""

    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "plan.toml").write_text(PLAN)
        environment = {**os.environ, "VERGER_RUNTIME_DIR": str(folder), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
        image = folder / "image"
        subprocess.run(
            [PROGRAMS / "verger", "compile", folder / "plan.toml", "-o", image],
            check=True, env=environment, capture_output=True,
        )
        instance = f"python-{os.getpid()}"
        notify = folder / "notify"
        # Told when all are up, by the protocol that says so.
        ready = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ready.bind(str(notify))
        ready.settimeout(PATIENCE)
        self.process = subprocess.Popen(
            [PROGRAMS / "vergerd", "--plan", image, "--instance", instance],
            env={**environment, "NOTIFY_SOCKET": str(notify)}, stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.end)
        self.assertIn(b"READY=1", ready.recv(4096))
        self.client = varlink.Client(f"unix:{folder / instance / 'control'}")
        self.addCleanup(self.client.cleanup)
        self.verger = self.open()

    def open(self):
        connection = self.client.open("io.verger.Control")
        self.addCleanup(connection.close)
        return connection

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(PATIENCE), 0)

    def service(self, name):
        return self.verger.List([name])["services"][0]

    def refused(self, error, call, *arguments):
        with self.assertRaises(varlink.VarlinkError) as raised:
            call(*arguments)
        self.assertEqual(raised.exception.error(), f"io.verger.Control.{error}")
        return raised.exception.parameters()


class Conversation(Daemon):
    def test_the_daemon_describes_its_interfaces(self):
        interfaces = self.client.get_interfaces()
        self.assertIn("io.verger.Control", interfaces)
        self.assertIn("org.varlink.service", interfaces)
        self.assertNotIn("io.verger.Debug", interfaces)
        control = self.client.get_interface("io.verger.Control")
        members = set(control.members)
        self.assertLessEqual({"Describe", "List", "Start", "Stop", "Restart", "Signal", "Why", "Watch", "Shutdown"}, members)
        self.assertLessEqual({"NotFound", "Refused", "WrongState", "Invalid", "Busy", "Timeout", "Cancelled"}, members)
        self.assertIn("method Start", control.get_description())
        with self.client.open("org.varlink.service") as service:
            info = service.GetInfo()
        self.assertEqual((info["vendor"], info["product"]), ("verger", "vergerd"))

    def test_what_is_there(self):
        described = self.verger.Describe()
        self.assertEqual((described["pid"], described["state"]), (self.process.pid, "serving"))
        self.assertGreater(len(described["findings"]), 0)
        services = {it["name"]: it for it in self.verger.List()["services"]}
        self.assertEqual(list(services), sorted(["broken", "db", "idle", "once", "web"]))
        phases = {name: it["phase"] for name, it in services.items()}
        self.assertEqual(
            phases, {"broken": "failed", "db": "running", "idle": "down", "once": "done", "web": "running"}
        )
        self.assertEqual(services["web"]["description"], "what people see")
        self.assertEqual(services["once"]["last_exit"]["code"], 0)
        self.assertEqual((services["broken"]["failure"]["kind"], services["broken"]["failure"]["errno"]), ("start", 2))
        self.assertEqual(pathlib.Path(f"/proc/{services['db']['pid']}/comm").read_text(), "sleep\n")
        self.assertEqual([it["name"] for it in self.verger.List(["web", "db"])["services"]], ["web", "db"])

    def test_verbs_wait_for_their_outcome(self):
        run = self.verger.Start("idle")["run"]
        self.assertEqual((self.service("idle")["phase"], self.service("idle")["run"]), ("running", run))
        again = self.verger.Restart("idle", 10_000, "a key")["run"]
        self.assertGreater(again, run)
        # The same key is the same command.
        self.assertEqual(self.verger.Restart("idle", 10_000, "a key")["run"], again)
        self.verger.Stop("db")
        self.assertEqual((self.service("db")["phase"], self.service("web")["phase"]), ("down", "down"))
        self.verger.Start("web")
        self.assertEqual(self.service("db")["phase"], "running")
        self.verger.Signal("db", "SIGCONT")

    def test_errors_have_names_and_parameters(self):
        self.assertEqual(self.refused("NotFound", self.verger.Start, "nobody"), {"name": "nobody"})
        wrong = self.refused("WrongState", self.verger.Start, "broken")
        self.assertEqual((wrong["name"], wrong["phase"], wrong["failure"]["errno"]), ("broken", "failed", 2))
        self.assertEqual(self.refused("WrongState", self.verger.Signal, "idle", "SIGTERM")["cause"], "not_running")
        self.assertEqual(self.refused("Invalid", self.verger.Signal, "db", "SIGNONSENSE")["field"], "signal")
        # And the connection goes on.
        self.assertEqual(self.service("db")["phase"], "running")

    def test_why_goes_back_to_the_root(self):
        self.verger.Stop("db")
        why = self.verger.Why("web")
        self.assertEqual(why["service"]["phase"], "down")
        self.assertGreater(len(why["chain"]), 0)
        root = why["chain"][-1]["root"]
        self.assertEqual((root["kind"], root["verb"], root["service"]), ("command", "stop", "db"))
        self.assertEqual(root["by"]["pid"], os.getpid())

    def test_watching_is_a_stream(self):
        watch = self.open().Watch(["db", "web"], _more=True)
        first = next(watch)
        self.assertEqual({it["name"] for it in first["services"]}, {"db", "web"})
        before = self.service("db")
        os.kill(before["pid"], signal.SIGKILL)
        moves = []
        for told in watch:
            if "transition" in told:
                transition = told["transition"]
                moves.append((transition["service"], transition["from"], transition["to"]))
                if transition["service"] == "db" and transition["to"] == "running":
                    self.assertGreater(transition["run"], before["run"])
                    break
        self.assertEqual(
            [it for it in moves if it[0] == "db"],
            [("db", "running", "resting"), ("db", "resting", "starting"), ("db", "starting", "running")],
        )

    def test_a_shutdown_ends_everything(self):
        watch = self.open().Watch(_more=True)
        next(watch)
        self.verger.Shutdown(True)
        with self.assertRaises((varlink.BrokenPipeError, ConnectionError)):
            for _ in watch:
                pass
        self.assertEqual(self.process.wait(PATIENCE), 0)
        # Nobody is there to be ended.
        self.process.send_signal = lambda _: None


if __name__ == "__main__":
    unittest.main()
