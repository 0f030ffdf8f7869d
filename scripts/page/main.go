// Page tries the page of `paligemma serve` in a headless browser: Chromium, driven by
// chromedp. It starts a server of the built-in model, asks it by mouse, by keyboard and
// by what is pasted and dropped, compares what is shown with what the server answers,
// and can take the pictures of the documentation.
//
//	cd scripts/page && go run . ../../bin/paligemma ../../testdata/scenes/shapes.jpg [../../docs/images]
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: page BINARY PICTURE [FOLDER]")
		os.Exit(2)
	}
	folder := ""
	if len(os.Args) == 4 {
		folder = os.Args[3]
	}
	if err := run(os.Args[1], os.Args[2], folder); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

// run starts the server and the browser, and tries everything.
func run(binary, picture, folder string) error {
	address, stop, err := serve(binary)
	if err != nil {
		return err
	}
	defer stop()
	picture, err = filepath.Abs(picture)
	if err != nil {
		return err
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1240, 800)); err != nil {
		return err
	}
	p := &page{ctx: ctx, address: address, picture: picture}
	go p.watch()
	for _, s := range steps {
		if err := s.try(p); err != nil {
			return fmt.Errorf("%s: %w", s.name, errors.Join(err, p.wrong))
		}
		fmt.Println("ok", s.name)
	}
	if p.wrong != nil {
		return p.wrong
	}
	if folder == "" {
		return nil
	}
	return p.pictures(folder)
}

// serve starts a server of the built-in model, on any port.
func serve(binary string) (address string, stop func(), err error) {
	cmd := exec.Command(binary, "serve", "--port", "0")
	errs, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	lines := bufio.NewScanner(errs)
	for lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "listening on "); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return strings.Fields(after)[0], stop, nil
		}
	}
	stop()
	return "", nil, errors.New("the server does not say where it listens")
}

// page is the page in a browser.
type page struct {
	ctx     context.Context
	address string
	picture string
	wrong   error // what the console said
}

// watch collects what the console says: errors of scripts, and of the policy.
func (p *page) watch() {
	for message, err := range chromedp.Console(p.ctx) {
		if err != nil {
			return
		}
		if message.Type == "error" || message.IsException() {
			// Answers with an error status are shown as sentences, and logged by the browser.
			if !strings.Contains(message.Text, "Failed to load resource") {
				p.wrong = errors.Join(p.wrong, errors.New(message.String()))
			}
		}
	}
}

// do runs actions, with a limit.
func (p *page) do(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// js runs a script and returns its text.
func (p *page) js(script string) (string, error) {
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](`String(`+script+`)`))
}

// until waits until a condition of a script holds.
func (p *page) until(condition string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got, err := p.js(condition); err != nil || got == "true" {
			return err
		}
	}
	shown, _ := p.js(`document.querySelector('.answer').innerText`)
	return fmt.Errorf("it never holds that %s; the answer is %q", condition, shown)
}

// open loads the page anew.
func (p *page) open() error {
	if err := p.do(chromedp.Navigate(p.address + "/")); err != nil {
		return err
	}
	return p.until(`document.querySelectorAll('#tasks input').length > 5`)
}

// choose gives the page the picture, as the dialog does.
func (p *page) choose() error {
	if err := p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{p.picture})); err != nil {
		return err
	}
	return p.until(`!document.getElementById('canvas').hidden`)
}

// task chooses a task, as a click does.
func (p *page) task(name string) error {
	_, err := p.js(fmt.Sprintf(`document.querySelector('#tasks input[value=%s]').click()`, name))
	return err
}

// fill types into a field.
func (p *page) fill(name, text string) error {
	id := "#field-" + name
	if _, err := p.js(fmt.Sprintf(`(document.querySelector(%q).closest('details')?.setAttribute('open', ''), document.querySelector(%q).value = '')`, id, id)); err != nil {
		return err
	}
	return p.do(chromedp.SendKeys(chromedp.CSS(id), text))
}

// ask asks, and waits for the answer.
func (p *page) ask() (map[string]any, error) {
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return nil, err
	}
	return p.answer()
}

// answer waits for the answer, and returns its JSON.
func (p *page) answer() (map[string]any, error) {
	if err := p.until(`!document.getElementById('ask').disabled && !document.getElementById('raw').hidden`); err != nil {
		return nil, err
	}
	text, err := p.js(`document.getElementById('json').textContent`)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	return answer, json.Unmarshal([]byte(text), &answer)
}

// shows waits until an element shows a text.
func (p *page) shows(id, text string) error {
	if err := p.until(fmt.Sprintf(`document.getElementById(%q).innerText.includes(%q)`, id, text)); err != nil {
		got, _ := p.js(fmt.Sprintf(`document.getElementById(%q).innerText`, id))
		return fmt.Errorf("%s is %q, want %q", id, got, text)
	}
	return nil
}

