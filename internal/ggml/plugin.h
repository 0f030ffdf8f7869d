// GPU backends in files of their own.
#ifndef PG_PLUGIN_H
#define PG_PLUGIN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Loads a backend and returns the number of its devices, or -1. What ggml or the
// backend complained of is in reason, "" where they did not.
int pg_plugin_load(const char * path, char * reason, size_t size);

#ifdef __cplusplus
}
#endif

#endif
