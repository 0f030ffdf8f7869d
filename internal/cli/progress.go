package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar is a progress bar on standard error, or nothing.
type bar struct{ bar *progressbar.ProgressBar }

// newBar makes a bar of total steps, or bytes if what is empty. With
// --progress auto it is there only if wanted is true and stderr is a terminal.
func (a *app) newBar(total int64, what string, wanted bool) bar {
	if !a.showsBars(wanted) || total < 1 {
		return bar{}
	}
	options := a.barOptions(
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
	)
	if what == "" {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true))
	} else {
		options = append(options, progressbar.OptionSetDescription(what))
	}
	return bar{progressbar.NewOptions64(total, options...)}
}

// showsBars reports whether progress bars are shown, where they are wanted.
func (a *app) showsBars(wanted bool) bool {
	switch {
	case a.common.Quiet || a.common.Progress == progressNever || a.common.Progress == progressJSON:
		return false
	case a.common.Progress == progressAlways:
		return true
	}
	return wanted && a.ErrTTY
}

// barOptions are those of every bar, and more.
func (a *app) barOptions(more ...progressbar.Option) []progressbar.Option {
	return append([]progressbar.Option{
		progressbar.OptionSetWriter(a.bars),
		progressbar.OptionEnableColorCodes(false), // NO_COLOR or not
		progressbar.OptionSetWidth(30),
	}, more...)
}

// shown reports whether the bar is there.
func (b bar) shown() bool { return b.bar != nil }

// set shows how many steps are done.
func (b bar) set(done int64) {
	if b.bar != nil {
		_ = b.bar.Set64(done)
	}
}

// clear makes room for a message.
func (b bar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// close clears the line.
func (b bar) close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		_ = b.bar.Exit()
	}
}
