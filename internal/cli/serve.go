package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
	"paligemma/internal/server"
	"paligemma/internal/server/fetch"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	model       modelOptions // without the model
	served      servedOptions
	limits      limitOptions
	listen      listenOptions
	access      accessOptions
	MaxBody     int64
	Connections int
	StrictChat  bool
	Timeout     time.Duration
	Shutdown    time.Duration
	LogFormat   string
	LogFile     string
}

// accessOptions are the flags that say who may ask, and what the server may read.
type accessOptions struct {
	Keys      []string
	KeyFiles  []string
	NoKey     bool
	Hosts     []string
	Origins   []string
	Remote    []string
	MediaPath string
}

func (a *app) serveCommand() *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer requests over HTTP",
		Long: `Answer requests over HTTP: what the commands answer under /v1/caption and the
others' names, and what clients of OpenAI's and Ollama's interfaces ask.

Only programs on this machine can ask, unless --host says otherwise; that needs a
key (--api-key-file) or --insecure-no-key. The listener is open at once: requests
wait while the model loads, and /health answers 503.

SIGTERM and Ctrl-C end the server when what is under way is answered; a second one
ends it at once. SIGHUP has it open the log and read keys and certificates again.
Sockets that systemd hands over take the place of --host and --port.`,
		Example: `  paligemma serve -m model.gguf
  curl -F image=@photo.jpg -F objects=cat http://127.0.0.1:8080/v1/detect
  paligemma serve --host 0.0.0.0 --port 9000 --api-key-file key.txt`,
		Args: argsBetween(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.listen.typed = typed(cmd.Flags(), "host") || typed(cmd.Flags(), "port")
			if typed(cmd.Flags(), "adapter-cache") && len(o.served.Adapters) == 0 {
				return usageError{errors.New("--adapter-cache needs --adapter")}
			}
			return a.runServe(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	refuse(f, resultFlags...)
	o.served.flags(f)
	o.model.runFlags(f)
	o.limits.flags(f)
	f.Lookup("max-bytes").Usage = "refuse pictures of more than `N` bytes (default: 67,108,864)"
	o.listen.flags(f)
	o.access.flags(f)
	f.Var((*positive)(&o.MaxBody), "max-body", "refuse requests of more than `N` bytes (default: 134,217,728)")
	f.IntVar(&o.Connections, "max-connections", 1000, "keep `N` connections open; idle ones make room for new ones")
	f.BoolVar(&o.StrictChat, "strict-chat", false, "refuse chats with system messages or earlier turns, which are ignored otherwise")
	f.DurationVar(&o.Timeout, "timeout", 10*time.Minute, "how long a request may take, its wait in the queue included; 0: any time")
	f.DurationVar(&o.Shutdown, "shutdown-timeout", 30*time.Second, "how long requests under way may take once the server is to end")
	f.StringVar(&o.LogFormat, "log-format", logText, "`FORMAT` of the log: text or json")
	f.StringVar(&o.LogFile, "log-file", "", "append the log to `FILE` (default: standard error)")
	return cmd
}

func (o *accessOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Keys, "api-key", nil, "answer those who send `KEY`; may be repeated. Others see it in the list of processes: --api-key-file is safer")
	annotate(f, "api-key", listVariable)
	f.StringArrayVar(&o.KeyFiles, "api-key-file", nil, "answer those who send a key in `FILE`, one a line; may be repeated")
	annotate(f, "api-key-file", listVariable)
	f.BoolVar(&o.NoKey, "insecure-no-key", false, "let other machines ask without a key")
	f.StringSliceVar(&o.Hosts, "allowed-host", nil, "answer also for the Host headers `NAME,…`: names, *.NAME for those below one, or * for any")
	f.StringSliceVar(&o.Origins, "cors-origin", nil, "let pages of the origins `URL,…` ask; * for any")
	f.StringSliceVar(&o.Remote, "allow-remote", nil, "download pictures from the hosts `HOST,…` with public addresses, over https: names, *.NAME for those below one, or * for any")
	f.StringVar(&o.MediaPath, "media-path", "", "read pictures of file:// addresses below `DIR`")
}

// check returns what is wrong with flags, before anything is opened.
func (o *serveOptions) check() error {
	if err := o.model.check(); err != nil {
		return err
	}
	if err := o.served.check(); err != nil {
		return err
	}
	if err := o.listen.check(); err != nil {
		return err
	}
	switch {
	case o.Connections < 1:
		return usageError{errors.New("--max-connections: want 1 or more")}
	case o.Timeout < 0 || o.Shutdown < 0:
		return usageError{errors.New("--timeout and --shutdown-timeout: want a time that is not negative, such as 30s")}
	}
	if err := checkWord("log-format", o.LogFormat, enums["log-format"]); err != nil {
		return err
	}
	return o.access.check()
}

func (o *accessOptions) check() error {
	for _, list := range []struct {
		flag   string
		values []string
		check  func(string) error
	}{
		{"allowed-host", o.Hosts, server.CheckHostPattern},
		{"cors-origin", o.Origins, server.CheckOrigin},
		{"allow-remote", o.Remote, fetch.CheckHost},
	} {
		for _, value := range list.values {
			if err := list.check(value); err != nil {
				return usageError{fmt.Errorf("--%s %s: %w", list.flag, quote.Short(value), err)}
			}
		}
	}
	return nil
}

// serverOptions makes the options of a server.
func (a *app) serverOptions(o *serveOptions, log *slog.Logger) (server.Options, error) {
	lim := a.limits("", o.limits)
	models, err := a.served(o.model, &o.served)
	return server.Options{
		Version: version, Models: models, Parallel: o.served.parallel, MaxQueue: o.served.MaxQueue,
		ImageCache: o.served.ImageCache, AdapterCache: o.served.AdapterCache, KeepAlive: o.served.KeepAlive, MaxBody: o.MaxBody, MaxConnections: o.Connections, Timeout: o.Timeout,
		Limits:  preprocess.Limits{MaxPixels: lim.MaxPixels, MaxBytes: lim.MaxBytes},
		Fetch:   fetch.Options{MaxBytes: lim.MaxBytes, Hosts: o.access.Remote, Media: o.access.MediaPath},
		Origins: o.access.Origins, StrictChat: o.StrictChat, Log: log, Verbose: a.common.Verbose,
	}, err
}
