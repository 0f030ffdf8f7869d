package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

// maxToken bounds a token, and the file that holds one, in bytes.
const maxToken = 16 << 10

// Settings are what the environment says about the hub, as huggingface_hub reads it.
type Settings struct {
	Endpoint  *url.URL
	Token     string
	TokenFrom string // a variable or a file
	Cache     string // folder
	Offline   bool
}

// ReadSettings reads the variables of the environment that the official client reads
// (HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and
// older names), and the file with the token. home is the user's folder.
func ReadSettings(getenv func(string) string, home string) (Settings, error) {
	v := variables{getenv, home}
	s := Settings{Offline: v.isTrue("HF_HUB_OFFLINE") || v.isTrue("TRANSFORMERS_OFFLINE")}
	hfHome := v.path("HF_HOME")
	if hfHome == "" {
		cache := v.path("XDG_CACHE_HOME")
		if cache == "" && home != "" {
			cache = filepath.Join(home, ".cache")
		}
		hfHome = below(cache, "huggingface")
	}
	s.Cache = cmp.Or(v.path("HF_HUB_CACHE"), v.path("HUGGINGFACE_HUB_CACHE"), below(hfHome, "hub"))
	var err error
	if s.Endpoint, err = endpoint(getenv("HF_ENDPOINT")); err != nil {
		return s, err
	}
	s.Token, s.TokenFrom, err = v.token(hfHome)
	return s, err
}

// below returns a name in a folder; "" where the folder is not known.
func below(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// endpoint parses the address of a hub.
func endpoint(text string) (*url.URL, error) {
	if text == "" {
		text = DefaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("HF_ENDPOINT=%s: want the address of a hub, as %s", quote.Short(text), DefaultEndpoint)
	}
	return u, nil
}

// variables are those of the environment.
type variables struct {
	getenv func(string) string
	home   string
}

// isTrue reports whether a variable says yes.
func (v variables) isTrue(name string) bool {
	switch strings.ToUpper(v.getenv(name)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// path returns a variable that holds a path, with ~ and variables in it replaced.
func (v variables) path(name string) string {
	text := v.getenv(name)
	if text == "~" || strings.HasPrefix(text, "~/") {
		text = v.home + text[1:]
	}
	return os.Expand(text, v.getenv)
}

// token finds the token, and says where.
func (v variables) token(hfHome string) (token, from string, err error) {
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if token = cleanToken(v.getenv(name)); token != "" {
			return token, name, checkToken(token, name)
		}
	}
	if v.isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", "", nil
	}
	path := cmp.Or(v.path("HF_TOKEN_PATH"), below(hfHome, "token"))
	if path == "" {
		return "", "", nil
	}
	b, err := regular.ReadStart(path, maxToken+1)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	} else if err != nil {
		return "", "", fmt.Errorf("the hub's token: %w", err)
	}
	if token = cleanToken(string(b)); token == "" {
		return "", "", nil
	}
	return token, path, checkToken(token, path)
}

// cleanToken drops line ends, which copies of tokens have.
func cleanToken(text string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(text))
}

// checkToken refuses what cannot be sent. The token is not shown.
func checkToken(token, from string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the token in %s is not one: want a line such as hf_…; log in again with `hf auth login`", quote.Line(from, 2*quote.Max))
	}
	return nil
}
