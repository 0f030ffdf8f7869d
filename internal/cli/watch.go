package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"paligemma/internal/ggml"
)

// A computation is shown once it has taken a while and much of it lies ahead: at
// 896 pixels an image has 4,096 tokens, and vision tower and prefill take a
// minute each, on a CPU. What is over in a moment has no bar that flashes.
const (
	watchEvery = 200 * time.Millisecond
	watchAfter = time.Second
	watchAhead = 3 * time.Second
)

// watch shows how far long computations have come, until stop is called, which
// may happen more than once. The line is then empty again: nothing else may be
// written to the terminal in between.
func (a *app) watch(progress func() ggml.Progress, what string) (stop func()) {
	if !a.showsBars(true) {
		return func() {}
	}
	ended, cleared := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(cleared)
		w := watcher{a: a, what: what}
		defer w.hide()
		ticks := time.NewTicker(watchEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				w.show(progress())
			case <-ended:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(ended)
		<-cleared
	})
}

// watcher is the bar of one computation after the other.
type watcher struct {
	a    *app
	what string
	bar  bar // none: what was seen last is short
	last time.Duration
}

// show brings the bar up to date, if there is to be one.
func (w *watcher) show(p ggml.Progress) {
	if p.Elapsed < w.last || p.Total == 0 { // another one, or none
		w.hide()
	}
	w.last = p.Elapsed
	if p.Done == 0 {
		return
	}
	ahead := time.Duration(float64(p.Elapsed) * float64(p.Total-p.Done) / float64(p.Done))
	if !w.bar.shown() {
		if p.Elapsed < watchAfter || ahead < watchAhead {
			return
		}
		w.bar = bar{progressbar.NewOptions(p.Total+1, w.a.barOptions( // never finished: hide clears it
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionThrottle(0))...)}
	}
	w.bar.bar.Describe(fmt.Sprintf("%s, %v left", w.what, ahead.Round(time.Second)))
	w.bar.set(int64(p.Done))
}

// hide clears the line.
func (w *watcher) hide() {
	w.bar.clear()
	w.bar = bar{}
}
