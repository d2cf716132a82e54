"""A WebSocket over TLS of which both ends are in this process, and whose writer never waits.

It waits for a line. Then it writes frames of all sizes by calls of other sizes. Where OpenSSL passes only a
part (SSL_MODE_ENABLE_PARTIAL_WRITE), it goes on behind that. Where the socket takes no more, OpenSSL keeps a
record, and the next call brings the same bytes and some more. Prints how many frames and bytes of payload it
wrote, how many calls passed a part, and how many failed.
"""

import argparse
import ctypes
import random
import re
import socket
import ssl
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log", help="is not written")
parser.add_argument("--frames", type=int, default=4000)
options = parser.parse_args()

ASK = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
      b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
         b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
choose = random.Random(6455)


def pass_a_part(context):
    """Sets SSL_MODE_ENABLE_PARTIAL_WRITE, for which Python has no name."""
    library = re.search(r"/\S*libssl\S*", open("/proc/self/maps").read()).group()
    control = ctypes.CDLL(library).SSL_CTX_ctrl
    control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    set_mode, enable_partial_write = 33, 1
    # An object of Python's begins with two words; behind them this one has OpenSSL's context.
    word = ctypes.sizeof(ctypes.c_void_p)
    control(ctypes.c_void_p.from_address(id(context) + 2 * word), set_mode, enable_partial_write, None)


def frame():
    """One of a server, and the length of its payload."""
    length = choose.choice([choose.randrange(126), choose.randrange(126, 700), 40_000])
    header = bytes([0x82, length]) if length < 126 else b"\x82\x7e" + length.to_bytes(2, "big")
    return header + b"\xff" * length, length


server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(options.certificate, options.key)
pass_a_part(server_context)
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client_context.check_hostname = False
client_context.verify_mode = ssl.CERT_NONE
near, far = socket.socketpair()
may_read, has_read = threading.Semaphore(0), threading.Semaphore(0)


def read():
    """Reads what there is whenever it may, a part of a frame at a time."""
    client = client_context.wrap_socket(far)
    client.sendall(ASK)
    client.recv(4096)
    while may_read.acquire():
        client.settimeout(0.005)
        try:
            while client.recv(choose.randrange(1, 65536)):
                pass
            return
        except TimeoutError:
            has_read.release()


print("ready", flush=True)
sys.stdin.readline()
reader = threading.Thread(target=read)
reader.start()
server = server_context.wrap_socket(near, server_side=True)
server.recv(4096)
server.sendall(ANSWER)
server.setblocking(False)
frames = payload = parts = failed = 0
due, least = b"", 1
while due or frames < options.frames:
    while len(due) < 50_000 and frames < options.frames:
        more, length = frame()
        due += more
        payload += length
        frames += 1
    ask = max(least, choose.choice([choose.randrange(1, 513), choose.randrange(1, 45_000)]))
    call = due[:ask]
    try:
        passed = server.send(call)
    except ssl.SSLWantWriteError:
        failed += 1
        # What OpenSSL has begun with must come again, and more may come behind it.
        least = min(len(call) + choose.randrange(100), len(due))
        may_read.release()
        has_read.acquire()
        continue
    least = 1
    parts += passed < len(call)
    due = due[passed:]
server.setblocking(True)
server.close()
may_read.release()
reader.join()
print(frames, payload, parts, failed, flush=True)
sys.stdin.readline()
