/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The object that taps TLS. It has the ring buffer and the maps, which the object on sockets
 * uses as well. */
#include "tls/tls.bpf.h"
#include "tls/go.bpf.h"
#include "tls/rustls.bpf.h"
#include "zlib/zlib.bpf.h"

/* Keep the contract's types in BTF, from which the Rust ones are generated. */
struct wstap_record record_in_btf;
enum wstap_record_kind kind_in_btf;
struct wstap_process process_in_btf;
struct wstap_zlib_call zlib_call_in_btf;
enum wstap_zlib_verdict zlib_verdict_in_btf;
enum wstap_tapped_flags tapped_flags_in_btf;
enum wstap_direction direction_in_btf;
enum wstap_absent absent_in_btf;
enum wstap_start start_in_btf;
enum wstap_cookie cookie_in_btf;
enum wstap_steer_bits steer_bits_in_btf;
enum wstap_memory_bits memory_bits_in_btf;
struct conn_key conn_key_in_btf;

char LICENSE[] SEC("license") = "Dual MIT/GPL";
