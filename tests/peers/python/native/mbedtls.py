"""Mbed TLS 2.28 (mbedtls/ssl.h, net_sockets.h, entropy.h, ctr_drbg.h)."""

import ctypes

from . import connect, require

IS_CLIENT, TRANSPORT_STREAM, PRESET_DEFAULT, VERIFY_NONE = 0, 0, 0, 0
PEER_CLOSE_NOTIFY = -0x7880
# The structs are the caller's to allocate; none is larger (that of the entropy has some 40 KiB).
STRUCT_BYTES = 131072

crypto = ctypes.CDLL("libmbedcrypto.so.7")
library = ctypes.CDLL("libmbedtls.so.14")
for function in ("mbedtls_ssl_write", "mbedtls_ssl_read"):
    getattr(library, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]


def struct(initialise):
    memory = ctypes.create_string_buffer(STRUCT_BYTES)
    initialise(memory)
    return memory


def address(function):
    return ctypes.cast(function, ctypes.c_void_p)


class Connection:
    def __init__(self, port):
        self.socket = connect(port)
        self.buffer = ctypes.create_string_buffer(16384)
        self.entropy = struct(crypto.mbedtls_entropy_init)
        self.random = struct(crypto.mbedtls_ctr_drbg_init)
        self.config = struct(library.mbedtls_ssl_config_init)
        self.ssl = struct(library.mbedtls_ssl_init)
        gather = address(crypto.mbedtls_entropy_func)
        seeded = crypto.mbedtls_ctr_drbg_seed(self.random, gather, self.entropy, None, 0)
        require(seeded == 0, "mbedtls_ctr_drbg_seed")
        defaults = (IS_CLIENT, TRANSPORT_STREAM, PRESET_DEFAULT)
        library.mbedtls_ssl_config_defaults(self.config, *defaults)
        library.mbedtls_ssl_conf_authmode(self.config, VERIFY_NONE)
        library.mbedtls_ssl_conf_rng(
            self.config, address(crypto.mbedtls_ctr_drbg_random), self.random
        )
        require(library.mbedtls_ssl_setup(self.ssl, self.config) == 0, "mbedtls_ssl_setup")
        self.descriptor = ctypes.c_int(self.socket.fileno())
        send, receive = address(library.mbedtls_net_send), address(library.mbedtls_net_recv)
        library.mbedtls_ssl_set_bio(
            self.ssl, ctypes.byref(self.descriptor), send, receive, None
        )
        require(library.mbedtls_ssl_handshake(self.ssl) == 0, "mbedtls_ssl_handshake")

    def send(self, data):
        count = library.mbedtls_ssl_write(self.ssl, data, len(data))
        require(count > 0, "mbedtls_ssl_write")
        return count

    def receive(self):
        count = library.mbedtls_ssl_read(self.ssl, self.buffer, len(self.buffer))
        if count == PEER_CLOSE_NOTIFY:
            count = 0
        require(count >= 0, f"mbedtls_ssl_read: {count}")
        return self.buffer.raw[:count]

    def close(self):
        library.mbedtls_ssl_free(self.ssl)
        library.mbedtls_ssl_config_free(self.config)
        crypto.mbedtls_ctr_drbg_free(self.random)
        crypto.mbedtls_entropy_free(self.entropy)
        self.socket.close()
