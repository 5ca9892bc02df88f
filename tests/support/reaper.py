#!/usr/bin/python3
"""What testcontainers' Ryuk does, in small: for each connection on port 8080 it reads filters, answers ACK, and when the last
connection has ended it removes whatever they name, over the engine's socket at /var/run/docker.sock."""

import http.client
import json
import socket
import socketserver
import threading
import urllib.parse

filters = []
connections = 0
lock = threading.Lock()


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def ask(method, path):
    connection = Unix("localhost")
    connection.request(method, "/v1.44" + path)
    answer = connection.getresponse()
    text = answer.read()
    print(method, path, answer.status, flush=True)
    return json.loads(text) if text else None


def reap():
    for name, value in filters:
        query = urllib.parse.urlencode({"all": 1, "filters": json.dumps({name: [value]})})
        containers = ask("GET", "/containers/json?" + query)
        # Itself last.
        containers.sort(key=lambda container: container["Id"].startswith(socket.gethostname()))
        for container in containers:
            ask("DELETE", "/containers/%s?force=1&v=1" % container["Id"])


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        global connections
        with lock:
            connections += 1
        for line in self.rfile:
            for name, values in urllib.parse.parse_qs(line.decode().strip()).items():
                filters.extend((name, value) for value in values)
            self.wfile.write(b"ACK\n")
        with lock:
            connections -= 1
            if connections == 0 and filters:
                reap()


print(ask("GET", "/version")["ApiVersion"], flush=True)
print("Started", flush=True)
socketserver.ThreadingTCPServer(("", 8080), Session).serve_forever()
