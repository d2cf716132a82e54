/*
 * `fibers` as an addon of Node.js: the OpenSSL that it calls is the one inside Node's executable.
 *
 *   node -e 'process.dlopen({ exports: {} }, "fibers.node")' [fibers=N] ...
 *
 * Loading it does what `fibers` does with the same words on the command line.
 */
#define main fibers_main
#include "fibers.c"
#undef main

static int count;
static char **arguments;

/* glibc passes main's parameters to constructors. */
__attribute__((constructor)) static void keep(int argc, char **argv)
{
	count = argc;
	arguments = argv;
}

/* Node-API calls this once the addon is loaded. */
__attribute__((visibility("default"))) void *napi_register_module_v1(void *environment, void *exports)
{
	(void)environment;
	fibers_main(count, arguments);
	return exports;
}
