package units

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {999, "999 B"}, {1000, "1.0 kB"}, {999_949, "999.9 kB"}, {999_950, "1.0 MB"}, {1_000_000, "1.0 MB"},
		{1 << 30, "1.1 GB"}, {5_000_000_000_000, "5.0 TB"}, {math.MaxInt64, "9.2 EB"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if got := Bytes(c.n); got != c.want {
				t.Errorf("Bytes(%d) = %s", c.n, got)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{0, "0"}, {7, "7"}, {999, "999"}, {1000, "1,000"}, {257_153, "257,153"}, {2_923_466_480, "2,923,466,480"},
		{-1, "-1"}, {-999, "-999"}, {-1000, "-1,000"}, {math.MinInt64, "-9,223,372,036,854,775,808"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if got := Number(c.n); got != c.want {
				t.Errorf("Number(%d) = %s", c.n, got)
			}
		})
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{{0, "0 threads"}, {1, "1 thread"}, {2, "2 threads"}, {1234, "1,234 threads"}} {
		t.Run(c.want, func(t *testing.T) {
			if got := Count(c.n, "thread", "threads"); got != c.want {
				t.Errorf("Count(%d) = %s", c.n, got)
			}
		})
	}
}
