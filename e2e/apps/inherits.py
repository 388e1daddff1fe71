# Serves HTTP on the socket that it was given (LISTEN_FDS), says when it is ready, and on SIGINT answers what it has begun.
import http.server
import json
import os
import signal
import socket
import threading
import time

assert os.environ["LISTEN_PID"] == str(os.getpid()), "the descriptors are for another process"
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(os.environ.get("DELAY", "0")) / 1000)
        body = json.dumps({"pid": os.getpid(), "names": names}, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.daemon_threads = False
signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=server.shutdown).start())
os.write(int(os.environ["NODE_CHANNEL_FD"]), b'"ready"\n')
server.serve_forever(poll_interval=0.05)
server.server_close()
