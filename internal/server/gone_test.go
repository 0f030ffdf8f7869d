package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// crowd are clients that ask the same again and again, next to others that go away, and
// compare the answers with those that they got alone.
type crowd struct {
	s     *Server
	url   string
	large []byte // a picture
	stop  atomic.Bool
	all   sync.WaitGroup
}

// neighbors is how many clients a crowd has: all places but one.
const neighbors = 15

func newCrowd(t *testing.T) *crowd {
	o := testOptions(tinyModel(t, "pg1-tiny"))
	o.Parallel, o.Limits.MaxPixels = neighbors+1, 1<<26
	s := newServer(t, o)
	return &crowd{s: s, url: listen(t, s), large: largePicture(t)}
}

// model returns the model that is served.
func (c *crowd) model(t *testing.T) *openModel {
	t.Helper()
	m, _, err := c.s.models.take("", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.s.models.release(m)
	return m
}

// request returns what client i asks: texts and pictures, streamed and whole, of both
// interfaces and the tasks.
func (c *crowd) request(t *testing.T, i int) (path, body string) {
	pictures := []string{"images/scene.png", "images/gradient.png", "images/photo.jpg"}
	picture, sampled := pictures[i%3], fmt.Sprintf(`"max_tokens": %d, "temperature": 2, "seed": %d`, 20+3*i, i)
	switch i % 5 {
	case 0:
		return "/v1/chat/completions", chatAbout(t, picture, "caption en", sampled+`, "stream": true`)
	case 1:
		return "/v1/chat/completions", chatAbout(t, picture, "detect cat", sampled+`, "logprobs": true, "top_logprobs": 2`)
	case 2:
		return "/api/generate", fmt.Sprintf(`{"prompt": "x", "images": ["%s"], "options": {"num_predict": %d}}`, imageText(t, picture), 20+i)
	case 3:
		return "/v1/completions", fmt.Sprintf(`{"prompt": "prompt %d", %s}`, i, sampled)
	}
	return "/v1/chat/completions", chatAbout(t, picture, "which?", `"choices_text": ["cat", "dog"]`)
}

// begin has the clients ask alone, and then together until the crowd ends.
func (c *crowd) begin(t *testing.T) {
	for i := range neighbors {
		path, body := c.request(t, i)
		_, answer := post(t, c.url+path, body)
		alone := comparable(t, answer)
		c.all.Go(func() {
			for !c.stop.Load() {
				if _, answer := post(t, c.url+path, body); comparable(t, answer) != alone {
					t.Errorf("client %d: %s\nalone: %s", i, comparable(t, answer), alone)
					return
				}
			}
		})
	}
}

// end waits for the clients, and makes sure that nothing is left of any request.
func (c *crowd) end(t *testing.T) {
	c.stop.Store(true)
	c.all.Wait()
	m := c.model(t)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if q := m.queue.state(); q.running+q.waiting == 0 && q.taken == 0 && m.engine.Stats().Sequences == 0 {
			return
		}
	}
	t.Errorf("left are %+v and %d sequences", m.queue.state(), m.engine.Stats().Sequences)
}

// free waits until a victim has left: there is a place for another request, which is
// answered.
func (c *crowd) free(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, lines := stream(t, ctx, c.url+"/v1/completions", `{"prompt": "next", "max_tokens": 2}`)
	if text, err := io.ReadAll(lines); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the next request: %d %s %v", r.StatusCode, text, err)
	}
}

// counted returns how many requests were canceled in each stage.
func (c *crowd) counted() map[string]int {
	counts := map[string]int{}
	for _, stage := range stages {
		counts[stage] = int(testutil.ToFloat64(c.s.metrics.canceled.WithLabelValues(stage)))
	}
	return counts
}

// stages are those of a call, in their order.
var stages = []string{stageQueue, stageImages, stageVision, stagePrompt, stageDecode}

