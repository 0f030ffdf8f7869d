package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".cache/huggingface/token", "hf_home\n")
	other := write("other", " hf_other\r\n")
	empty, bad := write("empty", "\n"), write("bad", "hf_a\x01")
	write("hf/token", "hf_in_hf_home")
	for _, tt := range []struct {
		name, env          string
		token, from, cache string
		offline            bool
		endpoint, err      string
	}{
		{"nothing", "", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"token", "HF_TOKEN= hf_a \n", "hf_a", "HF_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"old token", "HUGGING_FACE_HUB_TOKEN=hf_b", "hf_b", "HUGGING_FACE_HUB_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"both", "HUGGING_FACE_HUB_TOKEN=hf_b,HF_TOKEN=hf_a", "hf_a", "HF_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"token path", "HF_TOKEN_PATH=" + other, "hf_other", "other", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"home", "HF_HOME=~/hf", "hf_in_hf_home", "hf/token", "hf/hub", false, DefaultEndpoint, ""},
		{"xdg", "XDG_CACHE_HOME=" + dir + "/none", "", "", "none/huggingface/hub", false, DefaultEndpoint, ""},
		{"cache", "HF_HUB_CACHE=$BASE/c,BASE=" + dir, "hf_home", ".cache/huggingface/token", "c", false, DefaultEndpoint, ""},
		{"old cache", "HUGGINGFACE_HUB_CACHE=" + dir + "/c", "hf_home", ".cache/huggingface/token", "c", false, DefaultEndpoint, ""},
		{"not sent", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1", "", "", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"empty file", "HF_TOKEN_PATH=" + empty, "", "", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"offline", "HF_HUB_OFFLINE=yes", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", true, DefaultEndpoint, ""},
		{"endpoint", "HF_ENDPOINT=http://localhost:8080/hub/", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", false, "http://localhost:8080/hub", ""},
		{"no home", "HOME=none", "", "", "", false, DefaultEndpoint, ""},
		{"bad endpoint", "HF_ENDPOINT=localhost:8080", "", "", "", false, "", "HF_ENDPOINT"},
		{"endpoint with a password", "HF_ENDPOINT=https://u:p@h", "", "", "", false, "", "HF_ENDPOINT"},
		{"bad token", "HF_TOKEN=hf_é", "", "", "", false, "", "the token in HF_TOKEN is not one"},
		{"bad token file", "HF_TOKEN_PATH=" + bad, "", "", "", false, "", "is not one"},
		{"a folder", "HF_TOKEN_PATH=" + dir, "", "", "", false, "", "is a folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{}
			for pair := range strings.SplitSeq(tt.env, ",") {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
			home := dir
			if env["HOME"] == "none" {
				home = ""
			}
			s, err := ReadSettings(func(name string) string { return env[name] }, home)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hf_a\x01") {
					t.Errorf("%v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			from := tt.from
			if strings.Contains(from, "/") || from == "other" {
				from = filepath.Join(dir, from)
			}
			if s.Token != tt.token || s.TokenFrom != from || home != "" && s.Cache != filepath.Join(dir, tt.cache) || home == "" && s.Cache != "" || s.Offline != tt.offline || s.Endpoint.String() != tt.endpoint {
				t.Errorf("%+v", s)
			}
		})
	}
}
