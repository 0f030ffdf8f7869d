package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"

	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/server"
	"paligemma/internal/systemd"
)

// serving is a server that runs, with what it can be told to read again.
type serving struct {
	*app
	o    *serveOptions
	log  *slog.Logger
	file *logFile
	keys *keyring
	tls  *certificate
}

func (a *app) runServe(ctx context.Context, o *serveOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	s := &serving{app: a, o: o, keys: &keyring{typed: o.access.Keys, files: o.access.KeyFiles}, tls: &certificate{cert: o.listen.Cert, key: o.listen.Key}}
	var err error
	if s.file, err = openLogFile(o.LogFile, a.Err); err != nil {
		return err
	}
	defer s.file.close()
	s.log = a.newLog(s.file, o.LogFormat)
	if err := errors.Join(s.keys.load(), s.tls.load()); err != nil {
		return dataError{err}
	}
	listeners, err := o.listen.open()
	if err != nil {
		return err
	}
	defer closeListeners(listeners)
	if err := s.checkAccess(listeners); err != nil {
		return err
	}
	return s.run(ctx, listeners)
}

// collectAt is how much the heap of a server may grow, in percent of what is in use,
// before it is collected. Most of it are images in caches: slices without pointers, cheap to
// collect, which would otherwise take their room twice.
const collectAt = 20

// run answers requests until ctx or a signal ends it.
func (s *serving) run(ctx context.Context, listeners []net.Listener) error {
	defer debug.SetGCPercent(debug.SetGCPercent(collectAt))
	options, err := s.serverOptions(s.o, s.log)
	if err != nil {
		return err
	}
	options.Hosts = s.hosts(listeners)
	if s.keys.any() {
		options.Keys = s.keys.get
	}
	srv, err := server.New(options)
	if err != nil {
		return dataError{err}
	}
	serve, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer s.takeSignals(func() { stop(context.Canceled) })()
	go s.watchDevices(serve, stop)
	if len(s.o.served.Models) == 0 {
		s.noteBuiltIn(s.o.model)
	}
	s.noteAddresses(listeners)
	loaded := make(chan error, 1)
	go func() {
		err := srv.Load(serve)
		loaded <- err // before stop, after which nobody waits for it
		if err != nil {
			stop(err)
		} else {
			s.notify("READY=1", "STATUS=answering requests")
		}
	}()
	s.notify("STATUS=loading the model")
	failed := srv.Serve(serve, s.o.Shutdown, s.secured(listeners)...)
	select {
	case err = <-loaded:
		if err == nil || serve.Err() == nil || errors.Is(err, context.Canceled) {
			err = srv.Close()
		}
	default: // the process ends before the model is open
	}
	if errors.Is(context.Cause(serve), engine.ErrLost) && !errors.Is(err, engine.ErrLost) {
		err = errors.Join(engine.ErrLost, err)
	}
	return errors.Join(failed, err, ctx.Err())
}

// watchDevices has the server end where a device is gone: what is under way has got an
// error, and only another process can use the device again.
func (s *serving) watchDevices(serve context.Context, stop context.CancelCauseFunc) {
	select {
	case <-ggml.Lost():
		s.notify("STOPPING=1")
		stop(engine.ErrLost)
	case <-serve.Done():
	}
}

// takeSignals has signals end the server in an orderly way, or read again what can be.
func (s *serving) takeSignals(stop func()) (giveBack func()) {
	var once sync.Once
	ends := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}
	end := func() {
		once.Do(func() {
			s.interrupts.giveBack(ends...) // a second one is not taken
			s.notify("STOPPING=1")
			s.log.Info("ending: what is under way is answered; a second signal ends the server at once")
			stop()
		})
	}
	give := s.interrupts.take(end, ends...)
	giveReload := s.interrupts.take(func() {
		if s.ErrTTY && !isTTY(os.Stderr) { // the terminal is gone
			end()
			return
		}
		s.reload()
	}, syscall.SIGHUP)
	return func() {
		give()
		giveReload()
	}
}

// reload opens the log and reads keys and certificates again. What fails stays as it
// was.
func (s *serving) reload() {
	if err := errors.Join(s.file.reopen(), s.keys.load(), s.tls.load()); err != nil {
		s.log.Error("reload", "error", oneLine(err.Error()))
		return
	}
	s.log.Info("reload: the log, the keys and the certificates are those of now")
}

// notify tells the service manager something.
func (s *serving) notify(state ...string) {
	if err := systemd.Notify(state...); err != nil {
		s.log.Warn("service manager", "error", err.Error())
	}
}
