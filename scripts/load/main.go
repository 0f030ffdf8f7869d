// Command load asks a server for captions from many clients at once, and prints how
// long they waited.
//
//	paligemma serve -m model.gguf --parallel 16 &
//	go run ./scripts/load -requests 1000 -clients 64
//
// Each request has a picture of its own, unless -pictures says how many there are. It is
// a chat, streamed, as OpenAI's clients send it; the server may be any that answers those.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type options struct {
	url      string
	requests int
	clients  int
	pictures int
	pixels   int
	prompt   string
	tokens   int
	lora     string
	pid      int
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:8080", "`ADDRESS` of the server")
	flag.IntVar(&o.requests, "requests", 1000, "`N` requests in all")
	flag.IntVar(&o.clients, "clients", 64, "`N` clients that ask at once")
	flag.IntVar(&o.pictures, "pictures", 0, "`N` different pictures; 0: one for each request")
	flag.IntVar(&o.pixels, "pixels", 64, "`N` pixels a side")
	flag.StringVar(&o.prompt, "prompt", "caption en", "the `PROMPT`")
	flag.IntVar(&o.tokens, "tokens", 20, "`N` tokens at most")
	flag.StringVar(&o.lora, "lora", "", "`NAMES` of adapters, with commas between them: each request asks with the next one")
	flag.IntVar(&o.pid, "pid", 0, "also print the resident memory of the process `PID`, after every tenth of the requests (Linux)")
	flag.Parse()
	if o.pictures == 0 {
		o.pictures = o.requests
	}
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// answer is what a client saw of a request.
type answer struct {
	first, whole time.Duration   // until the first text, and the end
	between      []time.Duration // the pieces of text
	tokens       int             // pieces of text
	status       int
	err          error
}

func run(ctx context.Context, o options) error {
	var next atomic.Int64
	var mu sync.Mutex
	var answers []answer
	var busy []time.Duration // until a request was refused
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.clients}}
	start := time.Now()
	var all sync.WaitGroup
	for range o.clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(o.requests); n = next.Add(1) {
				a := ask(ctx, client, o, int(n))
				for a.status == http.StatusTooManyRequests {
					mu.Lock()
					busy = append(busy, a.whole)
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					a = ask(ctx, client, o, int(n))
				}
				mu.Lock()
				answers = append(answers, a)
				if done := len(answers); o.pid > 0 && done%max(1, o.requests/10) == 0 {
					fmt.Printf("%6d requests: %s resident\n", done, resident(o.pid))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return report(answers, time.Since(start), busy)
}

// report prints what the clients saw.
func report(answers []answer, took time.Duration, busy []time.Duration) error {
	var first, between, whole []time.Duration
	tokens := 0
	var failed error
	failures := 0
	for _, a := range answers {
		if a.err != nil {
			failed, failures = a.err, failures+1
			continue
		}
		first, between, whole = append(first, a.first), append(between, a.between...), append(whole, a.whole)
		tokens += a.tokens
	}
	fmt.Printf("%d answers in %.1f s: %.2f/s, %.1f pieces of text/s; %d failures, %d times busy (429)\n",
		len(whole), took.Seconds(), float64(len(whole))/took.Seconds(), float64(tokens)/took.Seconds(), failures, len(busy))
	fmt.Printf("| ms | p50 | p95 | p99 | most |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		name  string
		times []time.Duration
	}{{"until the first text", first}, {"between two texts", between}, {"until the end", whole}, {"until it is refused (429)", busy}} {
		if len(row.times) == 0 {
			continue
		}
		slices.Sort(row.times)
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %.0f |\n", row.name, percentile(row.times, 50), percentile(row.times, 95), percentile(row.times, 99), percentile(row.times, 100))
	}
	if failures > 0 {
		return fmt.Errorf("%d requests failed, one of them: %w", failures, failed)
	}
	return nil
}

// percentile returns the p-th percentile of sorted times, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[min(len(sorted)-1, len(sorted)*p/100)].Microseconds()) / 1000
}

// ask sends a request and reads the answer as it comes.
func ask(ctx context.Context, client *http.Client, o options, n int) (a answer) {
	body, err := request(o, n)
	if err != nil {
		return answer{err: err}
	}
	start := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	a.status = response.StatusCode
	if a.status != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		a.whole = time.Since(start)
		a.err = fmt.Errorf("status %d: %s", a.status, text)
		return a
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	done := false
	last := start
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
		case data == "[DONE]":
			done = true
		case strings.Contains(data, `"error"`):
			a.err = fmt.Errorf("in the stream: %s", data)
			return a
		case strings.Contains(data, `"content"`) && !strings.Contains(data, `"content":""`): // which begins a text
			now := time.Now()
			if a.tokens++; a.tokens == 1 {
				a.first = now.Sub(start)
			} else {
				a.between = append(a.between, now.Sub(last))
			}
			last = now
		}
	}
	a.whole = time.Since(start)
	if err := lines.Err(); err != nil {
		a.err = err
	} else if !done {
		a.err = fmt.Errorf("the stream has no end")
	}
	return a
}

// request makes the body of the n-th request.
func request(o options, n int) ([]byte, error) {
	random := rand.New(rand.NewPCG(uint64(n%o.pictures), 1))
	m := image.NewRGBA(image.Rect(0, 0, o.pixels, o.pixels))
	background, block := randomColor(random), randomColor(random)
	x, y := random.IntN(o.pixels), random.IntN(o.pixels)
	for i := range o.pixels * o.pixels {
		c := background
		if px, py := i%o.pixels, i/o.pixels; px >= x/2 && py >= y/2 && px < x && py < y {
			c = block
		}
		m.SetRGBA(i%o.pixels, i/o.pixels, c)
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, m, nil); err != nil {
		return nil, err
	}
	part := func(kind string, value any) map[string]any { return map[string]any{"type": kind, kind: value} }
	url := "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(file.Bytes())
	body := map[string]any{
		"model": "paligemma", "stream": true, "max_tokens": o.tokens,
		"messages": []any{map[string]any{"role": "user", "content": []any{
			part("image_url", map[string]any{"url": url}), part("text", o.prompt),
		}}},
	}
	if o.lora != "" {
		names := strings.Split(o.lora, ",")
		body["lora"] = names[n%len(names)]
	}
	return json.Marshal(body)
}

func randomColor(r *rand.Rand) color.RGBA {
	return color.RGBA{uint8(r.UintN(256)), uint8(r.UintN(256)), uint8(r.UintN(256)), 255}
}

// resident returns the resident memory of a process.
func resident(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "nothing"
}
