package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// running is a server on this machine.
type running struct {
	*Server
	address net.Addr
	log     *lines
	stop    context.CancelFunc
	done    chan error
}

// start starts a server, with next behind its guard or, where it is nil, its routes.
func start(t testing.TB, o Options, shutdown time.Duration, next http.HandlerFunc) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, l, o, shutdown, next)
}

func startOn(t testing.TB, l net.Listener, o Options, shutdown time.Duration, next http.HandlerFunc) *running {
	t.Helper()
	if o.Models == nil {
		o.Models = []Model{builtIn("built-in")}
	}
	o.Parallel, o.MaxQueue, o.Limits = max(o.Parallel, 2), max(o.MaxQueue, 8), testLimits
	r := &running{log: &lines{}, address: l.Addr(), done: make(chan error, 1)}
	o.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if r.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	handler := r.Handler()
	if next != nil {
		handler = r.guard(next)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.serve(ctx, shutdown, handler, l) }()
	t.Cleanup(func() {
		stop()
		<-r.done
		close(r.done)
		r.Close()
	})
	return r
}

// end ends a server.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	r.done <- nil
	return err
}

// stopListening has a server end, and waits until it listens no more.
func (r *running) stopListening() {
	r.stop()
	for {
		conn, err := net.Dial("tcp", r.address.String())
		if err != nil {
			return
		}
		conn.Close()
	}
}

func (r *running) url(path string) string { return "http://" + r.address.String() + path }

