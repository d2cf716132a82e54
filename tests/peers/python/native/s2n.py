"""s2n-tls (s2n.h), which is inside the extension module of awscrt."""

import ctypes
import os

import _awscrt
from . import connect, require

CLIENT = 1
# S2N_ERR_T_CLOSED: the peer has closed the connection.
CLOSED = 2

library = ctypes.CDLL(_awscrt.__file__, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
for function in ("s2n_config_new", "s2n_connection_new", "s2n_errno_location"):
    getattr(library, function).restype = ctypes.c_void_p
library.s2n_config_disable_x509_verification.argtypes = [ctypes.c_void_p]
library.s2n_connection_new.argtypes = [ctypes.c_int]
library.s2n_connection_set_config.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
library.s2n_connection_set_fd.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.s2n_negotiate.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
for function in ("s2n_send", "s2n_recv"):
    getattr(library, function).restype = ctypes.c_ssize_t
    getattr(library, function).argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_ssize_t,
        ctypes.c_void_p,
    ]
library.s2n_connection_free.argtypes = [ctypes.c_void_p]

# The module has done so already; then this fails and changes nothing.
library.s2n_init()
config = library.s2n_config_new()
library.s2n_config_disable_x509_verification(config)


class Connection:
    def __init__(self, port):
        self.socket = connect(port)
        self.buffer = ctypes.create_string_buffer(16384)
        self.blocked = ctypes.byref(ctypes.c_int())
        self.connection = library.s2n_connection_new(CLIENT)
        library.s2n_connection_set_config(self.connection, config)
        library.s2n_connection_set_fd(self.connection, self.socket.fileno())
        require(library.s2n_negotiate(self.connection, self.blocked) == 0, "s2n_negotiate")

    def send(self, data):
        count = library.s2n_send(self.connection, data, len(data), self.blocked)
        require(count > 0, "s2n_send")
        return count

    def receive(self):
        count = library.s2n_recv(self.connection, self.buffer, len(self.buffer), self.blocked)
        if count < 0:
            error = ctypes.c_int.from_address(library.s2n_errno_location())
            require(library.s2n_error_get_type(error) == CLOSED, "s2n_recv")
            count = 0
        return self.buffer.raw[:count]

    def close(self):
        library.s2n_connection_free(self.connection)
        self.socket.close()
