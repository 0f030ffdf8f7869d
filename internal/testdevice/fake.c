//go:build rpc

#include "fake.h"

#include <stdlib.h>
#include <string.h>

#include "ggml-backend-impl.h"
#include "ggml-cpu.h"

struct fake {
	const char * name;
	bool adopts; // memory of the program
	size_t free; // bytes; 0: unknown
	struct ggml_backend_buffer_type memory, pinned;
};

// A copy that is under way.
struct copy {
	void * to;
	const void * from;
	size_t size;
};

struct stream {
	ggml_backend_t cpu;
	struct copy * copies;
	size_t n, done, room;
};

struct event {
	struct stream * stream;
	size_t until;
};

static int sent, adopted, computed;

int pg_fake_sent(void) { return sent; }
int pg_fake_adopted(void) { return adopted; }
int pg_fake_computed(void) { return computed; }

// --- memory

static bool bounded;
static int64_t room; // bytes, where bounded

void pg_fake_room(int64_t bytes) {
	bounded = bytes >= 0;
	room = bytes;
}

static void memory_free(ggml_backend_buffer_t b) {
	room += (int64_t) b->size;
	free(b->context);
}
static void nothing_free(ggml_backend_buffer_t b) { (void) b; }
static void * memory_base(ggml_backend_buffer_t b) { return b->context; }
static void memory_memset(ggml_backend_buffer_t b, struct ggml_tensor * t, uint8_t value, size_t at, size_t n) {
	(void) b;
	memset((char *) t->data + at, value, n);
}
static void memory_set(ggml_backend_buffer_t b, struct ggml_tensor * t, const void * data, size_t at, size_t n) {
	(void) b;
	memcpy((char *) t->data + at, data, n);
}
static void memory_get(ggml_backend_buffer_t b, const struct ggml_tensor * t, void * data, size_t at, size_t n) {
	(void) b;
	memcpy(data, (const char *) t->data + at, n);
}
static void memory_clear(ggml_backend_buffer_t b, uint8_t value) { memset(b->context, value, b->size); }

static const struct ggml_backend_buffer_i memory_functions = {
	.free_buffer = memory_free,
	.get_base = memory_base,
	.memset_tensor = memory_memset,
	.set_tensor = memory_set,
	.get_tensor = memory_get,
	.clear = memory_clear,
};

static ggml_backend_buffer_t memory_allocate(ggml_backend_buffer_type_t type, size_t size) {
	if (bounded && (int64_t) size > room) {
		return NULL;
	}
	void * p = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
	if (!p) {
		return NULL;
	}
	room -= (int64_t) size;
	return ggml_backend_buffer_init(type, memory_functions, p, size);
}
static size_t memory_alignment(ggml_backend_buffer_type_t type) {
	(void) type;
	return 64;
}
static const char * memory_name(ggml_backend_buffer_type_t type) { return ((struct fake *) type->context)->name; }
static bool pinned_is_host(ggml_backend_buffer_type_t type) {
	(void) type;
	return true;
}

// --- streams

static void stream_run(struct stream * s, size_t until) {
	for (; s->done < until; s->done++) {
		memcpy(s->copies[s->done].to, s->copies[s->done].from, s->copies[s->done].size);
	}
}
static const char * stream_name(ggml_backend_t b) { return ((struct fake *) b->device->context)->name; }
static void stream_free(ggml_backend_t b) {
	struct stream * s = b->context;
	ggml_backend_free(s->cpu);
	free(s->copies);
	free(s);
	free(b);
}
static void stream_copy(struct stream * s, void * to, const void * from, size_t n) {
	if (s->n == s->room) {
		s->room = 2 * s->room + 64;
		s->copies = realloc(s->copies, s->room * sizeof *s->copies);
	}
	s->copies[s->n++] = (struct copy) { to, from, n };
}
static void stream_set(ggml_backend_t b, struct ggml_tensor * t, const void * data, size_t at, size_t n) {
	stream_copy(b->context, (char *) t->data + at, data, n);
	sent++;
}
static void stream_get(ggml_backend_t b, const struct ggml_tensor * t, void * data, size_t at, size_t n) {
	stream_copy(b->context, data, (const char *) t->data + at, n);
}
static void stream_synchronize(ggml_backend_t b) {
	struct stream * s = b->context;
	stream_run(s, s->n);
}
static enum ggml_status stream_compute(ggml_backend_t b, struct ggml_cgraph * graph) {
	stream_synchronize(b);
	computed++;
	return ggml_backend_graph_compute(((struct stream *) b->context)->cpu, graph);
}
static void stream_record(ggml_backend_t b, ggml_backend_event_t e) { *(struct event *) e->context = (struct event) { b->context, ((struct stream *) b->context)->n }; }
static void stream_wait(ggml_backend_t b, ggml_backend_event_t e) {
	(void) b;
	struct event * event = e->context;
	stream_run(event->stream, event->until);
}

