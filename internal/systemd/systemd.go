// Package systemd speaks with a service manager as sd_listen_fds and sd_notify do: it
// takes over sockets that the manager opened, and tells it how the service is.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"paligemma/internal/quote"
)

const (
	firstFD = 3   // of the sockets
	maxFDs  = 100 // more is a mistake
)

// Listeners returns the sockets that were opened for this process, none if there are
// none. What says so is removed from the environment: child processes have none.
func Listeners() ([]net.Listener, error) {
	n, err := count(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getpid())
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if err != nil {
		return nil, err
	}
	var all []net.Listener
	for fd := firstFD; fd < firstFD+n; fd++ {
		file := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(file) // of a copy, which programs that are started do not get
		file.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %d of LISTEN_FDS: want one that listens for streams: %w", fd, err), closeAll(all))
		}
		all = append(all, l)
	}
	return all, nil
}

func closeAll(all []net.Listener) error {
	var errs []error
	for _, l := range all {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// count returns how many sockets there are for the process own.
func count(pid, fds string, own int) (int, error) {
	if pid == "" || fds == "" {
		return 0, nil
	}
	p, err := strconv.Atoi(pid)
	if err != nil || p <= 0 {
		return 0, fmt.Errorf("LISTEN_PID=%s: want the number of a process", quote.Short(pid))
	}
	if p != own { // they are for another process
		return 0, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > maxFDs {
		return 0, fmt.Errorf("LISTEN_FDS=%s: want a number of 0 to %d", quote.Short(fds), maxFDs)
	}
	return n, nil
}

// Notify tells the service manager something, as in "READY=1". Where there is none, it
// does nothing.
func Notify(state ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	_, err = conn.Write([]byte(strings.Join(state, "\n")))
	return err
}
