// What C++ code writes to std::cerr, as ggml's Vulkan backend does, is a warning like
// those of ggml's log.
#include <iostream>
#include <streambuf>

extern "C" {
#include "log.h"
}

namespace {

class LogBuffer : public std::streambuf {
protected:
	int_type overflow(int_type c) override {
		if (!traits_type::eq_int_type(c, traits_type::eof())) {
			add(traits_type::to_char_type(c));
		}
		return traits_type::not_eof(c);
	}

	std::streamsize xsputn(const char * text, std::streamsize n) override {
		for (std::streamsize i = 0; i < n; i++) {
			add(text[i]);
		}
		return n;
	}

private:
	static void add(char c) {
		thread_local char line[512];
		thread_local size_t length;
		if (length < sizeof line - 2) { // of a longer line the start
			line[length++] = c;
		}
		if (c == '\n') {
			line[length - 1] = '\n';
			line[length] = 0;
			length = 0;
			pg_log(GGML_LOG_LEVEL_WARN, line, nullptr);
		}
	}
};

} // namespace

// The buffer stays: libraries may write when the process ends.
extern "C" void pg_log_cerr(void) { std::cerr.rdbuf(new LogBuffer); }
