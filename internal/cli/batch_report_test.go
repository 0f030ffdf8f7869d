package cli

import (
	"testing"
	"time"

	"paligemma/internal/batch"
	"paligemma/internal/result"
)

// TestBatchNumbers: the time that is left is known where the number of inputs is.
func TestBatchNumbers(t *testing.T) {
	for _, c := range []struct {
		name       string
		p          batch.Progress
		line, json string
	}{
		{"earlier run", batch.Progress{Done: 3, Failed: 1}, "3 done, 1 failed, by an earlier run",
			`{"done":3,"failed":1,"seconds":10,"records_per_second":0,"ended":false}`},
		{"no total", batch.Progress{Done: 30, Answered: 20}, "30 done, 2.0/s",
			`{"done":30,"failed":0,"seconds":10,"records_per_second":2,"ended":false}`},
		{"total", batch.Progress{Done: 1500, Failed: 2, Answered: 20, Total: 1700}, "1,500 of 1,700 done, 2 failed, 2.0/s, 1m40s left",
			`{"done":1500,"failed":2,"total":1700,"seconds":10,"records_per_second":2,"seconds_left":100,"ended":false}`},
		{"all", batch.Progress{Done: 20, Answered: 20, Total: 20}, "20 done, 2.0/s",
			`{"done":20,"failed":0,"total":20,"seconds":10,"records_per_second":2,"seconds_left":0,"ended":false}`},
		{"more than counted", batch.Progress{Done: 21, Answered: 20, Total: 20}, "21 done, 2.0/s",
			`{"done":21,"failed":0,"total":20,"seconds":10,"records_per_second":2,"seconds_left":0,"ended":false}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newBatchNumbers(c.p, 10*time.Second)
			if got := n.line(); got != c.line {
				t.Errorf("%q, want %q", got, c.line)
			}
			if got, err := result.Marshal(n); err != nil || string(got) != c.json {
				t.Errorf("%s, %v, want %s", got, err, c.json)
			}
		})
	}
}
