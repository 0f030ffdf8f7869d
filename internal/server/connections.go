package server

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds how many connections are open. Where there is room for no more,
// the one that has been without a request longest makes room for a new one.
type connections struct {
	most  int
	grace time.Duration // before a connection without a request has to make room

	mu      sync.Mutex
	changes *sync.Cond
	open    int
	idle    *list.List // of idleConn, the longest first
	at      map[net.Conn]*list.Element
	leaving map[net.Conn]bool // are closed, which the HTTP server has not noticed yet
	closed  bool              // no more are accepted
}

// idleConn is a connection without a request.
type idleConn struct {
	net.Conn
	since time.Time
}

func newConnections(most int, grace time.Duration) *connections {
	c := &connections{most: most, grace: grace, idle: list.New(), at: map[net.Conn]*list.Element{}, leaving: map[net.Conn]bool{}}
	c.changes = sync.NewCond(&c.mu)
	return c
}

// limitedListener is a listener whose connections are counted.
type limitedListener struct {
	net.Listener
	c *connections
}

func (c *connections) limit(l net.Listener) net.Listener { return limitedListener{l, c} }

// Accept waits for a connection and for room for it.
func (l limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.c.enter() {
		conn.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}

// Close ends Accept.
func (l limitedListener) Close() error {
	l.c.mu.Lock()
	l.c.closed = true
	l.c.changes.Broadcast()
	l.c.mu.Unlock()
	return l.Listener.Close()
}

// enter waits for room for a connection, and makes some. It reports whether there is.
func (c *connections) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open >= c.most && !c.closed {
		var again *time.Timer
		if oldest := c.idle.Front(); oldest != nil && c.open-len(c.leaving) >= c.most {
			if wait := c.grace - time.Since(oldest.Value.(idleConn).since); wait > 0 {
				again = time.AfterFunc(wait, c.wake)
			} else {
				c.drop(c.forget(oldest))
			}
		}
		c.changes.Wait()
		if again != nil {
			again.Stop()
		}
	}
	if c.closed {
		return false
	}
	c.open++
	return true
}

// wake has enter look again. It waits for the lock, so that enter does wait already.
func (c *connections) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes.Broadcast()
}

// changed hears from the HTTP server what connections do.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.at[conn]; ok {
		c.forget(element)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.at[conn] = c.idle.PushBack(idleConn{conn, time.Now()})
	case http.StateClosed, http.StateHijacked:
		c.open--
		delete(c.leaving, conn)
	}
	c.changes.Broadcast()
}

// forget removes a connection from the idle ones. The lock is held.
func (c *connections) forget(element *list.Element) net.Conn {
	conn := c.idle.Remove(element).(idleConn).Conn
	delete(c.at, conn)
	return conn
}

// drop closes a connection, without the farewell of TLS. The lock is held.
func (c *connections) drop(conn net.Conn) {
	c.leaving[conn] = true
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}
