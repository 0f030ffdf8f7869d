// Waiting for another thread to change a number: a while by spinning, then asleep, so that whoever has the other
// thread's core can have this one.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#ifdef __linux__
#define PG_WAITS 1

// pg_await returns when *word is seen no longer, and reports whether it slept. sleepers counts those that sleep.
bool pg_await(atomic_int * word, int seen, atomic_int * sleepers);

// pg_wake wakes those that wait for *word, which has changed, if any of them sleeps.
void pg_wake(atomic_int * word, atomic_int * sleepers);

#endif