// pixel returns the color of the canvas at a point of the picture, as "r,g,b".
func (p *page) pixel(x, y float64) (string, error) {
	return p.js(fmt.Sprintf(`(() => { const c = document.getElementById('canvas'), k = c.width / %d; return [...c.getContext('2d').getImageData(%g * k, %g * k, 1, 1).data.slice(0, 3)] })()`, pictureWidth, x, y))
}

// pictureWidth is that of testdata/scenes/shapes.jpg.
const pictureWidth = 472

// step is something that is tried.
type step struct {
	name string
	try  func(p *page) error
}

var steps = []step{
	{"the page loads without foreign assets", tryLoad},
	{"an answer without a picture is a sentence", tryNoPicture},
	{"text is streamed", tryCaption},
	{"boxes are drawn, by keyboard alone", tryBoxes},
	{"masks are drawn where they are", tryMasks},
	{"texts are rated", tryScores},
	{"text of another program is parsed", tryParse},
	{"a part of the picture is chosen with the mouse", tryPart},
	{"a picture is pasted", tryPaste},
	{"a picture is dropped", tryDrop},
	{"what is not a picture is refused", tryNotPicture},
	{"errors of the server stand at their field", tryFieldError},
	{"the curl line gives the same", tryCurl},
	{"a server that wants a key gets it", tryKey},
	{"a server that is gone is a sentence", tryGone},
	{"narrow screens need no sideways scrolling", tryNarrow},
	{"everything has a name for screen readers", tryNames},
}

func tryLoad(p *page) error {
	if err := p.open(); err != nil {
		return err
	}
	foreign, err := p.js(`performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length`)
	if err == nil && foreign != "0" {
		err = fmt.Errorf("%s foreign assets", foreign)
	}
	return err
}

func tryNoPicture(p *page) error {
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return err
	}
	return p.shows("error", "Choose a picture first.")
}

func tryCaption(p *page) error {
	if err := p.choose(); err != nil {
		return err
	}
	answer, err := p.ask()
	if err != nil {
		return err
	}
	return p.shows("text", answer["text"].(string))
}

// tryBoxes goes to the task with Tab and the arrows, types, and asks with Ctrl+Enter.
func tryBoxes(p *page) error {
	if _, err := p.js(`document.querySelector('#tasks input:checked').focus()`); err != nil {
		return err
	}
	if err := p.do(
		chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), // Boxes
		chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("square ; cross ; circle"),
		chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)),
	); err != nil {
		return err
	}
	answer, err := p.answer()
	if err != nil {
		return err
	}
	objects := answer["objects"].([]any)
	if len(objects) == 0 {
		return errors.New("no objects")
	}
	rows, err := p.js(`document.querySelectorAll('#found tbody tr').length`)
	if err == nil && rows != fmt.Sprint(len(objects)) {
		err = fmt.Errorf("%s rows of %d objects", rows, len(objects))
	}
	if err != nil {
		return err
	}
	for _, o := range objects {
		box := o.(map[string]any)["box"].([]any)
		if err := p.colored(o.(map[string]any)["label"].(string), box[2].(float64), (box[1].(float64)+box[3].(float64))/2); err != nil {
			return err
		}
	}
	return p.until(`document.getElementById('canvas').getAttribute('aria-label').includes('objects')`)
}

// colored makes sure that a point of the canvas has the color of a label.
func (p *page) colored(label string, x, y float64) error {
	want, err := p.js(fmt.Sprintf(`[...document.querySelectorAll('#found tr')].find((r) => r.innerText.startsWith(%q)).querySelector('.swatch').style.backgroundColor.match(/\d+/g)`, label))
	if err != nil {
		return err
	}
	for _, dx := range []float64{0, -1, 1} {
		if got, err := p.pixel(x+dx, y); err != nil || got == want {
			return err
		}
	}
	return fmt.Errorf("the edge of %s at %.0f,%.0f is not %s", label, x, y, want)
}

