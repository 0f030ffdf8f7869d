// GPU backends in files of their own.
#ifndef PG_PLUGIN_H
#define PG_PLUGIN_H

#include <stddef.h>

#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

// Loads a backend and returns the number of its devices, or -1. What ggml or the
// backend complained of is in reason, "" where they did not.
int pg_plugin_load(const char * path, char * reason, size_t size);

// Opens a device, or returns NULL and why in reason.
ggml_backend_t pg_device_open(ggml_backend_dev_t device, char * reason, size_t size);

// From here on a crash outside of the program ends the process with one line. Linux only.
void pg_expect_crashes(void);

#ifdef __cplusplus
}
#endif

#endif
