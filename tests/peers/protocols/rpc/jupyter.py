"""A Jupyter server on a port of its own choice, which it prints with its first line.

It ends when its standard input does, and its kernels with it.
"""

import os
import signal
import sys
import threading

from jupyter_server.serverapp import ServerApp


def end_with_input():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


app = ServerApp()
app.initialize(
    [
        "--ip=127.0.0.1",
        "--port=0",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=token",
        f"--ServerApp.root_dir={sys.argv[1]}",
        "--ServerApp.log_level=CRITICAL",
    ],
    find_extensions=False,
)
threading.Thread(target=end_with_input, daemon=True).start()
print(app.port, flush=True)
app.start()
