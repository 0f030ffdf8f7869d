// Page tries the page of `paligemma serve` in a headless browser: Chromium, driven by
// chromedp. It starts a server of the built-in model, asks it by mouse, by keyboard and
// by what is pasted and dropped, compares what is shown with what the server answers,
// and can take the pictures of the documentation.
//
//	cd scripts/page && go run . ../../bin/paligemma ../../testdata/scenes/shapes.jpg [../../docs/images]
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
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
			return fmt.Errorf("%s: %w", s.name, errors.Join(err, p.complaints()))
		}
		fmt.Println("ok", s.name)
	}
	if err := p.complaints(); err != nil {
		return err
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

// listen serves on any port of this machine.
func listen(server *http.Server) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() { _ = server.Serve(l) }()
	return "http://" + l.Addr().String(), func() { _ = server.Close() }, nil
}
