package parallel

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestRange checks that the parts cover all items once, in one part where the
// work is small and in several where it is not.
func TestRange(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, c := range []struct {
		n, work, parts int
	}{
		{0, 1, 1}, {1, 1 << 20, 1}, {100, 1, 1}, {7, minPart, 4}, {3, 1 << 20, 3}, {1000, minPart, 4}, {100, minPart / 50, 2},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			seen := make([]atomic.Int32, c.n)
			var parts atomic.Int32
			Range(c.n, c.work, func(lo, hi int) {
				parts.Add(1)
				for i := lo; i < hi; i++ {
					seen[i].Add(1)
				}
			})
			if int(parts.Load()) != c.parts {
				t.Errorf("%d parts, want %d", parts.Load(), c.parts)
			}
			for i := range seen {
				if n := seen[i].Load(); n != 1 {
					t.Errorf("item %d: %d times", i, n)
				}
			}
		})
	}
}

// TestRangePanics checks that the caller can recover from a panic of a part.
func TestRangePanics(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	defer func() {
		if p := recover(); p != "part" {
			t.Errorf("recovered %v", p)
		}
	}()
	Range(4, minPart, func(lo, _ int) {
		if lo == 2 {
			panic("part")
		}
	})
	t.Error("no panic")
}
