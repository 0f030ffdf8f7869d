package server

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
	"paligemma/internal/engine"
)

// adaptedModel is a tiny model with three adapters of random weights, a to c, of which b
// changes the tower, and one, d, that needs an engine of its own.
func adaptedModel(t testing.TB) Model {
	t.Helper()
	m := tinyModel(t, "pg1-tiny")
	e, err := m.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	path := e.Path()
	m.Open = func(adapters []adapter.Spec) (*engine.Engine, error) {
		return engine.Open(path, engine.Options{Threads: 1, Parallel: 4, PrefixBytes: 1 << 20, Adapters: adapters})
	}
	for i, name := range []string{"a", "b", "c"} {
		dir := filepath.Join(t.TempDir(), name)
		o := random.Options{Rank: 2 + i, Seed: uint64(i), Spread: 0.1, Text: name != "b", Tower: name == "b"}
		if err := random.Write(dir, e.Config(), o); err != nil {
			t.Fatal(err)
		}
		m.Adapters = append(m.Adapters, Adapter{Name: name, Spec: adapter.Spec{Path: dir, Scale: 1}})
	}
	m.Adapters = append(m.Adapters, Adapter{Name: "d", Spec: adapter.Spec{Path: filepath.Join(testdata, "adapters", "lora"), Scale: 1}, Apart: true})
	return m
}

