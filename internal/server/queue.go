package server

import (
	"context"
	"sync/atomic"
)

// queue admits requests to a model, first come, first served.
type queue struct {
	places  chan struct{}
	waiting atomic.Int64
	most    int64
}

func newQueue(parallel, most int) *queue {
	return &queue{places: make(chan struct{}, parallel), most: int64(most)}
}

// enter waits for a place, which leave gives back. It refuses to wait where too many
// do.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-q.places }
	select {
	case q.places <- struct{}{}:
		return leave, nil
	default:
	}
	if q.waiting.Add(1) > q.most {
		q.waiting.Add(-1)
		return nil, errBusy
	}
	defer q.waiting.Add(-1)
	select {
	case q.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
