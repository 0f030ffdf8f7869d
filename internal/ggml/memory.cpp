// What C++ calls where it gets no memory, in place of an exception that ends in a
// core dump.
#include <new>

extern "C" void pg_no_memory(void);

extern "C" void pg_set_new_handler(void) { std::set_new_handler(pg_no_memory); }
