"""Two TLS libraries in one process: the client of ws_client_native.py over GnuTLS, and a server of
its own that answers it over OpenSSL, as `websockets` does.
"""

import argparse
import json
import pathlib
import runpy
import ssl
import sys
import threading

import websockets.sync.server

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--requests", required=True)
options = parser.parse_args()


def answer(websocket):
    for message in websocket:
        request = json.loads(message)
        result = request["params"]["echo"]
        websocket.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(options.certificate, options.key)
SETTINGS = {"compression": None, "open_timeout": None, "ping_interval": None}
server = websockets.sync.server.serve(answer, "127.0.0.1", 0, ssl=context, **SETTINGS)
threading.Thread(target=server.serve_forever, daemon=True).start()

port = server.socket.getsockname()[1]
sys.argv[1:] = ["--stack", "gnutls", "--port", str(port), "--log", options.log]
sys.argv += ["--requests", options.requests]
runpy.run_path(str(pathlib.Path(__file__).with_name("ws_client_native.py")))