// The adapters that a request names are sorted out before anything is opened: the same set
// in another order is the same.
func TestChoose(t *testing.T) {
	m := Model{Name: "m", Adapters: []Adapter{
		{Name: "a", Spec: adapter.Spec{Path: "A", Scale: 1}}, {Name: "b:2", Spec: adapter.Spec{Path: "B", Scale: 0.5}},
		{Name: "b", Spec: adapter.Spec{Path: "C", Scale: 1}, Apart: true}, {Name: "off", Spec: adapter.Spec{Path: "D"}},
	}}
	for name, c := range map[string]struct {
		lora   []string
		want   []adapter.Spec
		apart  bool
		status int // 0: no error
	}{
		"none":                 {nil, nil, false, 0},
		"one":                  {[]string{"a"}, []adapter.Spec{{Path: "A", Scale: 1}}, false, 0},
		"two":                  {[]string{"a", "b:2"}, []adapter.Spec{{Path: "A", Scale: 1}, {Path: "B", Scale: 0.5}}, false, 0},
		"in another order":     {[]string{"b:2", "a"}, []adapter.Spec{{Path: "A", Scale: 1}, {Path: "B", Scale: 0.5}}, false, 0},
		"apart":                {[]string{"b", "a"}, []adapter.Spec{{Path: "A", Scale: 1}, {Path: "C", Scale: 1}}, true, 0},
		"a scale":              {[]string{"a:-0.25"}, []adapter.Spec{{Path: "A", Scale: -0.25}}, false, 0},
		"a name with a colon":  {[]string{"b:2:3"}, []adapter.Spec{{Path: "B", Scale: 3}}, false, 0},
		"scale 0":              {[]string{"a:0", "b:0"}, nil, false, 0},
		"offered with scale 0": {[]string{"off"}, nil, false, 0},
		"unknown":              {[]string{"x"}, nil, false, http.StatusNotFound},
		"unknown with a scale": {[]string{"x:1"}, nil, false, http.StatusNotFound},
		"twice":                {[]string{"a", "a"}, nil, false, http.StatusBadRequest},
		"twice, another scale": {[]string{"a", "a:2"}, nil, false, http.StatusBadRequest},
		"no number":            {[]string{"a:x"}, nil, false, http.StatusBadRequest},
		"NaN":                  {[]string{"a:NaN"}, nil, false, http.StatusBadRequest},
		"out of range":         {[]string{"a:1e39"}, nil, false, http.StatusBadRequest},
		"infinite":             {[]string{"a:-Inf"}, nil, false, http.StatusBadRequest},
		"empty":                {[]string{""}, nil, false, http.StatusNotFound},
		"a scale without name": {[]string{":1"}, nil, false, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := m.choose(c.lora)
			if status, _ := statusOf(err); c.status != 0 && (err == nil || status != c.status || paramOf(err) != "lora") {
				t.Fatalf("%v, want the status %d", err, c.status)
			}
			if c.status == 0 && (err != nil || !reflect.DeepEqual(got.specs, c.want) || got.apart != c.apart || (got.key == "") != (c.want == nil)) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	ab, _ := m.choose([]string{"a", "b:2"})
	ba, _ := m.choose([]string{"b:2:0.5", "a:1"})
	other, _ := m.choose([]string{"a", "b:2:0.51"})
	if ab.key != ba.key || ab.key == other.key {
		t.Errorf("keys are %q, %q and %q", ab.key, ba.key, other.key)
	}
}

// Requests with adapters share an engine, where these are products of low rank; others have
// their own. Each gets what an engine with its adapters gives.
func TestAdaptersOfRequests(t *testing.T) {
	m := adaptedModel(t)
	var opens atomic.Int32
	open := m.Open
	m.Open = func(adapters []adapter.Spec) (*engine.Engine, error) { opens.Add(1); return open(adapters) }
	s := newServer(t, testOptions(m))
	url := listen(t, s)
	picture := dataURI(square(t, color.NRGBA{0, 90, 200, 255}))
	ask := func(url string, lora ...string) string {
		t.Helper()
		r := map[string]any{"image": picture, "prompt": "caption en", "lora": append([]string{}, lora...)}
		text := asked(t, url+"/v1/generate", asJSON(r))["text"]
		r["suffixes"] = []string{"a cat"}
		return fmt.Sprint(text, asked(t, url+"/v1/score", asJSON(r))["scores"])
	}
	sets := [][]string{{}, {"a"}, {"b"}, {"c", "a"}, {"b:0.5", "c"}, {"d"}, {"d", "a"}}
	var want []string
	for i, set := range sets { // each alone, with an engine of its own
		alone := m
		alone.Open = open
		alone.Adapters = slices.Clone(m.Adapters)
		for j := range alone.Adapters {
			alone.Adapters[j].Apart = true
		}
		want = append(want, ask(serve(t, testOptions(alone)), set...))
		if i > 0 && want[i] == want[i-1] {
			t.Errorf("%v: the same as %v", set, sets[i-1])
		}
	}
	var all sync.WaitGroup
	for i := range 3 * len(sets) {
		all.Go(func() {
			set := slices.Clone(sets[i%len(sets)])
			if i >= len(sets) {
				slices.Reverse(set)
			}
			if got := ask(url, set...); got != want[i%len(sets)] {
				t.Errorf("%v: %q, want %q", set, got, want[i%len(sets)])
			}
		})
	}
	all.Wait()
	if n := opens.Load(); n != 3 {
		t.Errorf("%d engines, want one, and two for the sets with d", n)
	}
}

// Requests may name any number of combinations and scales; the engines that these need are
// few: those that nobody uses make room, and where all are in use a request is refused.
func TestAdaptersApart(t *testing.T) {
	s := newServer(t, testOptions(adaptedModel(t)))
	take := func(scale int) (*openModel, error) {
		m, _, err := s.models.take("", []string{fmt.Sprintf("d:%d", scale)})
		if err != nil {
			return nil, err
		}
		return m, m.wait(t.Context())
	}
	var held []*openModel
	for i := range maxApart {
		m, err := take(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, m)
	}
	if _, err := take(maxApart + 1); !errors.Is(err, errApart) {
		t.Errorf("%v, want %v", err, errApart)
	}
	if m, err := take(1); err != nil || m != held[0] {
		t.Errorf("%v: one that is open was not taken", err)
	} else {
		s.models.release(m)
	}
	s.models.release(held[2])
	s.models.release(held[1])
	m, err := take(maxApart + 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held[2].engine.LoadAdapters(t.Context(), nil); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("%v: the one that was not asked for the longest is open", err)
	}
	if back, err := take(2); err != nil || back != held[1] {
		t.Errorf("%v: another one was closed", err)
	}
	if n := len(s.models.held); n != maxApart {
		t.Errorf("%d are held, want %d", n, maxApart)
	}
	for _, o := range append(held[:2:2], append(held[3:], m)...) {
		s.models.release(o)
	}
}

// openAdapted takes a model, which is open.
func openAdapted(t *testing.T, o Options) *openModel {
	t.Helper()
	s := newServer(t, o)
	m, _, err := s.models.take("", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.models.release(m) })
	if err := m.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// takeSet takes adapters by name.
func takeSet(t *testing.T, o Options, m *openModel, lora ...string) *adapterSet {
	t.Helper()
	c, err := o.Models[0].choose(lora)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.adapters.take(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waitSets waits until as many sets of adapters are in memory.
func waitSets(t *testing.T, m *openModel, want int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); m.engine.Stats().AdapterSets != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sets, want %d", m.engine.Stats().AdapterSets, want)
		}
	}
}

// Adapters that nobody uses go after a while; those in use stay.
func TestAdaptersExpire(t *testing.T) {
	o := testOptions(adaptedModel(t))
	o.KeepAlive, o.AdapterCache = time.Millisecond, 1<<30
	m := openAdapted(t, o)
	a, b := takeSet(t, o, m, "a"), takeSet(t, o, m, "b")
	again := takeSet(t, o, m, "a")
	if a != again || m.engine.Stats().AdapterSets != 2 {
		t.Fatal("the same set was read twice")
	}
	m.adapters.release(b)
	m.adapters.release(a)
	waitSets(t, m, 1)
	time.Sleep(5 * time.Millisecond)
	if m.adapters.expire(again); m.engine.Stats().AdapterSets != 1 {
		t.Error("a set in use is gone")
	}
	m.adapters.release(again)
	waitSets(t, m, 0)
	m.adapters.expire(again) // its clock may run out twice
	if back := takeSet(t, o, m, "a"); back == a {
		t.Error("a set that is gone was taken")
	} else {
		m.adapters.release(back)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	c, _ := o.Models[0].choose([]string{"c"})
	if s, err := m.adapters.take(canceled, c); err == nil { // it was there already
		m.adapters.release(s)
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for held := 1; held > 0; time.Sleep(time.Millisecond) { // a set that nobody waits for any more goes, too
		m.adapters.mu.Lock()
		held = len(m.adapters.held)
		m.adapters.mu.Unlock()
	}
	waitSets(t, m, 0)
}

// Adapters that nobody uses make room for others, first those that were not asked for the
// longest.
func TestAdaptersEvicted(t *testing.T) {
	o := testOptions(adaptedModel(t))
	o.AdapterCache = 1 << 30
	m := openAdapted(t, o)
	sets := map[string]*adapterSet{}
	for _, name := range []string{"a", "b", "c"} {
		sets[name] = takeSet(t, o, m, name)
		m.adapters.release(sets[name])
	}
	waitSets(t, m, 3)
	m.adapters.release(takeSet(t, o, m, "a")) // the latest now
	m.adapters.most = sets["a"].adapters.Bytes() + sets["c"].adapters.Bytes()
	free(m.adapters.evict(m.adapters.most))
	waitSets(t, m, 2)
	for name, want := range map[string]bool{"a": true, "b": false, "c": true} {
		c, _ := o.Models[0].choose([]string{name})
		if m.adapters.held[c.key] != nil != want {
			t.Errorf("%s: kept is %v", name, !want)
		}
	}
	m.adapters.most = 0
	used := takeSet(t, o, m, "c")
	m.adapters.release(takeSet(t, o, m, "a"))
	waitSets(t, m, 1)
	m.adapters.release(used)
	waitSets(t, m, 0)
}

// Who gives up waiting for adapters, and a set that cannot be read, leave nothing behind.
func TestAdaptersFail(t *testing.T) {
	model := adaptedModel(t)
	model.Adapters = append(model.Adapters, Adapter{Name: "gone", Spec: adapter.Spec{Path: filepath.Join(t.TempDir(), "none"), Scale: 1}})
	o := testOptions(model)
	m := openAdapted(t, o)
	gone, _ := model.choose([]string{"gone"})
	for range 2 {
		if _, err := m.adapters.take(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "none") {
			t.Errorf("%v", err)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	a, _ := model.choose([]string{"a"})
	if _, err := m.adapters.take(canceled, a); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waitSets(t, m, 1)
	if n := len(m.adapters.held); n != 1 {
		t.Errorf("%d sets are held, want a", n)
	}
	r, text := post(t, serve(t, o)+"/v1/generate", asJSON(map[string]any{"prompt": "x", "lora": "gone"}))
	if r.StatusCode != http.StatusInternalServerError || !strings.Contains(text, "none") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}
