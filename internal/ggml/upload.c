#include "upload.h"

#include <stdlib.h>
#include <string.h>

#define PIECES 4         // on their way at once
#define PIECE (1u << 20) // bytes

struct piece {
	ggml_backend_buffer_t buffer;
	ggml_backend_event_t event; // recorded after the piece was sent
	bool sent;
};

struct pg_upload {
	ggml_backend_t backend;
	struct piece pieces[PIECES];
	int next;
};

ggml_backend_buffer_type_t pg_host_type(ggml_backend_dev_t device) {
	ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
	if (strcmp(ggml_backend_reg_name(reg), "Vulkan") == 0 && ggml_backend_reg_dev_get(reg, 0) != device) {
		return NULL;
	}
	return ggml_backend_dev_host_buffer_type(device);
}

static bool open_pieces(struct pg_upload * u, ggml_backend_dev_t device) {
	ggml_backend_buffer_type_t pinned = pg_host_type(device);
	if (!pinned) {
		return false;
	}
	for (int i = 0; i < PIECES; i++) {
		struct piece * p = &u->pieces[i];
		p->buffer = ggml_backend_buft_alloc_buffer(pinned, PIECE);
		p->event = p->buffer ? ggml_backend_event_new(device) : NULL;
		if (!p->event) {
			return false;
		}
	}
	return true;
}

struct pg_upload * pg_upload_new(ggml_backend_t backend) {
	ggml_backend_dev_t device = ggml_backend_get_device(backend);
	struct ggml_backend_dev_props props;
	ggml_backend_dev_get_props(device, &props);
	if (!props.caps.async || !props.caps.host_buffer || !props.caps.events) {
		return NULL;
	}
	struct pg_upload * u = calloc(1, sizeof *u);
	if (u) {
		u->backend = backend;
		if (!open_pieces(u, device)) {
			pg_upload_free(u);
			u = NULL;
		}
	}
	return u;
}

void pg_upload_send(struct pg_upload * u, struct ggml_tensor * t, const void * data, size_t size) {
	for (size_t at = 0; at < size; at += PIECE) {
		size_t n = size - at < PIECE ? size - at : PIECE;
		struct piece * p = &u->pieces[u->next];
		u->next = (u->next + 1) % PIECES;
		if (p->sent) {
			ggml_backend_event_synchronize(p->event);
		}
		void * pinned = ggml_backend_buffer_get_base(p->buffer);
		memcpy(pinned, (const char *) data + at, n);
		ggml_backend_tensor_set_async(u->backend, t, pinned, at, n);
		ggml_backend_event_record(p->event, u->backend);
		p->sent = true;
	}
}

void pg_upload_free(struct pg_upload * u) {
	if (!u) {
		return;
	}
	ggml_backend_synchronize(u->backend);
	for (int i = 0; i < PIECES; i++) {
		ggml_backend_event_free(u->pieces[i].event);
		ggml_backend_buffer_free(u->pieces[i].buffer);
	}
	free(u);
}
