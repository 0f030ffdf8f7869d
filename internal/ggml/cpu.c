#include "end.h"
#include "instructions.h"

#ifdef INSTRUCTIONS
#include <ctype.h>
#include <stdio.h>

#ifdef __x86_64__
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

// Bits of XCR0: the registers that the system keeps for each thread.
enum { STATE_NONE = 0, STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_AMX = 0x60000, STATE_APX = 0x80000 };

static unsigned saved_state(void) {
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
		return STATE_NONE;
	}
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a;
}

static bool available(unsigned leaf, unsigned subleaf, int reg, int bit, unsigned state) {
	unsigned r[4];
	return __get_cpuid_count(leaf, subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) && (r[reg] >> bit & 1) &&
		   (saved_state() & state) == state;
}
#else
#include <sys/auxv.h>

static bool available(unsigned long word, int bit) {
	return getauxval(word) >> bit & 1;
}
#endif

#define ENTRY(name, macro, ...) { name, available(__VA_ARGS__) },

// Writes the sets that the program was built for and the processor lacks, separated by commas, and returns the length.
static size_t list_lacking(char * text, size_t size) {
	const struct {
		const char * name;
		bool here;
	} sets[] = { INSTRUCTIONS(ENTRY) };
	size_t length = 0;
	for (size_t i = 0; i < sizeof sets / sizeof *sets && length < size; i++) {
		if (isdigit((unsigned char) pg_built_for[i][0]) && !sets[i].here) {
			length += snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "", sets[i].name);
		}
	}
	return length;
}

// Ends a program on a processor without the instructions that ggml was built with, before one of them does: ggml has
// constructors, which run after this. Nothing here is compiled for more than every processor has.
__attribute__((constructor(101))) static void check_cpu(void) {
	char lacking[400], line[500];
	if (list_lacking(lacking, sizeof lacking) == 0) {
		return;
	}
	snprintf(line, sizeof line, "paligemma: this program was built for processors with %s, which this one lacks: %s\n",
			 lacking, pg_built_native ? "build it here, or with make NATIVE=0" : "build it here, with make");
	pg_end(line);
}
#endif
