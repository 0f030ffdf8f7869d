package vocabulary

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// file is what the tests look at.
type file struct {
	Added []addedToken `json:"added_tokens"`
	Model struct {
		Vocab  map[string]int
		Merges []string
	}
}

func TestMakeUp(t *testing.T) {
	for _, ids := range []int{least, 2177, 20000} {
		data := MakeUp(ids)
		if !bytes.Equal(data, MakeUp(ids)) {
			t.Errorf("%d ids: not the same bytes twice", ids)
		}
		var f file
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(err)
		}
		vocab := f.Model.Vocab
		seen := map[int]bool{}
		for _, id := range vocab {
			seen[id] = true
		}
		if len(vocab) != ids-1 || len(seen) != ids-1 || !seen[ids-2] || seen[ids-1] {
			t.Errorf("%d ids: %d pieces, %d ids", ids, len(vocab), len(seen))
		}
		for _, a := range f.Added {
			if id, ok := vocab[a.Content]; (ok && id != a.ID) || (!ok && (a.Content != "<image>" || a.ID != ids-1)) {
				t.Errorf("%d ids: added token %+v, %d in the vocabulary", ids, a, id)
			}
		}
		if _, ok := vocab["<0x09>"]; ok || vocab["\t"] == 0 || vocab["\t"] != vocab["<0x08>"]+1 || vocab["<0x0A>"] != vocab["\t"]+1 {
			t.Errorf("%d ids: the tab is token %d, <0x09> %v", ids, vocab["\t"], ok)
		}
		for _, merge := range f.Model.Merges {
			parts := strings.Split(merge, " ")
			if len(parts) != 2 || slices.Contains(parts, "") {
				t.Fatalf("%d ids: merge %q", ids, merge)
			}
			for _, p := range append(parts, parts[0]+parts[1]) {
				if _, ok := vocab[p]; !ok {
					t.Errorf("%d ids: merge %q of %q", ids, merge, p)
				}
			}
		}
		if len(f.Model.Merges) < ids/20 {
			t.Errorf("%d ids: %d merges", ids, len(f.Model.Merges))
		}
	}
}
