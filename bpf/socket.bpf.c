/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* An object of its own, so that a kernel that refuses it refuses nothing else. It is loaded with the
 * maps of the other one. */
#include "socket/socket.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
