// Threads that share the work of custom operations.
//
// ggml's threads all go through every operation, and each waits for all others after it. One that has lost its core to
// another process holds up the rest although it has nothing left to do. A team is told of one operation at a time: its
// leader, the thread that computes the graph, does what is to be done, and the helpers that run take a part of it. The
// leader waits only for parts that somebody has taken.
#pragma once

#include "ggml.h"

#include <stdbool.h>
#include <stdint.h>

struct pg_team;

// pg_team_new starts a team of threads, the leader counted; NULL if it cannot. pg_team_free ends it.
struct pg_team * pg_team_new(int threads);
void pg_team_free(struct pg_team * team);

// pg_team_lead makes the calling thread lead a team, or none.
void pg_team_lead(struct pg_team * team);

// pg_together runs an operation by all who are there of the team that the calling thread leads, and reports whether it
// did: it does not without a team or within such an operation. The operation takes its parts by pg_next alone, and
// depends on nothing else in which of them it takes. work is how many values it reads: the leader does what is small.
bool pg_together(ggml_custom_op_t op, struct ggml_tensor * dst, void * userdata, int64_t work);

// Parts of an operation, taken by one thread after the other where a team runs it; else each thread has its own.
struct parts {
	int64_t from, to; // items of the part that was taken last
	int64_t all;
	int next, step, count; // step is 0 where parts are drawn
	bool shrink;           // from the first part to the last
	bool peeked;           // whether the part [then, then_to) has been taken, too
	int64_t then, then_to;
};

// pg_parts deals out all items, and pg_next takes a part and reports whether there was one.
struct parts pg_parts(int64_t all, int ith, int nth);
bool pg_next(struct parts * p);

// pg_peek takes the part after this one, so that what it needs can be asked for, and returns its first item; the number
// of all items if there is none. The next call of pg_next gives that part.
int64_t pg_peek(struct parts * p);