// get gets a path, over a connection of its own.
func (r *running) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(r.url(path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestShutdown: what is under way ends as it would, and nothing new is taken.
func TestShutdown(t *testing.T) {
	begun, more := make(chan bool), make(chan bool)
	r := start(t, Options{}, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-more
		io.WriteString(w, "all of it")
	})
	answer := make(chan string)
	go func() {
		resp, err := http.Get(r.url("/"))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		answer <- string(data)
	}()
	<-begun
	r.stopListening()
	more <- true
	if got := <-answer; got != "all of it" {
		t.Errorf("%q", got)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// TestShutdownTimeout: what is not done in time gets an error, also where its answer
// has begun, and what does not even take that is cut off.
func TestShutdownTimeout(t *testing.T) {
	begun := make(chan bool)
	r := start(t, Options{Patience: Patience{Drop: 300 * time.Millisecond}}, 10*time.Millisecond, nil)
	r.stop()
	<-r.done
	r.done <- nil
	r = start(t, Options{Patience: Patience{Drop: 300 * time.Millisecond}}, 10*time.Millisecond, func(w http.ResponseWriter, q *http.Request) {
		stream := q.URL.Path == "/stream"
		if stream {
			io.WriteString(w, "data: half\n\n")
			w.(http.Flusher).Flush()
		}
		begun <- true
		if q.URL.Path == "/stuck" {
			<-q.Context().Done()
			time.Sleep(2 * time.Second)
			return
		}
		<-q.Context().Done()
		if err := because(q.Context(), q.Context().Err()); stream {
			fmt.Fprintf(w, "data: error %v\n\n", err)
		} else {
			r.fail(w, q, err)
		}
	})
	answers := map[string]chan string{"/": make(chan string, 1), "/stream": make(chan string, 1), "/stuck": make(chan string, 1)}
	for path, answer := range answers {
		go func() {
			resp, err := http.Get(r.url(path))
			if err != nil {
				answer <- "no answer"
				return
			}
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			answer <- fmt.Sprintf("%d %s %v", resp.StatusCode, data, err)
		}()
		<-begun
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{"/": "503 ", "/stream": "200 data: half\n\ndata: error the server is closing\n\n <nil>", "/stuck": "no answer"} {
		if got := <-answers[path]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestServeFails: a listener that fails ends the server.
func TestServeFails(t *testing.T) {
	r := start(t, Options{}, time.Second, ok)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := r.serve(t.Context(), time.Second, http.HandlerFunc(ok), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestConnections: idle connections make room, busy ones do not.
func TestConnections(t *testing.T) {
	const most, clients = 20, 300
	busy, more := make(chan bool), make(chan bool)
	r := start(t, Options{MaxConnections: most, Patience: Patience{Begin: time.Millisecond}}, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			busy <- true
			<-more
		}
		io.WriteString(w, "ok")
	})
	answer := make(chan string)
	go func() {
		_, body := r.get(t, "/busy")
		answer <- body
	}()
	<-busy
	var conns []net.Conn
	for i := range clients {
		conn := dial(t, r.address)
		conns = append(conns, conn)
		switch i % 3 {
		case 1: // a request, and nothing after it
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		case 2: // a part of one
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHos")
		}
	}
	if _, body := r.get(t, "/"); body != "ok" {
		t.Errorf("%q", body)
	}
	closed := 0
	for _, conn := range conns[:clients-2*most] { // the others may be open
		for buffer := make([]byte, 1000); ; {
			if _, err := conn.Read(buffer); err != nil {
				var late net.Error
				if errors.As(err, &late) && late.Timeout() {
					t.Fatal("an idle connection stays open")
				}
				closed++
				break
			}
		}
	}
	if closed != clients-2*most {
		t.Errorf("%d closed", closed)
	}
	more <- true
	if got := <-answer; got != "ok" {
		t.Errorf("%q: the busy one was closed", got)
	}
}

// TestConnectionsBusy: while all connections are busy, others wait; ending the server
// ends their wait.
func TestConnectionsBusy(t *testing.T) {
	busy, more := make(chan bool), make(chan bool)
	r := start(t, Options{MaxConnections: 2, Patience: Patience{Begin: time.Minute}}, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		busy <- true
		<-more
		io.WriteString(w, "ok")
	})
	answers := make(chan string)
	for range 4 {
		go func() {
			conn, err := net.Dial("tcp", r.address.String())
			if err != nil {
				answers <- err.Error()
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			data, _ := io.ReadAll(conn)
			answers <- string(data[:min(15, len(data))])
		}()
	}
	<-busy
	<-busy
	select {
	case <-busy:
		t.Error("a third connection is answered")
	case <-time.After(50 * time.Millisecond):
	}
	more <- true
	if got := <-answers; got != "HTTP/1.1 200 OK" {
		t.Error(got)
	}
	<-busy // the next one
	r.stopListening()
	more <- true
	more <- true
	counts := map[string]int{}
	for range 3 {
		counts[<-answers]++
	}
	if counts["HTTP/1.1 200 OK"] != 2 {
		t.Errorf("%v, want two answers and one that got none", counts)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// TestTLS: HTTP/2 and 1.1 over TLS; old versions and no TLS at all are refused.
func TestTLS(t *testing.T) {
	helper := httptest.NewUnstartedServer(nil)
	helper.StartTLS()
	defer helper.Close()
	pair := helper.TLS.Certificates[0]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	r := startOn(t, secure, Options{MaxConnections: 3, Patience: Patience{Write: 200 * time.Millisecond, Body: 200 * time.Millisecond, Begin: 50 * time.Millisecond}}, time.Second, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
		w.(http.Flusher).Flush()
		time.Sleep(500 * time.Millisecond) // longer than a write may take
		fmt.Fprint(w, " twice")
	})
	url := "https://" + r.address.String()
	for proto, h2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := client.Post(url, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(data) != proto+" twice" || err != nil {
			t.Errorf("%q, %v, want %s", data, err, proto)
		}
		client.CloseIdleConnections()
	}
	if _, err := tls.Dial("tcp", r.address.String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is answered")
	}
	conn := dial(t, r.address)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("%v, %v", resp, err)
	}
	for range 10 { // handshakes that are not begun make room, too
		dial(t, r.address)
	}
	if _, err := tls.Dial("tcp", r.address.String(), &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Error(err)
	}
}

// TestSlowClient: a client that does not read is cut off.
func TestSlowClient(t *testing.T) {
	failed := make(chan error, 1)
	r := start(t, Options{Patience: Patience{Write: 100 * time.Millisecond}}, time.Second, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				failed <- err
				return
			}
		}
	})
	conn := dial(t, r.address)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err := <-failed; !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v", err)
	}
}

// TestPause: what a connection's last request had left is not in the way of the next
// one, and a slow answer is no slow client.
func TestPause(t *testing.T) {
	r := start(t, Options{Patience: Patience{Write: 100 * time.Millisecond, Body: 100 * time.Millisecond}}, time.Second, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			t.Error("the request is canceled while it is answered")
		case <-time.After(300 * time.Millisecond):
		}
		io.WriteString(w, "ok")
	})
	var dials atomic.Int32
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	for range 2 {
		resp, err := client.Post(r.url("/"), "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(data) != "ok" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections for two requests", dials.Load())
	}
}

// TestGone: a client that goes away ends its request.
func TestGone(t *testing.T) {
	begun, ended := make(chan bool), make(chan error)
	r := start(t, Options{}, time.Second, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		begun <- true
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})
	conn := dial(t, r.address)
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
	<-begun
	conn.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
