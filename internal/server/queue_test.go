package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// Requests get their places in their order, as far as there are places and memory.
func TestQueueOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		places int
		bytes  int64
		needs  []int64
		first  int // how many get their place at once
	}{
		{"places are few", 2, 100, []int64{1, 1, 1, 1}, 2},
		{"memory is short", 4, 10, []int64{6, 4, 1, 1}, 2},
		{"a large one is not overtaken", 4, 10, []int64{6, 5, 1, 1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueue(c.places, len(c.needs))
			q.offer(c.bytes)
			tickets := make([]*ticket, len(c.needs))
			var order []int
			var mu sync.Mutex
			var all sync.WaitGroup
			for i, bytes := range c.needs {
				var err error
				if tickets[i], err = q.join(); err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					if err := tickets[i].enter(t.Context(), bytes); err != nil {
						t.Error(err)
					}
				})
				for waits := false; !waits; { // they are to enter in this order
					q.mu.Lock()
					waits = tickets[i].held || q.line.Len() > 0 && q.line.Back().Value == tickets[i]
					q.mu.Unlock()
				}
			}
			if s := q.state(); s.running != c.first || s.waiting != len(c.needs)-c.first {
				t.Fatalf("%+v, want %d that run", s, c.first)
			}
			for i := range tickets {
				<-tickets[i].ready // of all that came before, only those before have left
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				tickets[i].leave()
			}
			all.Wait()
			if s := q.state(); s != (queueState{bytes: c.bytes}) {
				t.Errorf("left are %+v", s)
			}
			if !slices.IsSorted(order) {
				t.Errorf("%v", order)
			}
		})
	}
}

// Where too many wait others are refused; who gives up makes room, and is not in the
// way of others.
func TestQueueFull(t *testing.T) {
	q := newQueue(1, 1)
	q.offer(10)
	first, err := q.join()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.enter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	second, err := q.join()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.join(); !errors.Is(err, errBusy) {
		t.Fatalf("a third: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := second.enter(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("who has given up: %v", err)
	}
	second.leave()
	third, err := q.join()
	if err != nil {
		t.Fatal(err)
	}
	first.leave()
	if err := third.enter(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	third.leave()
}

// What can never fit is refused at once.
func TestQueueNeverFits(t *testing.T) {
	q := newQueue(1, 1)
	q.offer(10)
	first, err := q.join()
	if err != nil {
		t.Fatal(err)
	}
	defer first.leave()
	if status, _ := statusOf(first.enter(t.Context(), 11)); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
}
