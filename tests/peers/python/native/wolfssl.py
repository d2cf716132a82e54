"""wolfSSL (wolfssl/ssl.h)."""

import ctypes

from . import connect, require

VERIFY_NONE = 0
# The peer has said that it will send no more.
ZERO_RETURN = 6

library = ctypes.CDLL("libwolfssl.so.35")
for function in ("wolfSSLv23_client_method", "wolfSSL_CTX_new", "wolfSSL_new"):
    getattr(library, function).restype = ctypes.c_void_p
library.wolfSSL_CTX_new.argtypes = [ctypes.c_void_p]
library.wolfSSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
library.wolfSSL_new.argtypes = [ctypes.c_void_p]
for function in ("wolfSSL_connect", "wolfSSL_free"):
    getattr(library, function).argtypes = [ctypes.c_void_p]
for function in ("wolfSSL_set_fd", "wolfSSL_get_error"):
    getattr(library, function).argtypes = [ctypes.c_void_p, ctypes.c_int]
for function in ("wolfSSL_write", "wolfSSL_read"):
    getattr(library, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]

library.wolfSSL_Init()
context = library.wolfSSL_CTX_new(library.wolfSSLv23_client_method())
library.wolfSSL_CTX_set_verify(context, VERIFY_NONE, None)


class Connection:
    def __init__(self, port):
        self.socket = connect(port)
        self.buffer = ctypes.create_string_buffer(16384)
        self.ssl = library.wolfSSL_new(context)
        library.wolfSSL_set_fd(self.ssl, self.socket.fileno())
        require(library.wolfSSL_connect(self.ssl) == 1, "wolfSSL_connect")

    def send(self, data):
        count = library.wolfSSL_write(self.ssl, data, len(data))
        require(count > 0, "wolfSSL_write")
        return count

    def receive(self):
        count = library.wolfSSL_read(self.ssl, self.buffer, len(self.buffer))
        if count <= 0:
            error = library.wolfSSL_get_error(self.ssl, count)
            require(error == ZERO_RETURN, f"wolfSSL_read: {error}")
            count = 0
        return self.buffer.raw[:count]

    def close(self):
        library.wolfSSL_free(self.ssl)
        self.socket.close()
