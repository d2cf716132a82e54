"""A neighbour that makes it hard for whoever looks into it.

    hostile.py shrink FILE          maps FILE executable, and truncates and restores it for ever
    hostile.py fifo FILE            maps FILE executable, and puts a named pipe in its place
    hostile.py hang FOLDER FILE     maps FILE executable from a file system that never answers again
    hostile.py ranges FILE COUNT    maps the first page of FILE executable, COUNT times
    hostile.py files FOLDER COUNT   maps COUNT files executable, all different
    hostile.py copies FOLDER FILE COUNT   maps COUNT copies of FILE executable
    hostile.py names FOLDER FILE    has control characters in its name and in that of a mapped file

Prints "ready" when that is done, and ends with its standard input.
"""

import ctypes
import os
import shutil
import struct
import sys
import threading

PROT_READ, PROT_EXEC, MAP_PRIVATE, PR_SET_NAME = 1, 4, 2, 15
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def map_executable(path, length=None, times=1):
    file = os.open(path, os.O_RDONLY)
    length = length or os.fstat(file).st_size
    for _ in range(times):
        address = libc.mmap(None, length, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0)
        if address == ctypes.c_void_p(-1).value:
            sys.exit(f"mmap: {os.strerror(ctypes.get_errno())}")
    os.close(file)


def ready():
    print("ready", flush=True)
    sys.stdin.read()


def shrink(path):
    with open(path, "rb") as file:
        content = file.read()
    map_executable(path)

    def change():
        while True:
            os.truncate(path, PAGE)
            with open(path, "r+b") as file:
                file.write(content)

    threading.Thread(target=change, daemon=True).start()
    ready()


def fifo(path):
    map_executable(path)
    os.unlink(path)
    os.mkfifo(path)
    ready()


def ranges(path, count):
    # Every page is the first one of the file, so the kernel cannot join them.
    map_executable(path, PAGE, int(count))
    ready()


def files(folder, count):
    content = b"\x7fELF" + bytes(PAGE)
    for number in range(int(count)):
        path = os.path.join(folder, f"lib{number}.so")
        with open(path, "wb") as file:
            file.write(content)
        map_executable(path, PAGE)
    ready()


def copies(folder, source, count):
    for number in range(int(count)):
        path = os.path.join(folder, f"lib{number}.so")
        shutil.copy(source, path)
        map_executable(path)
    ready()


def names(folder, source):
    path = os.path.join(folder, "lib\x1b]0;owned\x07.so")
    shutil.copy(source, path)
    map_executable(path)
    libc.prctl(PR_SET_NAME, b"\x1b[2Jevil", 0, 0, 0)
    ready()


# The kernel's FUSE protocol (include/uapi/linux/fuse.h), as much as mapping a file takes.
LOOKUP, GETATTR, OPEN, READ, RELEASE, INIT, FLUSH = 1, 3, 14, 15, 18, 26, 25
ENOSYS, ENOENT = 38, 2
ROOT, IMAGE = 1, 2


def attributes(inode, size):
    mode = 0o40755 if inode == ROOT else 0o100755
    blocks = (size + 511) // 512
    return struct.pack("<QQQQQQIIIIIIIIII", inode, size, blocks, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def serve(device, content):
    opened = 0

    def answer(unique, body=b"", error=0):
        os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)

    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError:
            return
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        body = request[40:]
        if opcode == INIT:
            answer(unique, struct.pack("<IIIIHHIIHHIIHH", 7, 31, 1 << 16, 0, 0, 0, 1 << 16, 1, 0, 0, 0, 0, 0, 0) + bytes(20))
        elif opcode == LOOKUP:
            if body.rstrip(b"\0") == b"image":
                answer(unique, struct.pack("<QQQQII", IMAGE, 1, 3600, 3600, 0, 0) + attributes(IMAGE, len(content)))
            else:
                answer(unique, error=ENOENT)
        elif opcode == GETATTR:
            answer(unique, struct.pack("<QII", 3600, 0, 0) + attributes(node, len(content)))
        elif opcode == OPEN:
            opened += 1
            if opened == 1:
                answer(unique, struct.pack("<QII", 1, 0, 0))
        elif opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            answer(unique, content[offset:offset + size])
        elif opcode in (RELEASE, FLUSH):
            answer(unique)
        else:
            answer(unique, error=ENOSYS)


def hang(folder, source):
    with open(source, "rb") as file:
        content = file.read()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"hanging", folder.encode(), b"fuse.hanging", 0, options.encode()) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    threading.Thread(target=serve, args=(device, content), daemon=True).start()
    map_executable(os.path.join(folder, "image"))
    ready()
    libc.umount2(folder.encode(), 2)
    os._exit(0)


# The last two arguments name a log, which other peers write.
{"shrink": shrink, "fifo": fifo, "hang": hang, "ranges": ranges, "files": files, "copies": copies, "names": names}[sys.argv[1]](*sys.argv[2:-2])
