// What ggml's kernels were compiled for. No code: this object is compiled with their flags, and read on
// processors that may lack what those ask for.
#include "../../internal/ggml/instructions.h"

#ifdef INSTRUCTIONS
#define TEXT(macro) #macro
#define ENTRY(name, macro, ...) TEXT(macro),
const char * const pg_built_for[] = { INSTRUCTIONS(ENTRY) };
#else
const char * const pg_built_for[] = { "" };
#endif

#ifdef PG_NATIVE
const bool pg_built_native = true;
#else
const bool pg_built_native = false;
#endif
