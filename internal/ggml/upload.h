#pragma once

#include "ggml-backend.h"

// The kind of host memory that a device reads and writes by itself, or NULL. ggml's Vulkan
// backend has that of its first device only, which it opens for it.
ggml_backend_buffer_type_t pg_host_type(ggml_backend_dev_t device);

// Weights on their way to a device: copied into pinned memory and sent from there, piece by
// piece, so that the device takes one while the next is read.
struct pg_upload;

// NULL where the device has no pinned memory, does not work asynchronously or knows no
// events, or where there is no memory.
struct pg_upload * pg_upload_new(ggml_backend_t backend);

void pg_upload_send(struct pg_upload * u, struct ggml_tensor * t, const void * data, size_t size);

// Waits for all that was sent.
void pg_upload_free(struct pg_upload * u);
