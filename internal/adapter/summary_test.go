package adapter

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/adapter/random"
)

// TestSummary describes an adapter.
func TestSummary(t *testing.T) {
	a, err := Open(filepath.Join("..", "..", "testdata", "adapters", "rslora"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s, err := a.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.Modules != 15 || s.Base != "pg1-tiny" || s.Version == "" || s.Replaced != 0 || s.Parameters != 5952 {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.Ranks, []int{2, 3, 4}) || len(s.Scales) != 5 || math.Abs(s.Scales[0]-1) > 0 {
		t.Errorf("ranks %v, scales %v", s.Ranks, s.Scales)
	}
	if updates, stored := a.Weights(); updates != 5952 || stored != 0 {
		t.Errorf("%d weights of updates, %d stored", updates, stored)
	}
	rows := s.Describe()
	if got := rows[1][1]; got != "text gate_proj ×3, text k_proj ×3, text v_proj ×3, vision k_proj ×3, vision v_proj ×3" {
		t.Errorf("changes %q", got)
	}
}

// TestLowRankOnly sorts out adapters that do more than add products of low rank.
func TestLowRankOnly(t *testing.T) {
	root := filepath.Join("..", "..", "testdata", "adapters")
	folders, err := filepath.Glob(filepath.Join(root, "*", ConfigName))
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d adapters, %v", len(folders), err)
	}
	for _, path := range folders {
		name := filepath.Base(filepath.Dir(path))
		a, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if got, want := a.LowRankOnly(), name == "rslora"; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	dir := t.TempDir()
	if err := random.Write(dir, tiny(), random.Options{Rank: 1, Spread: 1, Text: true, Tower: true}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if !a.LowRankOnly() {
		t.Error("updates of linear layers count as more")
	}
}