func tryMasks(p *page) error {
	before, err := p.pixel(205, 130)
	if err != nil {
		return err
	}
	if err := errors.Join(p.task("segment"), p.fill("objects", "cross")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	inside, err := p.pixel(205, 130) // in the middle of the cross
	if err != nil {
		return err
	}
	outside, err := p.pixel(20, 20)
	if err != nil {
		return err
	}
	if _, err := p.js(`document.getElementById('canvas').getContext('2d')`); err != nil {
		return err
	}
	if before == inside {
		return fmt.Errorf("the cross is %s with and without its mask", inside)
	}
	var r, g, b int
	if _, err := fmt.Sscanf(outside, "%d,%d,%d", &r, &g, &b); err != nil || r < 100 || g < 90 {
		return fmt.Errorf("the background is %s", outside)
	}
	return p.shows("found", "Pixels")
}

func tryScores(p *page) error {
	if err := errors.Join(p.task("score"), p.fill("prompt", "what color is the cross?"), p.fill("suffixes", "red\nblue\ngreen")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	if err := p.until(`document.querySelectorAll('#found tbody tr').length === 3`); err != nil {
		return err
	}
	return p.shows("found", "red")
}

func tryParse(p *page) error {
	if err := errors.Join(p.task("parse"), p.fill("text", "<loc0256><loc0128><loc0768><loc0896> 猫")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	return p.shows("found", "猫")
}

func tryPart(p *page) error {
	if err := p.task("caption"); err != nil {
		return err
	}
	where, err := p.js(`(() => { scrollTo(0, 0); const r = document.getElementById('canvas').getBoundingClientRect(); return [r.left, r.top, r.width, r.height].join(' ') })()`)
	if err != nil {
		return err
	}
	var x, y, w, h float64
	if _, err := fmt.Sscan(where, &x, &y, &w, &h); err != nil {
		return err
	}
	if err := p.do(chromedp.DragAndDropXY(x+w/4, y+h/4, x+w/2, y+h/2, 5)); err != nil {
		return err
	}
	if err := p.until(`/^\d+,\d+,\d+,\d+$/.test(document.getElementById('field-box').value)`); err != nil {
		return err
	}
	answer, err := p.ask()
	if err != nil {
		return err
	}
	if prompt := answer["prompt"].(string); !strings.HasPrefix(prompt, "caption <loc") {
		return fmt.Errorf("the prompt is %q", prompt)
	}
	return nil
}

// transfer is a script that makes what a clipboard or a drag holds: the sample.
const transfer = `const t = new DataTransfer(); t.items.add(new File([await (await fetch('/page/sample.jpg')).blob()], 'given.jpg', {type: 'image/jpeg'}));`

func (p *page) given(event string) error {
	if _, err := p.js(`document.getElementById('clear').click()`); err != nil {
		return err
	}
	if _, err := p.js(`(async () => { ` + transfer + event + ` })()`); err != nil {
		return err
	}
	return p.shows("picture-name", "given.jpg, 472 × 335")
}

func tryPaste(p *page) error {
	return p.given(`dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true}))`)
}

func tryDrop(p *page) error {
	return p.given(`document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true, cancelable: true}))`)
}

func tryNotPicture(p *page) error {
	if _, err := p.js(`(() => { const t = new DataTransfer(); t.items.add(new File(['a'], 'a.txt', {type: 'text/plain'})); document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true})) })()`); err != nil {
		return err
	}
	return p.shows("error", "That is not a picture.")
}

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
	p.wrong = nil // the policy forbids other servers, too, and says so
	return nil
}

// sideways is whether the page is wider than the screen.
const sideways = `document.documentElement.scrollWidth > innerWidth`

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

// listen serves on any port of this machine.
func listen(server *http.Server) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() { _ = server.Serve(l) }()
	return "http://" + l.Addr().String(), func() { _ = server.Close() }, nil
}

// pictures takes the pictures of the documentation: wide and light, narrow and dark.
func (p *page) pictures(folder string) error {
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
		task          string
		fields        [][2]string
	}{
		{"page.png", "light", 1240, 800, "segment", [][2]string{{"objects", "cross"}}},
		{"page-narrow.png", "dark", 390, 960, "vqa", [][2]string{{"prompt", "what color is the cross?"}}},
		{"page-caption.png", "dark", 1240, 800, "caption", nil},
		{"page-start.png", "light", 1240, 800, "", nil},
	} {
		if err := p.do(chromedp.EmulateViewport(shot.width, shot.height)); err != nil {
			return err
		}
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: shot.scheme}}
		if _, err := chromedp.Call[emulation.SetEmulatedMediaParams, cdp.Empty](p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			return err
		}
		if err := p.open(); err != nil {
			return err
		}
		if shot.task != "" {
			if err := errors.Join(p.choose(), p.task(shot.task)); err != nil {
				return err
			}
			for _, f := range shot.fields {
				if err := p.fill(f[0], f[1]); err != nil {
					return err
				}
			}
			if _, err := p.ask(); err != nil {
				return err
			}
			_, _ = p.js(`(document.querySelectorAll('details').forEach((d) => { d.open = false }), scrollTo(0, 0), document.activeElement.blur())`)
		}
		time.Sleep(200 * time.Millisecond)
		data, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, shot.name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
