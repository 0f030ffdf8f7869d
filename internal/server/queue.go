package server

import (
	"container/list"
	"context"
	"fmt"
	"net/http"
	"sync"

	"paligemma/internal/result"
	"paligemma/internal/units"
)

// queue admits requests to a model, first come, first served: as many as are decoded
// together, as far as there is memory for their keys and values. Any goroutine may call
// it.
type queue struct {
	mu     sync.Mutex
	places int        // of texts that are decoded together
	most   int        // requests that wait besides
	joined int        // requests that wait or have a place
	placed int        // requests that have one
	bytes  int64      // memory of all, 0 before it is known
	taken  int64      // of it
	line   *list.List // of *ticket, those that wait
}

// ticket is the place of a request in a queue.
type ticket struct {
	queue *queue
	bytes int64
	ready chan struct{} // closed when it has its place
	held  bool          // it has
}

func newQueue(parallel, most int) *queue {
	return &queue{places: parallel, most: most, line: list.New()}
}

// join counts a request, which is refused where too many wait. The caller calls leave.
func (q *queue) join() (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.joined >= q.places+q.most {
		return nil, errBusy
	}
	q.joined++
	return &ticket{queue: q, ready: make(chan struct{})}, nil
}

// offer says how much memory there is for keys and values.
func (q *queue) offer(bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes = bytes
}

// enter waits for a place, with memory for its keys and values.
func (t *ticket) enter(ctx context.Context, bytes int64) error {
	q := t.queue
	q.mu.Lock()
	if bytes > q.bytes {
		defer q.mu.Unlock()
		return &apiError{http.StatusBadRequest, result.CodeLongPrompt, "max_tokens",
			fmt.Sprintf("the request needs up to %s for keys and values, and there are %s: ask for fewer tokens", units.Bytes(bytes), units.Bytes(q.bytes))}
	}
	t.bytes = bytes
	waiting := q.line.PushBack(t)
	q.advance()
	q.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.held {
		q.line.Remove(waiting)
		q.advance() // it may have been in the way
	}
	return ctx.Err()
}

// advance gives places to those that are first. The lock is held.
func (q *queue) advance() {
	for first := q.line.Front(); first != nil; first = q.line.Front() {
		t := first.Value.(*ticket)
		if q.placed >= q.places || q.taken+t.bytes > q.bytes {
			return
		}
		q.line.Remove(first)
		q.placed++
		q.taken += t.bytes
		t.held = true
		close(t.ready)
	}
}

// leave gives back what the request had.
func (t *ticket) leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.joined--
	if t.held {
		q.placed--
		q.taken -= t.bytes
		q.advance()
	}
}

// queueState says how full a queue is.
type queueState struct {
	running, waiting int
	bytes, taken     int64
}

func (q *queue) state() queueState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return queueState{q.placed, q.joined - q.placed, q.bytes, q.taken}
}
