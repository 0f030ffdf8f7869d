package server

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// closing is a connection that calls a function when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error { go c.closed(); return nil }

// TestConnectionsWake: a connection that has to make room soon does, also where nothing
// else happens.
func TestConnectionsWake(t *testing.T) {
	c := newConnections(1, 0)
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 500 {
			c.mu.Lock()
			c.grace = time.Duration(i%50) * 100 * time.Nanosecond
			c.mu.Unlock()
			if !c.enter() {
				t.Error("no room")
				return
			}
			conn := &closing{}
			conn.closed = func() { c.changed(conn, http.StateClosed) }
			c.changed(conn, http.StateNew)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a connection waits for ever")
	}
	if c.open != 1 || c.idle.Len() != 1 || len(c.at) != 1 || len(c.leaving) != 0 {
		t.Errorf("%d open, %d idle, %d known, %d leaving, want one that is idle", c.open, c.idle.Len(), len(c.at), len(c.leaving))
	}
}
