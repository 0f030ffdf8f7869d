#pragma once

#include <stdint.h>

// Devices that compute on the CPU, in memory that they say the program cannot reach.
// FAKE0 has pinned memory and copies only when it is waited for, as a busy GPU does: what is
// sent must stay as it is until then. FAKE1 uses memory of the program in place, as GPUs do
// that share it. FAKE2 is FAKE0 with little memory; the others do not say how much they have.
void pg_fake_register(void);

// How many pieces were sent to FAKE0 asynchronously, how many buffers FAKE1 made of memory of
// the program, and how many graphs all computed.
int pg_fake_sent(void);
int pg_fake_adopted(void);
int pg_fake_computed(void);

// Lets all of them together have so many more bytes of memory from now on, what they free
// included; less than 0: any number.
void pg_fake_room(int64_t bytes);
