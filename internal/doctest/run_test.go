package doctest

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// page is a page with every kind of block.
const page = "# Page\n" +
	"```console\n$ echo one\none\n$ cat <<END\n> two\n> END\ntwo\n```\n" +
	"```sh\nfor i in a b; do\n  echo $i\ndone > list.txt\n```\n" +
	"```json\n{}\n```\n" +
	"```sh needs=checkpoint\npaligemma caption photo.jpg -m model.gguf\n```\n"

func TestParse(t *testing.T) {
	blocks, err := Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{
		{2, Console, "", []Command{{3, "echo one", []string{"one"}, 3}, {5, "cat <<END\ntwo\nEND", []string{"two"}, 7}}},
		{10, Shell, "", []Command{{11, "for i in a b; do\n  echo $i\ndone > list.txt", nil, 0}}},
		{18, Shell, "checkpoint", []Command{{19, "paligemma caption photo.jpg -m model.gguf", nil, 0}}},
	}
	if !slices.EqualFunc(blocks, want, equalBlocks) {
		t.Errorf("got  %+v\nwant %+v", blocks, want)
	}
	for name, text := range map[string]string{
		"no end":        "```sh\ntrue\n",
		"no command":    "```console\n```\n",
		"output first":  "```console\none\n$ echo one\n```\n",
		"unknown needs": "```sh needs=luck\ntrue\n```\n",
		"unknown word":  "```sh run\ntrue\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			if blocks, err := Parse(text); err == nil {
				t.Errorf("no error, but %+v", blocks)
			}
		})
	}
}

func equalBlocks(a, b Block) bool {
	return a.Line == b.Line && a.Language == b.Language && a.Needs == b.Needs && slices.EqualFunc(a.Commands, b.Commands, func(a, b Command) bool {
		return a.Line == b.Line && a.Text == b.Text && a.first == b.first && slices.Equal(a.Output, b.Output)
	})
}

