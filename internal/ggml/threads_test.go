package ggml

import "testing"

func TestGranted(t *testing.T) {
	for _, c := range []struct{ wanted, system, want int }{
		{1, 0, 1}, {1, 100, 1}, {2, 0, 1}, {2, 1, 1}, {2, spareThreads + 1, 1}, {2, spareThreads + 2, 2}, {2, 100, 2},
		{8, 0, 1}, {8, spareThreads, 1}, {8, spareThreads + 3, 2}, {8, spareThreads + 13, 7}, {8, spareThreads + 14, 8}, {8, 100, 8},
	} {
		got := granted(c.wanted, func(n int) int { return min(n, c.system) })
		if got != c.want {
			t.Errorf("%d threads where the system starts %d: %d, want %d", c.wanted, c.system, got, c.want)
		}
	}
	if n := startable(20); n != 20 {
		t.Errorf("the system starts %d of 20 threads", n)
	}
}

func TestAllocatable(t *testing.T) {
	if !allocatable(1 << 20) {
		t.Error("no mebibyte")
	}
	if allocatable(1 << 62) {
		t.Error("more than any machine has")
	}
}
