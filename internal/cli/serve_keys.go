package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

// maxKeyFile bounds a file of keys, in bytes.
const maxKeyFile = 1 << 20

// keyring holds the keys of those who may ask.
type keyring struct {
	typed, files []string
	keys         atomic.Pointer[[]string]
}

// any reports whether a key is needed.
func (k *keyring) any() bool { return len(k.typed)+len(k.files) > 0 }

// get returns the keys.
func (k *keyring) get() []string { return *k.keys.Load() }

// load reads the keys. On an error they stay as they are.
func (k *keyring) load() error {
	var all []string
	for _, key := range k.typed {
		if err := checkKey(key); err != nil {
			return fmt.Errorf("--api-key: %w", err)
		}
		all = append(all, key)
	}
	for _, path := range k.files {
		keys, err := readKeys(path)
		if err != nil {
			return fmt.Errorf("--api-key-file %w", err)
		}
		all = append(all, keys...)
	}
	k.keys.Store(&all)
	return nil
}

// readKeys reads the keys in a file, one a line. Empty lines and those that begin with #
// do not count.
func readKeys(path string) (keys []string, err error) {
	data, err := regular.ReadStart(path, maxKeyFile+1)
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s: want a file of keys, one a line", path)
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := checkKey(line); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", path, number, err)
		}
		keys = append(keys, line)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: has no key in it: want one a line", path)
	}
	return keys, nil
}

// checkKey returns what is wrong with a key, without the key.
func checkKey(key string) error {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("want a key of printable ASCII characters without spaces, as from: openssl rand -hex 32")
	}
	return nil
}

// certificate is what a server shows over TLS; without paths there is none.
type certificate struct {
	cert, key string // paths
	current   atomic.Pointer[tls.Certificate]
}

// load reads the certificate. On an error it stays as it is.
func (c *certificate) load() error {
	if c.cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w", quote.Short(c.cert), quote.Short(c.key), quote.Error(cause(err)))
	}
	c.current.Store(&pair)
	return nil
}

// config returns the settings of TLS, which show the certificate of the moment.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// pinned returns settings of TLS that trust the certificate in the file and no other,
// whatever names it has.
func (c *certificate) pinned() (*tls.Config, error) {
	if err := c.load(); err != nil {
		return nil, err
	}
	leaf := c.current.Load().Leaf
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // in favor of what follows
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(leaf) {
				return errors.New("the server has another certificate")
			}
			return nil
		},
	}, nil
}
