package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func tryFieldError(p *page) error {
	if err := errors.Join(p.task("ocr"), p.fill("beams", "2"), p.fill("temperature", "1")); err != nil {
		return err
	}
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return err
	}
	if err := p.shows("error", "Beams and temperature exclude each other: a beam search does not sample."); err != nil {
		return err
	}
	return p.until(`document.activeElement.id === 'field-beams' && document.activeElement.getAttribute('aria-invalid') === 'true'`)
}

func tryCurl(p *page) error {
	if err := errors.Join(p.open(), p.choose(), p.task("vqa"), p.fill("prompt", "what's the cross' color; say it"), p.fill("choices", "red, blue")); err != nil {
		return err
	}
	answer, err := p.ask()
	if err != nil {
		return err
	}
	line, err := p.js(`document.getElementById('curl').textContent`)
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", strings.Replace(line, "curl", "curl -fsS", 1))
	cmd.Dir = filepath.Dir(p.picture)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	var same map[string]any
	if err := json.Unmarshal(out, &same); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	delete(same, "timings")
	delete(answer, "timings")
	a, _ := json.Marshal(answer)
	b, _ := json.Marshal(same)
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s gives %s, the page %s", line, b, a)
	}
	return nil
}

// tryKey puts a proxy before the server that wants a key of those who ask.
func tryKey(p *page) error {
	target, err := url.Parse(p.address)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := &http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") && r.Header.Get("Authorization") != "Bearer secret" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"message":"no","type":"authentication_error","param":null,"code":"unauthorized"}}`)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	address, stop, err := listen(server)
	if err != nil {
		return err
	}
	defer stop()
	direct := p.address
	p.address = address
	defer func() { p.address = direct }()
	if err := errors.Join(p.open(), p.choose()); err != nil {
		return err
	}
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return err
	}
	if err := p.shows("error", "This server wants an API key."); err != nil {
		return err
	}
	if err := p.do(chromedp.SendKeys(chromedp.CSS("#key"), "wrong"), chromedp.KeyEvent(kb.Enter)); err != nil {
		return err
	}
	if err := p.shows("error", "The server does not know this key."); err != nil {
		return err
	}
	if err := p.do(chromedp.SetValue(chromedp.CSS("#key"), "secret")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	return p.until(`document.getElementById('error').hidden && document.getElementById('curl').textContent.includes('Bearer $API_KEY')`)
}

func tryGone(p *page) error {
	server := &http.Server{Handler: http.NotFoundHandler()}
	address, stop, err := listen(server)
	if err != nil {
		return err
	}
	stop()
	if err := errors.Join(p.open(), p.choose()); err != nil {
		return err
	}
	script := fmt.Sprintf(`(() => { const get = window.fetch; window.fetch = (path, o) => get(path.startsWith('/v1/') ? %q + path : path, o) })()`, address)
	if _, err := p.js(script); err != nil {
		return err
	}
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return err
	}
	if err := p.shows("error", "The server does not answer: is it still running?"); err != nil {
		return err
	}
	_ = p.complaints() // the policy forbids other servers, too, and says so
	return nil
}

// sideways is whether the page, or a part of it, is wider than the screen.
const sideways = `[document.documentElement, ...document.querySelectorAll('main, main > *, .panel > *, .answer > *')].some((e) => e.getBoundingClientRect().right > innerWidth + 1 || e === document.documentElement && e.scrollWidth > innerWidth)`

func tryNarrow(p *page) error {
	for _, width := range []int64{320, 390, 768, 1280} {
		if err := p.do(chromedp.EmulateViewport(width, 800)); err != nil {
			return err
		}
		if err := errors.Join(p.open(), p.choose(), p.task("detect"), p.fill("objects", "cross ; circle")); err != nil {
			return err
		}
		if _, err := p.ask(); err != nil {
			return err
		}
		if _, err := p.js(`document.querySelectorAll('details').forEach((d) => { d.open = true })`); err != nil {
			return err
		}
		if wide, err := p.js(sideways); err != nil || wide == "true" {
			return errors.Join(err, fmt.Errorf("at %d pixels it scrolls sideways", width))
		}
	}
	return nil
}

// tryNames looks for controls that nobody can name, and ids that are there twice.
func tryNames(p *page) error {
	if _, err := p.js(`document.querySelectorAll('details').forEach((d) => { d.open = true })`); err != nil {
		return err
	}
	for _, name := range []string{"caption", "vqa", "ocr", "detect", "segment", "score", "generate", "parse"} {
		if err := p.task(name); err != nil {
			return err
		}
		nameless, err := p.js(`[...document.querySelectorAll('input, select, textarea, button, canvas, a')].filter((e) =>
			!(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).map((e) => e.outerHTML).join('\n')`)
		if err == nil && nameless != "" {
			err = fmt.Errorf("no name: %s", nameless)
		}
		if err != nil {
			return err
		}
		twice, err := p.js(`[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i).join()`)
		if err == nil && twice != "" {
			err = fmt.Errorf("ids there twice: %s", twice)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
