#pragma once

#include "ggml-backend.h"

// Weights on their way to a device: copied into pinned memory and sent from there, piece by
// piece, so that the device takes one while the next is read.
struct pg_upload;

// NULL where the device has no pinned memory, does not work asynchronously or knows no
// events, or where there is no memory.
struct pg_upload * pg_upload_new(ggml_backend_t backend);

void pg_upload_send(struct pg_upload * u, struct ggml_tensor * t, const void * data, size_t size);

// Waits for all that was sent.
void pg_upload_free(struct pg_upload * u);
