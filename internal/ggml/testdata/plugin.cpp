// A plug-in for tests. TREE: the hash of ggml's sources that it says it was made of.
// API: the version of the interface, as it has it. DEVICES: their number. THROW, MISSING,
// NOTHING: what ggml_backend_init does wrong; without API there is none. LOG: what it says
// before, in ggml's log. CERR: what it and the device say on std::cerr. OPEN, MEMORY: what
// happens where a GPU is opened, or asked for its memory. NAME: that of the backend.
#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "ggml-backend.h"
#include "ggml.h"

#ifdef TREE
__attribute__((used, section(".paligemma"))) static const char tree[] = TREE;
#endif

#ifdef API
// As in ggml-backend-impl.h, which is not among the public headers.
struct ggml_backend_reg {
	int api_version;
	const char * (*get_name)(ggml_backend_reg_t);
	size_t (*get_device_count)(ggml_backend_reg_t);
	ggml_backend_dev_t (*get_device)(ggml_backend_reg_t, size_t);
	void * (*get_proc_address)(ggml_backend_reg_t, const char *);
	void * context;
};

struct ggml_backend_device {
	const char * (*get_name)(ggml_backend_dev_t);
	const char * (*get_description)(ggml_backend_dev_t);
	void (*get_memory)(ggml_backend_dev_t, size_t *, size_t *);
	enum ggml_backend_dev_type (*get_type)(ggml_backend_dev_t);
	void * props;
	ggml_backend_t (*open)(ggml_backend_dev_t, const char *);
	void * memory_type;
	ggml_backend_buffer_type_t (*host_type)(ggml_backend_dev_t);
	void * others[7];
	ggml_backend_reg_t reg;
	void * context;
};

#ifndef NAME
#define NAME "FAKE"
#endif
static const char * name(ggml_backend_reg_t) { return NAME; }
static const char * device_name(ggml_backend_dev_t device) { return (const char *) device->context; }

[[maybe_unused]] static void nothing() {}
[[maybe_unused]] static void fail() { throw std::runtime_error("the driver is broken"); }
[[maybe_unused]] static void once() {
	static int calls;
	calls++ == 0 ? fail() : abort();
}
[[maybe_unused]] static void crash() { *(volatile int *) nullptr = 0; }

static void say() {
#ifdef CERR
	std::cerr << "ggml_fake: " << CERR << 1 << "." << std::endl;
#endif
}

static void memory(ggml_backend_dev_t, size_t * free, size_t * total) {
#ifdef MEMORY
	MEMORY();
#endif
	*free = 1, *total = 2;
}

static ggml_backend_t open(ggml_backend_dev_t, const char *) {
	say();
#ifdef OPEN
	OPEN();
#endif
	return nullptr;
}

static enum ggml_backend_dev_type type(ggml_backend_dev_t) {
#if defined(OPEN) || defined(MEMORY)
	return GGML_BACKEND_DEVICE_TYPE_GPU;
#endif
	return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

static ggml_backend_buffer_type_t host_type(ggml_backend_dev_t) { return (ggml_backend_buffer_type_t) 1; } // any

extern ggml_backend_reg fake;
#define DEVICE(name) { device_name, device_name, memory, type, nullptr, open, nullptr, host_type, {}, &fake, (void *) name }
static ggml_backend_device devices[] = { DEVICE("EMPTY0"), DEVICE("EMPTY1") };
static size_t count(ggml_backend_reg_t) { return DEVICES; }
static ggml_backend_dev_t get(ggml_backend_reg_t, size_t i) { return &devices[i]; }
ggml_backend_reg fake = { API, name, count, get, nullptr, nullptr };

extern "C" int ggml_missing(void);

extern "C" void ggml_log_internal(enum ggml_log_level level, const char * format, ...); // of ggml-impl.h

extern "C" ggml_backend_reg_t ggml_backend_init(void) {
#ifdef LOG
	ggml_log_internal(GGML_LOG_LEVEL_ERROR, "%s: %s\n", "ggml_cuda_init", LOG);
#endif
	say();
#ifdef THROW
	throw std::runtime_error("the driver is broken");
#endif
#ifdef MISSING
	return ggml_missing() ? &fake : nullptr;
#endif
#ifdef NOTHING
	return nullptr;
#endif
	return ggml_version() ? &fake : nullptr;
}
#endif
