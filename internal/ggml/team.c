#include "team.h"
#include "wait.h"

#define PARTS 8          // for each thread: as many as can be, for the last are waited for
#define SMALL (1 << 14)  // values of an operation that does not take as long as telling others
#define STACK (1 << 20)  // bytes

static _Thread_local struct pg_team * leads;   // the team that this thread leads
static _Thread_local struct pg_team * helping; // the team whose operation it runs

#ifdef PG_WAITS

#include <pthread.h>
#include <stdlib.h>

// The state of a team: how many run its operation, whether more may join, and a number that changes with
// each operation.
#define MEMBERS 0xffff
#define OPEN 0x10000
#define TURN 0x20000

struct helper {
	struct pg_team * team;
	pthread_t thread;
	int ith;
};

struct pg_team {
	_Alignas(64) atomic_int state;
	atomic_int asleep, leader_asleep;
	_Alignas(64) atomic_int next; // part of the operation
	_Alignas(64) atomic_bool ended;
	int threads;
	struct helper * helpers; // threads - 1 of them

	// the operation, which does not change while anybody runs it
	ggml_custom_op_t op;
	struct ggml_tensor * dst;
	void * userdata;
};

static int draw(struct pg_team * t) {
	return atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
}

static void take_part(struct pg_team * t, int ith) {
	helping = t;
	t->op(t->dst, ith, t->threads, t->userdata);
	helping = NULL;
}

static void * help(void * data) {
	const struct helper * h = data;
	struct pg_team * t = h->team;
	int last = 0; // state in which the last operation was joined, without its members
	for (;;) {
		int state = atomic_load(&t->state);
		if (atomic_load(&t->ended)) { // after state, which changes later
			return NULL;
		}
		const int turn = state & ~MEMBERS;
		if (!(state & OPEN) || turn == last) {
			pg_await(&t->state, state, &t->asleep);
			continue;
		}
		if (!atomic_compare_exchange_strong(&t->state, &state, state + 1)) {
			continue;
		}
		last = turn;
		take_part(t, h->ith);
		if (((atomic_fetch_sub(&t->state, 1) - 1) & (MEMBERS | OPEN)) == 0) {
			pg_wake(&t->state, &t->leader_asleep);
		}
	}
}

static bool start(struct pg_team * t, struct helper * h, int ith) {
	*h = (struct helper) {.team = t, .ith = ith};
	pthread_attr_t attributes;
	if (pthread_attr_init(&attributes) != 0) {
		return false;
	}
	pthread_attr_setstacksize(&attributes, STACK);
	const int refused = pthread_create(&h->thread, &attributes, help, h);
	pthread_attr_destroy(&attributes);
	return refused == 0;
}

struct pg_team * pg_team_new(int threads) {
	struct pg_team * t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
	if (!t) {
		return NULL;
	}
	*t = (struct pg_team) {.threads = 1, .helpers = calloc(threads, sizeof *t->helpers)};
	while (t->helpers && t->threads < threads && start(t, &t->helpers[t->threads - 1], t->threads)) {
		t->threads++;
	}
	if (t->threads < threads) {
		pg_team_free(t);
		return NULL;
	}
	return t;
}

void pg_team_free(struct pg_team * t) {
	if (!t) {
		return;
	}
	atomic_store(&t->ended, true);
	atomic_fetch_add(&t->state, TURN);
	pg_wake(&t->state, &t->asleep);
	for (int i = 0; i < t->threads - 1; i++) {
		pthread_join(t->helpers[i].thread, NULL);
	}
	free(t->helpers);
	free(t);
}

bool pg_together(ggml_custom_op_t op, struct ggml_tensor * dst, void * userdata, int64_t work) {
	struct pg_team * t = leads;
	if (!t || helping || work < SMALL) {
		return false;
	}
	t->op = op;
	t->dst = dst;
	t->userdata = userdata;
	atomic_store_explicit(&t->next, 0, memory_order_relaxed);
	atomic_fetch_add(&t->state, TURN + OPEN);
	pg_wake(&t->state, &t->asleep);
	take_part(t, 0);
	for (int state = atomic_fetch_sub(&t->state, OPEN) - OPEN; state & MEMBERS; state = atomic_load(&t->state)) {
		pg_await(&t->state, state, &t->leader_asleep);
	}
	return true;
}

#else

struct pg_team * pg_team_new(int threads) {
	(void) threads;
	return NULL;
}

void pg_team_free(struct pg_team * team) {
	(void) team;
}

bool pg_together(ggml_custom_op_t op, struct ggml_tensor * dst, void * userdata, int64_t work) {
	(void) op;
	(void) dst;
	(void) userdata;
	(void) work;
	return false;
}

static int draw(struct pg_team * t) {
	(void) t;
	return 0;
}

#endif

void pg_team_lead(struct pg_team * team) {
	leads = team;
}

struct parts pg_parts(int64_t all, int ith, int nth) {
	if (!helping) {
		return (struct parts) {.all = all, .next = ith, .step = nth, .count = nth};
	}
	const int64_t count = all < (int64_t) nth * PARTS ? all : (int64_t) nth * PARTS;
	return (struct parts) {.all = all, .count = (int) count, .shrink = all >= 2 * count};
}

// Returns where part i begins. Parts that shrink do so evenly, to next to nothing, so that all threads end together
// (trapezoid self-scheduling, https://doi.org/10.1109/71.205655).
static int64_t begin(const struct parts * p, int64_t i) {
	if (!p->shrink) {
		return p->all * i / p->count;
	}
	const int64_t left = p->count - i;
	return p->all - p->all * left * left / ((int64_t) p->count * p->count);
}

// Takes a part that is not empty, if there is one left; else from and to are both all.
static void take(struct parts * p, int64_t * from, int64_t * to) {
	do {
		int part = p->next;
		if (p->step > 0) {
			p->next += p->step;
		} else {
			part = draw(helping);
		}
		*from = part < p->count ? begin(p, part) : p->all;
		*to = part < p->count ? begin(p, part + 1) : p->all;
	} while (*from == *to && *from < p->all);
}

bool pg_next(struct parts * p) {
	if (p->peeked) {
		p->from = p->then;
		p->to = p->then_to;
		p->peeked = false;
	} else {
		take(p, &p->from, &p->to);
	}
	return p->from < p->to;
}

int64_t pg_peek(struct parts * p) {
	take(p, &p->then, &p->then_to);
	p->peeked = true;
	return p->then;
}
