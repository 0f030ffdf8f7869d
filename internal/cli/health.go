package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"paligemma/internal/quote"
)

// healthOptions are the flags of health.
type healthOptions struct {
	listen  listenOptions
	Timeout time.Duration
}

func (a *app) healthCommand() *cobra.Command {
	o := &healthOptions{}
	cmd := &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a server whether it answers requests",
		Long: `Ask a server whether it answers requests, and print "ok". While it loads its model,
or ends, and where there is none, the exit code is 1.

The server is that of the flags, or of the variables that serve takes, too. A URL
is http://HOST:PORT, https://HOST:PORT or unix:PATH.`,
		Example: `  paligemma health
  paligemma health https://pictures.example.org
  paligemma health unix:/run/paligemma/socket`,
		Args: argsBetween(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.listen.typed = typed(cmd.Flags(), "host") || typed(cmd.Flags(), "port")
			return a.runHealth(cmd.Context(), o, args)
		},
	}
	f := cmd.Flags()
	refuse(f, resultFlags...)
	o.listen.addressFlags(f)
	f.StringVar(&o.listen.Cert, "tls-cert", "", "ask over TLS, and trust the certificate in `FILE` only, with --tls-key as serve has it")
	f.StringVar(&o.listen.Key, "tls-key", "", "the key in `FILE` that belongs to it")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "how long the answer may take")
	annotate(f, "timeout", noVariable)
	return cmd
}

// address returns what to ask, and the path of the unix socket to ask over, if there is
// one.
func (o *healthOptions) address(args []string) (u *url.URL, socket string, err error) {
	if len(args) == 0 {
		return o.listen.url()
	}
	text := args[0]
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return nil, "", errors.New("want unix:PATH")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, path, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err = url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", fmt.Errorf("%s: want http://HOST:PORT, https://HOST:PORT or unix:PATH", quote.Short(args[0]))
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, "", nil
}

// url returns where a server with these flags is asked.
func (o *listenOptions) url() (u *url.URL, socket string, err error) {
	if o.Socket != "" && !o.typed {
		return &url.URL{Scheme: "http", Host: "localhost"}, o.Socket, nil
	}
	host, scheme := strings.Trim(o.Host, "[]"), "http"
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = map[bool]string{true: defaultHost, false: "::1"}[a.Is4()]
	}
	if o.Cert != "" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, strconv.Itoa(o.Port))}, "", nil
}

func (a *app) runHealth(ctx context.Context, o *healthOptions, args []string) error {
	if err := o.listen.check(); err != nil {
		return err
	}
	if o.Timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v: want a time above 0, such as 5s", o.Timeout)}
	}
	u, socket, err := o.address(args)
	if err != nil {
		return usageError{err}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	if o.listen.Cert != "" {
		if transport.TLSClientConfig, err = (&certificate{cert: o.listen.Cert, key: o.listen.Key}).pinned(); err != nil {
			return dataError{err}
		}
	}
	own, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	shown := cmp.Or(socket, u.String())
	switch err := askHealth(own, &http.Client{Transport: transport}, u); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v", shown, o.Timeout)
	case err != nil:
		return fmt.Errorf("%s: %w", shown, quote.Error(err))
	}
	_, err = io.WriteString(a.Out, "ok\n")
	return err
}

// askHealth asks a server whether it answers requests. The error says why not.
func askHealth(ctx context.Context, client *http.Client, u *url.URL) error {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("health").String(), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status string `json:"status"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	switch err := json.Unmarshal(data, &answer); {
	case resp.StatusCode == http.StatusOK && err == nil && answer.Status == "ok":
		return nil
	case err == nil && answer.Status != "":
		return fmt.Errorf("%s (%d)", quote.Line(answer.Status, quote.Max), resp.StatusCode)
	}
	return fmt.Errorf("answered %d: does something else run there?", resp.StatusCode)
}

// withoutURL is an error of a request without the address, which the caller has.
func withoutURL(err error) error {
	var known *url.Error
	if errors.As(err, &known) {
		return known.Err
	}
	return err
}
