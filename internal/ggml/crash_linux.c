// A crash in a GPU's driver is one line, and no trace of threads that have nothing to do with it.
#define _GNU_SOURCE
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "end.h"
#include "plugin.h"

// Not SIGBUS: that comes of mapped files (internal/guard), which libraries read, too.
static const struct {
	int number;
	const char * name;
} crashes[] = { { SIGSEGV, "SIGSEGV" }, { SIGFPE, "SIGFPE" }, { SIGILL, "SIGILL" }, { SIGABRT, "SIGABRT" } };

static const size_t kinds = sizeof crashes / sizeof *crashes;

static struct sigaction previous[NSIG]; // Go's own handlers

static struct {
	uintptr_t start, end;
} program; // where its code and data lie

static int find_program(struct dl_phdr_info * info, size_t size, void * data) {
	(void) size, (void) data;
	program.start = UINTPTR_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) * p = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + p->p_vaddr;
		if (p->p_type == PT_LOAD) {
			program.start = start < program.start ? start : program.start;
			program.end = start + p->p_memsz > program.end ? start + p->p_memsz : program.end;
		}
	}
	return 1; // the program is the first of all
}

static uintptr_t instruction(const void * context) {
	const ucontext_t * c = context;
#if defined(__x86_64__)
	return c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return c->uc_mcontext.pc;
#else
	(void) c;
	return program.start; // not known
#endif
}

// Calls only what may be called in a handler.
static void end_of_driver(int number) {
	char line[200];
	char * at = stpcpy(line, "paligemma: a GPU's driver crashed");
	for (size_t i = 0; i < kinds; i++) {
		if (crashes[i].number == number) {
			at = stpcpy(stpcpy(stpcpy(at, " ("), crashes[i].name), ")");
		}
	}
	stpcpy(at, ": update it, or do without it (--device cpu, or PALIGEMMA_BACKENDS= in the environment)\n");
	pg_end(line);
}

// is_crash reports whether a signal is a fault, or of abort, and not one that somebody sent.
static bool is_crash(int number, const siginfo_t * info) {
	return info->si_code > 0 || (number == SIGABRT && info->si_code == SI_TKILL);
}

// What happens in libc counts as a driver's, too: whose call it was is not known.
static void on_crash(int number, siginfo_t * info, void * context) {
	uintptr_t at = instruction(context);
	if (is_crash(number, info) && (at < program.start || at >= program.end)) {
		end_of_driver(number);
	}
	const struct sigaction * next = &previous[number];
	if (next->sa_flags & SA_SIGINFO) {
		next->sa_sigaction(number, info, context);
	} else if (next->sa_handler == SIG_DFL || next->sa_handler == SIG_IGN) {
		signal(number, SIG_DFL); // the fault happens again on return
	} else {
		next->sa_handler(number);
	}
}

void pg_expect_crashes(void) {
	dl_iterate_phdr(find_program, NULL);
	struct sigaction action = { 0 };
	action.sa_sigaction = on_crash;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < kinds; i++) {
		int number = crashes[i].number;
		if (sigaction(number, NULL, &previous[number]) == 0) {
			sigaction(number, &action, NULL);
		}
	}
}
