// Package hub speaks the HTTP protocol of the Hugging Face Hub: it lists the files
// of a revision of a model's repository and downloads them, over several
// connections, going on where an earlier run was broken off. Every file is held
// against the size and the hash that the hub's list has for it. Answers are
// foreign bytes: bounded, checked, and never shown in full.
package hub

import (
	"net/http"
	"net/url"
	"time"
)

// DefaultEndpoint is the hub where HF_ENDPOINT names no other.
const DefaultEndpoint = "https://huggingface.co"

// Client asks one hub. Its fields may be changed until it is used.
type Client struct {
	Endpoint  *url.URL
	Token     string // sent to the endpoint only; "": none
	TokenFrom string // where the token comes from, for messages
	Agent     string // the User-Agent
	Cache     string // the folder of the hub's cache, which is only read; "": none
	Offline   bool   // ask nobody: take what the cache has

	Connections int           // at a time
	Stall       time.Duration // without a byte, after which a connection counts as dead
	Backoff     time.Duration // before the first retry; it doubles with each that brings nothing
	Notify      func(string)  // is told of retries, from any goroutine; nil: nobody

	transport *http.Transport
}

// NewClient returns a client for the settings.
func NewClient(s Settings) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // sizes and ranges are those of the files
	transport.MaxResponseHeaderBytes = 256 << 10
	transport.MaxIdleConnsPerHost = defaultConnections
	// Several connections are the point, and HTTP/2 would make one of them.
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	return &Client{
		Endpoint: s.Endpoint, Token: s.Token, TokenFrom: s.TokenFrom, Agent: "paligemma", Cache: s.Cache, Offline: s.Offline,
		Connections: defaultConnections, Stall: 30 * time.Second, Backoff: time.Second, transport: transport,
	}
}

const defaultConnections = 8

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Page returns the address where people see a repository.
func (c *Client) Page(id string) string { return c.url(id).String() }

// url returns the address below the endpoint with these path elements, each of
// which may have slashes.
func (c *Client) url(path ...string) *url.URL { return c.Endpoint.JoinPath(path...) }
