#include "plugin.h"

#include <cstdio>
#include <exception>

#include "ggml-backend.h"

extern "C" {
#include "log.h"
}

// Exceptions of a backend or its driver end here: C and Go could not pass them on.
int pg_plugin_load(const char * path, char * reason, size_t size) {
	int devices = -1;
	pg_log_keep_begin(reason, size);
	try {
		if (ggml_backend_reg_t reg = ggml_backend_load(path)) {
			devices = (int) ggml_backend_reg_dev_count(reg);
		}
	} catch (const std::exception & e) {
		snprintf(reason, size, "%s", e.what());
	} catch (...) {
		snprintf(reason, size, "it threw an exception");
	}
	pg_log_keep_end();
	return devices;
}
