#!/usr/bin/env python3
"""Runs a command that dies, with everything it started, when this program does: `owned.py sh -c 'sleep 1000 & sleep 1000'`."""
import os, socket, sys
if not sys.argv[1:]: sys.exit(print("usage: owned.py COMMAND [ARGUMENT...]", file=sys.stderr) or 2)
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
theirs.set_inheritable(True)
end = str(theirs.fileno())
supervise = os.posix_spawnp("supervise", ["supervise", end, end, *sys.argv[1:]], os.environ)
theirs.close()
# Whoever holds `ours` owns the command: `ours.send(b"signal 15\n")` signals it, and the last close kills the whole tree.
while line := ours.recv(100):
    print(line.decode(), end="", flush=True)
os.waitpid(supervise, 0)
