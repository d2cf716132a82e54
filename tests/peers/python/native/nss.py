"""NSS over NSPR (nss/ssl.h, nspr/prio.h).

NSPR's functions serve every other file as well: each connection has two pipes beside it, to which it
writes what it sends and from which it reads that again. One of them has a layer at each end that
changes nothing, as an application may have for what is not TLS.
"""

import ctypes
import os
import socket

from . import require

SECURITY, HANDSHAKE_AS_CLIENT = 1, 5
TOP_LAYER = -2
NO_TIMEOUT = ctypes.c_uint32(0xFFFFFFFF)

nspr = ctypes.CDLL("libnspr4.so")
nss = ctypes.CDLL("libnss3.so")
library = ctypes.CDLL("libssl3.so")
for owner, function in (
    (nspr, "PR_OpenTCPSocket"),
    (nspr, "PR_CreateIOLayerStub"),
    (nspr, "PR_GetDefaultIOMethods"),
    (library, "SSL_ImportFD"),
):
    getattr(owner, function).restype = ctypes.c_void_p
nspr.PR_CreateIOLayerStub.argtypes = [ctypes.c_int, ctypes.c_void_p]
nspr.PR_PushIOLayer.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
library.SSL_ImportFD.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
library.SSL_OptionSet.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
library.SSL_AuthCertificateHook.argtypes = [ctypes.c_void_p] * 3
library.SSL_ResetHandshake.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.SSL_ForceHandshake.argtypes = [ctypes.c_void_p]
library.SSL_SetURL.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
nspr.PR_Connect.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
nspr.PR_FileDesc2NativeHandle.argtypes = [ctypes.c_void_p]
nspr.PR_Close.argtypes = [ctypes.c_void_p]
for function in ("PR_Write", "PR_Read"):
    getattr(nspr, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32]

believe = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int] * 2)(
    lambda *_: 0
)
identity = nspr.PR_GetUniqueIdentity(b"nothing")
require(nss.NSS_NoDB_Init(None) == 0, "NSS_NoDB_Init")
library.NSS_SetDomesticPolicy()


def pipe():
    ends = (ctypes.c_void_p * 2)()
    first, second = ctypes.byref(ends, 0), ctypes.byref(ends, ctypes.sizeof(ctypes.c_void_p))
    require(nspr.PR_CreatePipe(first, second) == 0, "PR_CreatePipe")
    return list(ends)


def layered(file):
    layer = nspr.PR_CreateIOLayerStub(identity, nspr.PR_GetDefaultIOMethods())
    require(nspr.PR_PushIOLayer(file, TOP_LAYER, layer) == 0, "PR_PushIOLayer")
    return file


class Connection:
    def __init__(self, port):
        self.buffer = ctypes.create_string_buffer(16384)
        # struct sockaddr_in, with which PRNetAddr begins.
        address = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big")
        address += socket.inet_aton("127.0.0.1") + bytes(104)
        plain = nspr.PR_OpenTCPSocket(socket.AF_INET)
        self.file = library.SSL_ImportFD(None, plain)
        require(self.file, "SSL_ImportFD")
        library.SSL_OptionSet(self.file, SECURITY, 1)
        library.SSL_OptionSet(self.file, HANDSHAKE_AS_CLIENT, 1)
        library.SSL_AuthCertificateHook(self.file, ctypes.cast(believe, ctypes.c_void_p), None)
        library.SSL_SetURL(self.file, b"localhost")
        require(nspr.PR_Connect(self.file, address, NO_TIMEOUT) == 0, "PR_Connect")
        library.SSL_ResetHandshake(self.file, 0)
        require(library.SSL_ForceHandshake(self.file) == 0, "SSL_ForceHandshake")
        with socket.socket(fileno=os.dup(nspr.PR_FileDesc2NativeHandle(self.file))) as native:
            native.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipes = [pipe(), list(map(layered, pipe()))]

    def send(self, data):
        count = nspr.PR_Write(self.file, data, len(data))
        require(count > 0, "PR_Write")
        beside = data[: min(count, 4096)]
        for source, sink in self.pipes:
            require(nspr.PR_Write(sink, beside, len(beside)) == len(beside), "PR_Write")
            require(nspr.PR_Read(source, self.buffer, len(beside)) == len(beside), "PR_Read")
        return count

    def receive(self):
        count = nspr.PR_Read(self.file, self.buffer, len(self.buffer))
        require(count >= 0, "PR_Read")
        return self.buffer.raw[:count]

    def close(self):
        for file in (self.file, *self.pipes[0], *self.pipes[1]):
            nspr.PR_Close(file)
