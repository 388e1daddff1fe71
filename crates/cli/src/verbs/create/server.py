"""A web server on the socket that the manager holds: restarts refuse nobody."""

import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"Hello from process {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    raise SystemExit("start it by its ecosystem.config.js: its socket comes from there")

server = HTTPServer(("127.0.0.1", 0), Hello, bind_and_activate=False)
server.socket.close()
# The first socket that is handed over is descriptor 3.
server.socket = socket.socket(fileno=3)
print("ready", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
