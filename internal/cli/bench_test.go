package cli

import (
	"context"
	"strings"
	"testing"
)

func TestBenchCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{
		{"bench", "-m", fixture(t, "MODEL")},
		{"bench", "-m", fixture(t, "MODEL"), "-"},
		{"bench", "--synthetic", "tiny"},
	} {
		t.Run(args[1]+" "+args[len(args)-1], func(t *testing.T) {
			if code, out, errs := runArgs(t, ctx, false, args...); code != exitInterrupted || out != "" || strings.Count(errs, "\n") != 1 {
				t.Errorf("%v: %d, %q, %q", args, code, out, errs)
			}
		})
	}
}
