"""GnuTLS (gnutls/gnutls.h)."""

import ctypes

from . import connect, require

CLIENT, CREDENTIALS_CERTIFICATE = 2, 1
# The first also after a message that is none of the application's, such as a session ticket.
AGAIN, INTERRUPTED = -28, -52

library = ctypes.CDLL("libgnutls.so.30")
for function in ("gnutls_record_send", "gnutls_record_recv"):
    getattr(library, function).restype = ctypes.c_ssize_t
    getattr(library, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]


class Connection:
    def __init__(self, port):
        self.socket = connect(port)
        self.session, self.credentials = ctypes.c_void_p(), ctypes.c_void_p()
        self.buffer = ctypes.create_string_buffer(16384)
        self.call("init", ctypes.byref(self.session), CLIENT)
        self.call("certificate_allocate_credentials", ctypes.byref(self.credentials))
        self.call("credentials_set", self.session, CREDENTIALS_CERTIFICATE, self.credentials)
        self.call("set_default_priority", self.session)
        descriptor = self.socket.fileno()
        library.gnutls_transport_set_int2(self.session, descriptor, descriptor)
        self.call("handshake", self.session)

    def call(self, name, *arguments):
        result = getattr(library, "gnutls_" + name)(*arguments)
        require(result >= 0, f"gnutls_{name}: {result}")
        return result

    def send(self, data):
        return self.call("record_send", self.session, data, len(data))

    def receive(self):
        while True:
            count = library.gnutls_record_recv(self.session, self.buffer, len(self.buffer))
            if count not in (AGAIN, INTERRUPTED):
                break
        require(count >= 0, "gnutls_record_recv")
        return self.buffer.raw[:count]

    def close(self):
        library.gnutls_deinit(self.session)
        library.gnutls_certificate_free_credentials(self.credentials)
        self.socket.close()
