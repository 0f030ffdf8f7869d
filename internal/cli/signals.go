package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"paligemma/internal/atomicfile"
)

// A signal ends the process within a second, whatever blocks: what takes longer
// than grace to end in an orderly way is left as it is.
const (
	grace   = 500 * time.Millisecond
	hurried = 100 * time.Millisecond // for each of the last things to do
)

// stopped is the cause of a context that a signal ended.
type stopped struct {
	signal  syscall.Signal
	printed sync.Once
}

// Error returns what the signal did.
func (s *stopped) Error() string {
	switch s.signal {
	case syscall.SIGTERM:
		return "terminated"
	case syscall.SIGHUP:
		return "hung up"
	case syscall.SIGQUIT:
		return "quit"
	}
	return "interrupted"
}

// code returns the exit code, as shells have it.
func (s *stopped) code() int { return exitSignal + int(s.signal) }

// print says what happened, once.
func (s *stopped) print(stderr io.Writer) {
	s.printed.Do(func() { fmt.Fprintf(stderr, "paligemma: %s\n", s) })
}

// interrupts is where a command takes signals for itself. Where it is nil there are no
// signals.
type interrupts struct {
	received chan os.Signal

	mu    sync.Mutex
	calls map[syscall.Signal]func() // those that are missing end the command
}

// take has signals call a function, until they are given back.
func (i *interrupts) take(call func(), signals ...syscall.Signal) (giveBack func()) {
	if i == nil {
		return func() {}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range signals {
		i.calls[s] = call
		signal.Notify(i.received, s) // also where it was ignored
	}
	return func() { i.giveBack(signals...) }
}

// giveBack has signals end the command again.
func (i *interrupts) giveBack(signals ...syscall.Signal) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range signals {
		delete(i.calls, s)
	}
}

// taken calls who has taken a signal, and reports whether somebody has.
func (i *interrupts) taken(s syscall.Signal) bool {
	i.mu.Lock()
	call := i.calls[s]
	i.mu.Unlock()
	if call == nil {
		return false
	}
	call()
	return true
}

// endBySignal cancels a context at the first signal that no command takes for itself,
// and ends the process at the second one or when grace is over. A SIGHUP that is
// ignored (nohup) stays so.
func endBySignal(cancel context.CancelCauseFunc, stderr io.Writer) *interrupts {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	received := make(chan os.Signal, 4)
	i := &interrupts{received: received, calls: map[syscall.Signal]func(){}}
	signal.Notify(received, signals...)
	go func() {
		first, _ := (<-received).(syscall.Signal)
		for i.taken(first) {
			first, _ = (<-received).(syscall.Signal)
		}
		s := &stopped{signal: first}
		cancel(s)
		select {
		case <-received:
		case <-time.After(grace):
		}
		s.leave(stderr)
	}()
	return i
}

// leave ends the process. Whatever may block has its time.
func (s *stopped) leave(stderr io.Writer) {
	atomicfile.RemoveAll(hurried)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.print(stderr)
	}()
	select {
	case <-done:
	case <-time.After(hurried):
	}
	os.Exit(s.code())
}