static struct ggml_backend_i stream_functions = {
	.get_name = stream_name,
	.free = stream_free,
	.set_tensor_async = stream_set,
	.get_tensor_async = stream_get,
	.synchronize = stream_synchronize,
	.graph_compute = stream_compute,
	.event_record = stream_record,
	.event_wait = stream_wait,
};

// --- devices

static const char * device_name(ggml_backend_dev_t d) { return ((struct fake *) d->context)->name; }
static const char * device_description(ggml_backend_dev_t d) {
	(void) d;
	return "a device for tests";
}
static void device_memory(ggml_backend_dev_t d, size_t * free, size_t * total) {
	*free = *total = ((struct fake *) d->context)->free;
}
static enum ggml_backend_dev_type device_type(ggml_backend_dev_t d) {
	(void) d;
	return GGML_BACKEND_DEVICE_TYPE_GPU;
}
static void device_props(ggml_backend_dev_t d, struct ggml_backend_dev_props * props) {
	bool adopts = ((struct fake *) d->context)->adopts;
	props->name = device_name(d);
	props->description = device_description(d);
	props->type = device_type(d);
	props->caps = (struct ggml_backend_dev_caps) { .async = !adopts, .host_buffer = !adopts, .events = !adopts, .buffer_from_host_ptr = adopts };
}
static ggml_backend_t device_init(ggml_backend_dev_t d, const char * params) {
	(void) params;
	static ggml_guid guid = "pg-test-device-";
	ggml_backend_t b = calloc(1, sizeof *b);
	struct stream * s = calloc(1, sizeof *s);
	s->cpu = ggml_backend_cpu_init();
	ggml_backend_cpu_set_n_threads(s->cpu, 1);
	*b = (struct ggml_backend) { &guid, stream_functions, d, s };
	return b;
}
static ggml_backend_buffer_type_t device_memory_type(ggml_backend_dev_t d) { return &((struct fake *) d->context)->memory; }
static ggml_backend_buffer_type_t device_pinned_type(ggml_backend_dev_t d) {
	struct fake * f = d->context;
	return f->adopts ? NULL : &f->pinned;
}
static ggml_backend_buffer_t device_adopt(ggml_backend_dev_t d, void * p, size_t size, size_t largest) {
	(void) largest;
	struct ggml_backend_buffer_i functions = memory_functions;
	functions.free_buffer = nothing_free;
	adopted++;
	return ggml_backend_buffer_init(device_memory_type(d), functions, p, size);
}
static bool device_supports_op(ggml_backend_dev_t d, const struct ggml_tensor * op) {
	(void) d;
	return op->op != GGML_OP_CUSTOM;
}
static bool device_supports_type(ggml_backend_dev_t d, ggml_backend_buffer_type_t type) { return type == device_memory_type(d); }
static ggml_backend_event_t device_event_new(ggml_backend_dev_t d) {
	ggml_backend_event_t e = malloc(sizeof *e);
	*e = (struct ggml_backend_event) { d, calloc(1, sizeof(struct event)) };
	return e;
}
static void device_event_free(ggml_backend_dev_t d, ggml_backend_event_t e) {
	(void) d;
	free(e->context);
	free(e);
}
static void device_event_synchronize(ggml_backend_dev_t d, ggml_backend_event_t e) {
	(void) d;
	stream_wait(NULL, e);
}

static const char * registry_name(ggml_backend_reg_t r) {
	(void) r;
	return "fake";
}
static struct ggml_backend_reg registry = { GGML_BACKEND_API_VERSION, { .get_name = registry_name }, NULL };

#define FAKES 3

static struct fake fakes[FAKES] = { { .name = "FAKE0" }, { .name = "FAKE1", .adopts = true }, { .name = "FAKE2", .free = 100 << 20 } };
static struct ggml_backend_device devices[FAKES];

void pg_fake_register(void) {
	for (int i = 0; i < FAKES; i++) {
		struct fake * f = &fakes[i];
		struct ggml_backend_buffer_type_i type = { .get_name = memory_name, .alloc_buffer = memory_allocate, .get_alignment = memory_alignment };
		f->memory = (struct ggml_backend_buffer_type) { type, &devices[i], f };
		type.is_host = pinned_is_host;
		f->pinned = (struct ggml_backend_buffer_type) { type, &devices[i], f };
		devices[i] = (struct ggml_backend_device) {
			.iface = {
				.get_name = device_name,
				.get_description = device_description,
				.get_memory = device_memory,
				.get_type = device_type,
				.get_props = device_props,
				.init_backend = device_init,
				.get_buffer_type = device_memory_type,
				.get_host_buffer_type = device_pinned_type,
				.buffer_from_host_ptr = device_adopt,
				.supports_op = device_supports_op,
				.supports_buft = device_supports_type,
				.event_new = device_event_new,
				.event_free = device_event_free,
				.event_synchronize = device_event_synchronize,
			},
			.reg = &registry,
			.context = f,
		};
		ggml_backend_device_register(&devices[i]);
	}
}
