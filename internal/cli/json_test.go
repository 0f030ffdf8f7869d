package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/jsonschema"
	"paligemma/internal/result"
)

// schemas reads the blocks of docs/json.md, by title.
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*jsonschema.Schema{}
	for i, block := range strings.Split(string(text), "```") {
		body, ok := strings.CutPrefix(block, "json\n")
		if !ok || i%2 == 0 {
			continue
		}
		s := &jsonschema.Schema{}
		if err := json.Unmarshal([]byte(body), s); err != nil {
			t.Fatalf("block %d: %v", i/2+1, err)
		}
		found[s.Title] = s
	}
	return found
}

// Texts with an object.
const (
	boxText  = "<loc0300><loc0400><loc0700><loc1000> dog"
	maskText = "<loc0100><loc0200><loc0900><loc0800><seg127><seg126><seg125><seg124><seg123><seg122><seg121><seg120><seg119><seg118><seg117><seg116><seg115><seg114><seg113><seg112> cat"
)

func TestJSON(t *testing.T) {
	testHub(t)
	userFolders(t)
	dir := t.TempDir()
	all := schemas(t)
	m, images := fixture(t, "MODEL"), fixture(t, "IMAGES")
	scene, photo, bad := filepath.Join(images, "scene.png"), filepath.Join(images, "photo.jpg"), filepath.Join(dir, "bad.png")
	if err := os.WriteFile(bad, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	requests := filepath.Join(dir, "requests.jsonl")
	lines := fmt.Sprintf("{\"image\": %q, \"prompt\": \"segment cat\"}\n{\"image\": %q, \"prompt\": \"a\"}\n{\"prompt\":\n{\"prompt\": %q}\n", scene, bad, strings.Repeat("x ", 9000))
	if err := os.WriteFile(requests, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(dir, "results.jsonl")
	runArgs(t, t.Context(), false, "caption", bad, bad, "-m", m, "-o", results)
	used := map[string]bool{}
	for _, c := range []struct {
		schemas string // of the results, in order
		code    int
		args    []string
	}{
		{"answer", 0, []string{"caption", scene, "-m", m}},
		{"answer answer", 0, []string{"vqa", scene, "-m", m, "--prompt", "a", "--prompt", ""}},
		{"answer failure answer", 3, []string{"ocr", scene, bad, photo, "-m", m}},
		{"answer", 0, []string{"generate", "-m", m, "--prompt", ""}},
		{"answer", 0, []string{"generate", scene, photo, "--join", "-m", m, "--prompt", "a"}},
		{"answer failure failure failure", 3, []string{"generate", "--requests", requests, "-m", fixture(t, "MASKMODEL")}},
		{"answer", 0, []string{"vqa", scene, "-m", m, "--prompt", "a", "--choices", "b,c"}},
		{"answer", 0, []string{"caption", scene, "-m", m, "--beams", "3", "--num-return", "2"}},
		{"answer", 0, []string{"caption", scene, "-m", m, "--logprobs", "3"}},
		{"answer failure answer", 3, []string{"detect", "cat", scene, bad, photo, "-m", m, "--draw", filepath.Join(dir, "d")}},
		{"answer", 0, []string{"detect", "cat", photo, "-m", m, "--stop-repeats"}},
		{"answer answer", 0, []string{"segment", "cat", scene, photo, "-m", fixture(t, "MASKMODEL"), "--mask-dir", filepath.Join(dir, "m")}},
		{"finding finding finding", 3, []string{"batch", "verify", results}},
		{"coco", 0, []string{"parse", maskText + ";" + boxText, "--image", scene, "--mask-decoder", fixture(t, "CODEC")}},
		{"coco", 3, []string{"detect", "cat", scene, bad, photo, "-m", m}},
		{"score failure", 3, []string{"score", scene, bad, "-m", m, "--prompt", "a", "--suffix", "b", "--suffix", ""}},
		{"score", 0, []string{"score", "-m", m, "--prompt", "a", "--suffix", "b"}},
		{"parse", 0, []string{"parse", boxText, "--size", "64x48"}},
		{"parse", 0, []string{"parse", maskText + ";" + boxText, "--image", scene, "--mask-decoder", fixture(t, "CODEC"), "--mask-dir", filepath.Join(dir, "p")}},
		{"forward", 0, []string{"forward", scene, "-m", m, "--prompt", "a", "--suffix", "b", "-o", filepath.Join(dir, "a")}},
		{"forward", 0, []string{"forward", "-m", m, "--prompt", "a", "-o", filepath.Join(dir, "b")}},
		{"convert", 0, []string{"convert", fixture(t, "CHECKPOINT"), filepath.Join(dir, "c"), "--type", "q4_k_m"}},
		{"convert", 0, []string{"quantize", fixture(t, "MASKMODEL"), filepath.Join(dir, "q"), "--type", "q4_k_m"}},
		{"stored", 0, []string{"pull", "test/one", "--type", "f32"}},
		{"stored", 0, []string{"list"}},
		{"show", 0, []string{"show", "test/one"}},
		{"inspect", 0, []string{"inspect"}},
		{"inspect", 0, []string{"inspect", m, "--verify"}},
		{"inspect", 0, []string{"inspect", m, "--split", "auto", "--device", "cpu", "--lora", filepath.Join(fixture(t, "ADAPTERS"), "lora")}},
		{"inspect", 0, []string{"inspect", fixture(t, "CHECKPOINT")}},
		{"inspect", 0, []string{"inspect", filepath.Join(dir, "a")}},
		{"bench", 0, []string{"bench", "-m", m, "--repetitions", "1"}},
		{"bench", 0, []string{"bench", "--synthetic", "tiny", "--repetitions", "2", "--no-probe", "--sequences", "1,2"}},
		{"device", 0, []string{"devices"}},
		{"version", 0, []string{"version"}},
	} {
		for _, format := range []string{formatJSON, formatJSONL} {
			if c.schemas == "coco" {
				format = formatCOCO
			}
			args := append(slices.Clone(c.args), "--format", format)
			switch args[0] {
			case "caption", "vqa", "ocr", "generate":
				args = append(args, "--max-tokens", "9")
			case "detect", "segment":
				args = append(args, "--max-tokens", "40", "--overwrite")
			case "forward", "convert", "quantize", "parse":
				args = append(args, "--overwrite")
			}
			code, out, errs := runArgs(t, t.Context(), false, args...)
			if code != c.code {
				t.Errorf("%v: exit code %d: %s", args, code, errs)
				continue
			}
			results := decodeResults(t, out, format)
			want := strings.Fields(c.schemas)
			if c.schemas == "device" {
				want = slices.Repeat(want, len(results))
			}
			if len(results) != len(want) || len(results) == 0 {
				t.Errorf("%v: %d results, want %d: %s", args, len(results), len(want), out)
				continue
			}
			for i, v := range results {
				used[want[i]] = true
				for _, wrong := range all[want[i]].Check(want[i], v) {
					t.Errorf("%v: %s", args, wrong)
				}
			}
		}
	}
	var out strings.Builder
	asked := Streams{In: strings.NewReader("caption\n" + strings.Repeat("x ", 9000) + "\n"), Out: &out, Err: io.Discard}
	if code := Run(t.Context(), []string{"look", scene, "--format", "jsonl"}, asked); code != exitPartly {
		t.Errorf("a line that is too long for the model: exit code %d", code)
	}
	for i, v := range decodeResults(t, out.String(), formatJSONL) {
		title := []string{"answer", "failure"}[i]
		if code, _ := v.(map[string]any)["error_code"].(string); i == 1 && code != result.CodeLongPrompt {
			t.Errorf("look: error_code %q of a line that is too long for the model", code)
		}
		for _, wrong := range all[title].Check(title, v) {
			t.Errorf("look: %s", wrong)
		}
	}
	out.Reset()
	long := Streams{In: strings.NewReader(strings.Repeat("x", maxLine+1)), Out: &out, Err: io.Discard}
	if code := Run(t.Context(), []string{"parse", "--image", scene, "--format", "jsonl"}, long); code != exitPartly {
		t.Errorf("a line that is too long: exit code %d", code)
	}
	for _, wrong := range all["line failure"].Check("line failure", decodeResults(t, out.String(), formatJSONL)[0]) {
		t.Error(wrong)
	}
	used["line failure"] = true
	checkRecords(t, all, "caption", scene, bad, requests, "-m", m, "--max-tokens", "9", "-o", "-")
	used["record"] = true
	for title := range all {
		if !used[title] {
			t.Errorf("the schema %q was not tried", title)
		}
	}
}

// checkRecords checks the records of --output: each is an answer, or a failure, and what
// all records have.
func checkRecords(t *testing.T, all map[string]*jsonschema.Schema, args ...string) {
	t.Helper()
	_, out, errs := runArgs(t, t.Context(), false, args...)
	records := decodeResults(t, out, formatJSONL)
	if len(records) != 6 {
		t.Fatalf("%v: %d records: %s", args, len(records), errs)
	}
	for _, v := range records {
		record, answer := map[string]any{}, map[string]any{}
		for name, field := range v.(map[string]any) {
			if all["record"].Properties[name] != nil {
				record[name] = field
			} else {
				answer[name] = field
			}
		}
		wrong := all["record"].Check("record", record)
		if record["error"] == nil {
			wrong = append(wrong, all["answer"].Check("answer", answer)...)
		}
		for _, w := range wrong {
			t.Errorf("%v: %s", args, w)
		}
	}
}

// decodeResults undoes --format: one object or an array of several, or lines.
func decodeResults(t *testing.T, out, format string) []any {
	t.Helper()
	var results []any
	if format == formatJSONL {
		for line := range strings.Lines(out) {
			var v any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Errorf("line %q: %v", line, err)
			}
			results = append(results, v)
		}
		return results
	}
	var v any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Errorf("%q: %v", out, err)
	}
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// The checker itself finds what is wrong.
func TestSchemaCheck(t *testing.T) {
	answer := schemas(t)["answer"]
	const good = `{"task":"ocr","model":"m.gguf","prompt":"","text":"","tokens":[1],"finish_reason":"stop","timings":{"load_ms":1,"image_ms":1,"vision_ms":1,"prefill_ms":1,"decode_ms":0.5,"prefill_tokens":1,"decode_tokens":1}}`
	for change, want := range map[string]int{
		"":                            0,
		`"text":""|"text":1`:          1,
		`"text":""|"words":""`:        2,
		`[1]|[1.5]`:                   1,
		`[1]|[""]`:                    1,
		`[1]|1`:                       1,
		`"stop"|"end"`:                1,
		`"load_ms":1,|`:               1,
		`"prompt":""|"prompt":null`:   1,
		`"decode_ms":0.5|"x":{}`:      2,
		`"prefill_ms":1|"prefill_ms"`: -1, // no JSON
	} {
		old, new, _ := strings.Cut(change, "|")
		var v any
		err := json.Unmarshal([]byte(strings.Replace(good, old, new, 1)), &v)
		if want < 0 {
			if err == nil {
				t.Errorf("%s: JSON", change)
			}
			continue
		}
		if wrong := answer.Check("answer", v); err != nil || len(wrong) != want {
			t.Errorf("%s: %v, %v; want %d errors", change, err, wrong, want)
		}
	}
}
