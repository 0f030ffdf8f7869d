package server

import (
	"encoding/base64"
	"net"
	"os"
	"testing"
	"time"

	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// demoEngine opens the built-in model.
func demoEngine() (*engine.Engine, error) {
	file, err := demo.Open()
	if err != nil {
		return nil, err
	}
	return engine.New(file, engine.Options{Threads: 1, Parallel: 2})
}

// demoModels are the built-in model.
func demoModels() []Model {
	return []Model{{
		Name:  "demo",
		Open:  func([]string) (*engine.Engine, error) { return demoEngine() },
		Masks: func(*engine.Engine) (*engine.Masks, error) { return nil, nil },
	}}
}

// testLimits are those of pictures in tests.
var testLimits = preprocess.Limits{MaxPixels: 1 << 24, MaxBytes: 1 << 24}

// scene is a picture as a data: URI.
func sceneURI(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../../testdata/scenes/demo.png")
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)
}

// dial connects to a listener, for at most some minutes.
func dial(t testing.TB, l net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(l.Network(), l.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	return conn
}
