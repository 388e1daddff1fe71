"""Serves on the first socket that it was given, and on SIGINT answers what it has begun."""
import http.server
import os
import signal
import socket
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"python, process {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.daemon_threads = False  # server_close() waits for the answers under way.
signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=server.shutdown).start())
os.write(int(os.environ["NODE_CHANNEL_FD"]), b'"ready"\n')
server.serve_forever(poll_interval=0.1)
server.server_close()
