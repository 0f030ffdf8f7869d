// Package parallel splits loops over independent items among the processors.
package parallel

import (
	"runtime"
	"sync"
)

// minPart is the least work, in nanoseconds, that a goroutine is started for.
const minPart = 50_000

// Range calls f for consecutive parts [lo, hi) that cover [0, n): on all
// processors where there is enough work to pay for that, else once. work
// estimates the cost of an item in nanoseconds. A panic of f becomes a panic of
// the caller's goroutine, which can recover from it.
func Range(n, work int, f func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), n, n*work/minPart)
	if parts <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	panics := make([]any, parts)
	for i := range parts {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			f(n*i/parts, n*(i+1)/parts)
		})
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
}