// largePicture is a PNG of a megapixel, which takes a while to decode.
func largePicture(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 1000, 1000))); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// killed starts a victim, a request for a long text about a picture, has its client go
// away after a time, and returns the stage that it was in; "": it was answered.
func (c *crowd) killed(t *testing.T, number int, after time.Duration) string {
	before := c.counted()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	picture := dataURI(fmt.Append(c.large, number)) // another one each time
	body := user(`[{"type": "image_url", "image_url": {"url": "`+picture+`"}}]`, `, "stream": true, "max_tokens": 3000, "temperature": 20, "seed": 6`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	timer := time.AfterFunc(after, cancel)
	defer timer.Stop()
	if answer, err := client.Do(request); err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		if answer.Body.Close(); err == nil {
			return ""
		}
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for stage, n := range c.counted() {
			if n > before[stage] {
				return stage
			}
		}
	}
	return "" // it was gone before it was a call
}

// TestKilledInEachStage: a client that goes away, whatever is done for it at the moment,
// gives its place to another, and the texts of the 15 next to it are those that they are
// alone.
func TestKilledInEachStage(t *testing.T) {
	c := newCrowd(t)
	c.begin(t)
	defer c.end(t)
	number := 0
	for aim, stage := range stages {
		if stage == stageQueue {
			continue // see below
		}
		t.Run(stage, func(t *testing.T) {
			early, late := time.Duration(0), 50*time.Millisecond // when it has not come there, and when it has left
			for tried := range 500 {
				number++
				after := (early + late) / 2
				got := c.killed(t, number, after)
				switch {
				case got == stage:
					t.Logf("client %d, after %v", tried+1, after)
					c.free(t)
					return
				case slices.Contains(stages[aim+1:], got):
					late, early = after, early*9/10 // it takes another time each time
				default:
					early, late = after, late*11/10
				}
			}
			t.Errorf("no client was killed there: %v", c.counted())
		})
	}
	t.Run(stageQueue, c.killQueued)
	t.Run("reading a stream", func(t *testing.T) { c.killReading(t, true) })
	t.Run("reading a whole answer", func(t *testing.T) { c.killReading(t, false) })
	t.Run("not reading", c.killStalled)
}

// killQueued kills a client that waits for a place: all are taken.
func (c *crowd) killQueued(t *testing.T) {
	m := c.model(t)
	var held []*ticket
	for range neighbors + 1 { // the others of the crowd wait, too, and go on afterwards
		place, err := m.queue.join()
		if err != nil {
			t.Fatal(err)
		}
		if err := place.enter(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		held = append(held, place)
	}
	before := c.counted()[stageQueue]
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		request, _ := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/completions", strings.NewReader(`{"prompt": "x"}`))
		_, err := http.DefaultClient.Do(request)
		ended <- err
	}()
	for m.queue.state().waiting < neighbors+1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for c.counted()[stageQueue] == before { // while all places are taken still
		time.Sleep(time.Millisecond)
	}
	for _, place := range held {
		place.leave()
	}
	c.free(t)
}

// killReading kills a client that has read a part of its answer.
func (c *crowd) killReading(t *testing.T, streamed bool) {
	ctx, cancel := context.WithCancel(t.Context())
	r, answer := stream(t, ctx, c.url+"/v1/chat/completions", user(`"x"`, fmt.Sprintf(`, "stream": %v, %s`, streamed, strings.Replace(longText, "3000", "200", 1))))
	if _, err := io.ReadFull(answer, make([]byte, 1000)); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("%d %v", r.StatusCode, err)
	}
	cancel()
	c.free(t)
}

// killStalled kills a client that does not read, while the server waits for it.
func (c *crowd) killStalled(t *testing.T) {
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	_ = conn.(*net.TCPConn).SetLinger(0) // a reset, as of a process that is killed
	body := user(`"x"`, `, "stream": true, "max_tokens": 3000, "temperature": 20, "seed": 6`)
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	conn.Close()
	c.free(t)
}
