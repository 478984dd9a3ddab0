#!/usr/bin/env python3
"""Answers HTTP on the socket that it is started with, the way of sd_listen_fds(3); a SIGTERM ends it between two requests."""
import os, select, signal, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"hello from process {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    sys.exit("nobody gave me a socket: `verger up listen.toml` does")
server = HTTPServer(("", 0), Hello, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
while True:
    # Whoever has connected and was not accepted waits for the next one of us.
    select.select([server.socket], [], [])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    server.handle_request()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
