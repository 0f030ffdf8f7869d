package batch

import (
	"context"
	"math"
	"sync"
)

// countTotal counts the records that there will be, while they are answered, where that
// is wanted and quick. The function it returns ends that.
func (r *run) countTotal(ctx context.Context, groups []group) (end func()) {
	if !r.Total {
		return func() {}
	}
	for _, g := range groups {
		for i := range g.shards {
			if !g.shards[i].Countable() {
				return func() {}
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var counting sync.WaitGroup
	counting.Go(func() {
		total := int64(0)
		for _, g := range groups {
			total += g.count(ctx, &r.Task)
		}
		if ctx.Err() == nil {
			r.total.Store(total)
		}
	})
	return func() {
		cancel()
		counting.Wait()
	}
}

// count returns how many records there will be of a group.
func (g *group) count(ctx context.Context, task *Task) int64 {
	q := &queue{shards: g.shards, task: task, part: g.part, skip: math.MaxInt64}
	for range q.items(ctx) { // all are passed over
	}
	return q.index
}
