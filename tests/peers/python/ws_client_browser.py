"""The client of ws_client.py in a browser: a page does the talking and hands its log back.

The browser is a child of this program, and its processes are children of that; nothing but loopback
can be reached from it.
"""

import argparse
import ctypes
import hashlib
import http.server
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--connections", type=int, default=1, help="one after another")
parser.add_argument("--requests", type=int, default=10, help="in all")
parser.add_argument("--size", type=int, default=20, help="bytes echoed by each request")
parser.add_argument("--http2", action="store_true", help="fetch a page there first")
parser.add_argument("--browser", choices=["chromium", "firefox-esr"], required=True)
options = parser.parse_args()

PAGE = """<!doctype html><meta charset="utf-8"><title>peer</title><script>
const options = %s;
const log = [], turnaroundMs = [];
function record(connection, direction, text) {
  log.push(`${connection} ${direction} text ${btoa(text)}`);
}
function opened(socket) {
  return new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
}
function answer(socket) {
  return new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
}
async function talk(connection) {
  const socket = new WebSocket(`wss://127.0.0.1:${options.port}/rpc?token=secret`);
  await opened(socket);
  for (let id = 0; id < options.requests / options.connections; id++) {
    const params = { echo: 'x'.repeat(options.size), connection };
    const request = JSON.stringify({ jsonrpc: '2.0', id, method: 'echo', params });
    const began = performance.now();
    const answered = answer(socket);
    socket.send(request);
    record(connection, 'sent', request);
    record(connection, 'received', await answered);
    turnaroundMs.push(performance.now() - began);
  }
  const closed = new Promise((resolve) => { socket.onclose = resolve; });
  socket.close(1000);
  await closed;
}
async function main() {
  await fetch('/go');
  // A browser asks for a WebSocket over HTTP/2 only on a connection that it has already, and keeps
  // one for requests with credentials.
  const page = { mode: 'no-cors', credentials: 'include' };
  if (options.http2) await fetch(`https://127.0.0.1:${options.port}/page`, page);
  for (let connection = 0; connection < options.connections; connection++) await talk(connection);
  turnaroundMs.sort((a, b) => a - b);
  const median_ns = (turnaroundMs[turnaroundMs.length >> 1] || 0) * 1e6;
  const summary = { answered: turnaroundMs.length, median_ns };
  await fetch('/done', { method: 'POST', body: JSON.stringify({ log, summary }) });
}
main().catch((error) => fetch('/done', { method: 'POST', body: JSON.stringify({ error: `${error}` }) }));
</script>""" % json.dumps(vars(options))

asked, may_go, done = threading.Event(), threading.Event(), threading.Event()
result = {}


class Page(http.server.BaseHTTPRequestHandler):
    """The page, and what it waits for and hands back."""

    def do_GET(self):
        if self.path == "/go":
            asked.set()
            may_go.wait()
        self.answer(PAGE.encode() if self.path == "/" else b"")

    def do_POST(self):
        result.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")
        done.set()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def die_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "HOME": profile, "MOZ_HEADLESS": "1"}
    return subprocess.Popen(command, preexec_fn=die_with_parent, env=environment, **quiet)


def chromium(url):
    return start([
        "/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--ignore-certificate-errors", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--disable-default-apps", "--disable-extensions",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}", url,
    ])


PREFERENCES = {
    "network.dns.forceResolve": "127.0.0.1",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.http.http2.websockets": True,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.server": "",
}


def trust(folder):
    """An exception for the server's certificate, as Firefox remembers it."""
    pem = ssl.get_server_certificate(("127.0.0.1", options.port))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    SHA256 = "OID.2.16.840.1.101.3.4.2.1"
    line = f"127.0.0.1:{options.port}:\t{SHA256}\t{fingerprint}\t\n"
    (folder / "cert_override.txt").write_text(line)


def firefox(url):
    folder = pathlib.Path(profile)
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    trust(folder)
    return start(["/usr/bin/firefox-esr", "--no-remote", "--profile", profile, url])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    url = f"http://127.0.0.1:{server.server_port}/"
    browser = (chromium if options.browser == "chromium" else firefox)(url)
    try:
        if not asked.wait(120):
            sys.exit("the browser does not load the page")
        print("ready", flush=True)
        sys.stdin.readline()
        may_go.set()
        done.wait()
        if "error" in result:
            sys.exit(f"the page: {result['error']}")
        pathlib.Path(options.log).write_text("".join(f"{line}\n" for line in result["log"]))
        print(json.dumps(result["summary"]), flush=True)
        sys.stdin.read()
    finally:
        browser.terminate()
        browser.wait()
