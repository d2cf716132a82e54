"""HTTPS server of Turborepo's remote cache, which counts the plaintext that passes its connections.

Prints its port. Each connection ends with its first answer. For each line of standard input it
prints what it has counted since it was asked to begin anew: the line `again` does. It ends when there
are no more lines.
"""

import argparse
import http.server
import json
import ssl
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log")
options = parser.parse_args()

NAMES = ["sent", "received", "stored", "hits", "misses", "events", "open"]
lock = threading.Lock()
counts = dict.fromkeys(NAMES, 0)
artifacts = {}


def count(name, number=1):
    with lock:
        counts[name] += number


class Counted(ssl.SSLSocket):
    def read(self, size=1024, buffer=None):
        data = super().read(size, buffer)
        count("received", len(data) if buffer is None else data)
        return data

    def send(self, data, flags=0):
        sent = super().send(data, flags)
        count("sent", sent)
        return sent


class Cache(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        # A body that the client does not want it would leave unread, and keep the connection.
        self.wfile.write(f"HTTP/1.1 {status} -\r\n{length}".encode() + body)
        self.close_connection = True

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_GET(self):
        artifact = artifacts.get(self.path)
        count("misses" if artifact is None else "hits")
        self.answer(404 if artifact is None else 200, artifact or b"")

    def do_PUT(self):
        artifacts[self.path] = self.body()
        count("stored")
        self.answer(200)

    def do_POST(self):
        count("events", len(json.loads(self.body())))
        self.answer(200)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def process_request(self, request, address):
        count("open")
        super().process_request(request, address)

    def process_request_thread(self, request, address):
        super().process_request_thread(request, address)
        count("open", -1)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(options.certificate, options.key)
context.sslsocket_class = Counted
server = Server(("127.0.0.1", 0), Cache)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    with lock:
        if line.strip() == "again":
            counts.update(dict.fromkeys(NAMES, 0))
        print(json.dumps(counts), flush=True)
