#include "log.h"

#include <stdatomic.h>
#include <stdio.h>

static atomic_int min_level;

static _Thread_local char * kept;
static _Thread_local size_t kept_size;

void pg_log(enum ggml_log_level level, const char * text, void * data) {
	(void) data;
	if (kept) {
		if (!*kept && (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR)) {
			snprintf(kept, kept_size, "%s", text);
		}
		return;
	}
	int min = atomic_load(&min_level);
	if (min > 0 && (int) level >= min && level != GGML_LOG_LEVEL_CONT) {
		fputs(text, stderr);
	}
}

void pg_log_set_level(int level) { atomic_store(&min_level, level); }

void pg_log_keep_begin(char * text, size_t size) {
	*text = 0;
	kept = text;
	kept_size = size;
}

void pg_log_keep_end(void) { kept = NULL; }
