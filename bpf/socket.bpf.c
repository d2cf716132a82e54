/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The programs on sockets are an object of their own. A kernel that refuses it can still take
 * the other one, whose maps it uses. */
#include "socket/socket.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
