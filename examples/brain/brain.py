"""A brain for `daemonproxy` and for `verger`: db, web that needs it, and a task that fails at first, each with its own back-off.

What it has to remember stands in the services' tags, so that the next one goes on where it was killed.
"""
import os
import signal
import sys
import time

TRY = f"cd {sys.argv[1]}; echo >> tries; [ $(wc -l < tries) -gt 3 ] || exit 1; exec sleep 1000"
SERVICES = {  # name: (program, the service it needs)
    "db": (["sleep", "1000"], None),
    "web": (["sleep", "1000"], "db"),
    "flaky": (["sh", "-c", TRY], None),
}
state, tags, knows_all = {}, {}, False  # what the events say; lost with us, and told again


def say(*fields):
    print(*fields, sep="\t", flush=True)


def decide(name, needs):
    """Acts on the difference between what is and what should be."""
    what, since, pid, how, code = state.get(name, ["down"] + ["-"] * 4)[:5]
    is_held_back = needs is not None and state.get(needs, ["down"])[0] != "up"
    if what == "up" and is_held_back:
        say("service.signal", name, "TERM")
    elif what == "down" and not is_held_back:
        known = tags.get(name, {})
        fails = int(known.get("fails", 0))
        if pid not in ("-", known.get("seen")):  # an end that has not been counted
            fails += how == "exit" and code != "0"
            tags[name] = {"fails": fails, "seen": pid}
            say("service.tags", name, f"fails={fails}", f"seen={pid}")
        at = int(since) + fails if how == "exit" else 0  # a second more for each failure
        say("service.start", name, *([at] if at > time.monotonic() else []))
    else:
        return
    state[name] = ["asked"] + ["-"] * 4


for name, (words, _) in SERVICES.items():
    say("service.args", name, *words)  # an error where a plan says it, which changes nothing
print("statedump\necho\tthat is all", flush=True)
signal.signal(signal.SIGALRM, lambda *_: os.write(1, b"echo\talive\n"))
for line in sys.stdin:
    word, *fields = line.rstrip("\n").split("\t")
    if word == "overflow":
        break  # what was missed is told to the next of us
    if word == "service.state":
        state[fields[0]] = fields[1:]
    elif word == "service.tags":
        tags[fields[0]] = dict(tag.split("=", 1) for tag in fields[1:] if "=" in tag)
    elif word in ("alive", "that is all"):
        signal.alarm(1)
    knows_all |= word == "that is all"
    if knows_all and word in ("service.state", "that is all"):
        for name, (_, needs) in SERVICES.items():
            decide(name, needs)
