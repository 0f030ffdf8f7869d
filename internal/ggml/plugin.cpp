#include "plugin.h"

#include <cstdio>
#include <exception>

#include "ggml-backend.h"

extern "C" {
#include "log.h"
}

// Calls a backend. Exceptions of it or its driver end here: C and Go could not pass them
// on. What it complains of, or else the exception, is in reason.
template <typename Result, typename Call> static Result guarded(Result failed, char * reason, size_t size, Call call) {
	Result result = failed;
	const char * thrown = nullptr;
	char text[256];
	pg_log_keep_begin(reason, size);
	try {
		result = call();
	} catch (const std::exception & e) {
		snprintf(text, sizeof text, "%s", e.what());
		thrown = text;
	} catch (...) {
		thrown = "it threw an exception";
	}
	pg_log_keep_end();
	if (thrown && !*reason) {
		snprintf(reason, size, "%s", thrown);
	}
	return result;
}

int pg_plugin_load(const char * path, char * reason, size_t size) {
	return guarded(-1, reason, size, [&] {
		ggml_backend_reg_t reg = ggml_backend_load(path);
		return reg ? (int) ggml_backend_reg_dev_count(reg) : -1;
	});
}

ggml_backend_t pg_device_open(ggml_backend_dev_t device, char * reason, size_t size) {
	return guarded((ggml_backend_t) nullptr, reason, size, [&] { return ggml_backend_dev_init(device, nullptr); });
}
