/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Programs that do nothing: the least that probes can cost at their sites. */
__attribute__((section("uprobe.multi/entry"), used)) int empty_entry(void *ctx)
{
	(void)ctx;
	return 0;
}

__attribute__((section("uprobe.multi/return"), used)) int empty_return(void *ctx)
{
	(void)ctx;
	return 0;
}

char LICENSE[] __attribute__((section("license"), used)) = "Dual MIT/GPL";
