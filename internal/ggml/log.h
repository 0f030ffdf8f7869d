// What ggml says, and what becomes of it.
#ifndef PG_LOG_H
#define PG_LOG_H

#include <stddef.h>

#include "ggml.h"

// The callback for ggml_log_set.
void pg_log(enum ggml_log_level level, const char * text, void * data);

// Shows what is of this level and above on stderr; 0: nothing.
void pg_log_set_level(int level);

// Has what is written to std::cerr go to pg_log.
void pg_log_cerr(void);

// From begin to end the calling thread's first warning or error is kept in text, and
// nothing of what it logs is shown.
void pg_log_keep_begin(char * text, size_t size);
void pg_log_keep_end(void);

#endif