func TestMatches(t *testing.T) {
	tests := []struct {
		want, got string
		match     bool
	}{
		{"a b", "a b", true},
		{"a b", "a", false},
		{"a", "a b", false},
		{"a b", "a c", false},
		{"…", "", true},
		{"a … c", "a b b c", true},
		{"a … c", "a c", true},
		{"a … c", "a b", false},
		{"… c", "a c c", true},
		{"a …", "b c", false},
	}
	for _, tt := range tests {
		t.Run(tt.want+"|"+tt.got, func(t *testing.T) {
			if got := Matches(strings.Fields(tt.want), strings.Fields(tt.got)); got != tt.match {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Each page has one fault.
func TestFaults(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"another output":     {"```console\n$ echo one\ntwo\n```\n", "prints\none\n"},
		"no output":          {"```console\n$ true\none\n```\n", "prints\n\n"},
		"more output":        {"```console\n$ printf 'one\\ntwo\\n'\none\n```\n", "prints\none\ntwo\n"},
		"exit code":          {"```console\n$ false\n```\n", "exit code 1: false"},
		"a line of a script": {"```sh\nfalse\ntrue\n```\n", "exit code 1: false"},
		"a pipeline":         {"```sh\nfalse | cat\n```\n", "exit code 1: "},
		"a syntax error":     {"```sh\nfor\n```\n", "syntax error"},
		"a wrong name":       {"```sh\npaligema caption\n```\n", "exit code 127"},
		"a wrong flag":       {"```sh\npaligemma caption testdata/scenes/shapes.jpg --no-such-flag\n```\n", "unknown flag --no-such-flag"},
		"the shell ends":     {"```sh\nexit 0\n```\n```sh\ntrue\n```\n", "not reached"},
		"unchecked flag":     {"```sh needs=checkpoint\npaligemma caption x.jpg --no-such-flag\n```\n", "unknown flag --no-such-flag"},
		"unchecked command":  {"```sh needs=checkpoint\nhf download x | paligemma nosuch\n```\n", "no such command"},
		"out of reach":       {"```sh needs=checkpoint\npaligemma parse < nosuch.txt\n```\n", "could not be checked"},
	}
	dir, env := sandbox(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			blocks, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			results, err := Run(t.Context(), dir, env, blocks)
			if err != nil {
				t.Fatal(err)
			}
			if wrong, _ := Compare(blocks, results); len(wrong) != 1 || !strings.Contains(wrong[0], tt.want) {
				t.Errorf("got %q, want %q in it", wrong, tt.want)
			}
		})
	}
}

// A sound page has no fault, state passes from block to block, and what is
// marked is not executed.
func TestSound(t *testing.T) {
	text := page + "```console\n$ x=3; cd testdata\n$ echo $x; ls -d scenes\n3\nscenes\n$ if false; then true; fi; false || cat ../list.txt\na\n…\n```\n" +
		"```sh needs=root\ntouch ../made\nsudo make install && touch made\n```\n```console\n$ ls made ../made 2>/dev/null || echo none\nnone\n```\n"
	blocks, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	dir, env := sandbox(t)
	results, err := Run(t.Context(), dir, env, blocks)
	if err != nil {
		t.Fatal(err)
	}
	if wrong, outputs := Compare(blocks, results); wrong != nil || outputs != nil {
		t.Errorf("got %q, %q", wrong, outputs)
	}
}

// A server that a page starts ends with it, and has a port that no other page's has.
func TestServer(t *testing.T) {
	blocks, err := Parse("```console\n$ sleep 1000 & echo $! > pid; echo 8080 | tee port\n8080\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	dir, env := sandbox(t)
	results, err := Run(t.Context(), dir, env, blocks)
	if err != nil {
		t.Fatal(err)
	}
	if wrong, _ := Compare(blocks, results); wrong != nil {
		t.Errorf("got %q", wrong)
	}
	if port := readFile(t, filepath.Join(dir, "port")); port == "8080\n" {
		t.Error("the port is that of the page")
	}
	if err := exec.CommandContext(t.Context(), "kill", "-0", strings.TrimSpace(readFile(t, filepath.Join(dir, "pid")))).Run(); err == nil {
		t.Error("what runs in the background goes on")
	}
}

// A tool that is missing is named; its commands are not run.
func TestMissing(t *testing.T) {
	blocks, err := Parse("```sh\npaligemma convert\n```\n```sh\necho x |\n  jq . > out\n```\n```sh\nwhile read f; do convert $f; done\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	var got []string
	for _, b := range blocks {
		got = append(got, strings.Join(missing(b.Commands[0].Text), " "))
	}
	if want := []string{"", "jq", "convert"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSameLine(t *testing.T) {
	tests := []struct {
		want, got string
		same      bool
	}{
		{"cross\t111.7\t40.3", "cross\t112.2\t39.8", true},
		{"cross\t111.7", "star\t111.7", false},
		{"cross\t111.7", "cross\t118.0", false},
		{"cross\t111.7", "cross\t111.71", false},
		{"cross\t111.7", "cross\t112", false},
		{"<loc0397> star", "<loc0398> star", true},
		{"<loc0397> star", "<loc0410> star", false},
		{"4", "5", false},
		{"24 files", "25 files", false},
		{"7.4 MB", "7.5 MB", true},
		{"7.4 MB", "7.9 MB", false},
		{"0.91", "0.95", false},
		{"[238,274]", "[238,274,1]", false},
	}
	for _, tt := range tests {
		t.Run(tt.want+"|"+tt.got, func(t *testing.T) {
			if got := sameLine(tt.want, tt.got); got != tt.same {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRewrite(t *testing.T) {
	blocks, err := Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	got := Rewrite(page, blocks, [][]string{{"1", "I"}, {}, nil, nil})
	want := strings.Replace(strings.Replace(page, "echo one\none\n", "echo one\n1\nI\n", 1), "END\ntwo\n", "END\n", 1)
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
