package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/server"
	"paligemma/internal/server/fetch"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	model       modelOptions
	limits      limitOptions
	Host        string
	Port        int
	Parallel    int
	MaxQueue    int
	Shutdown    time.Duration
	MaskDecoder string
}

func (a *app) serveCommand() *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer requests over HTTP",
		Long: `Answer requests over HTTP: what the commands answer under /v1/caption and the
others' names, and what clients of OpenAI's and Ollama's interfaces ask.`,
		Example: `  paligemma serve -m model.gguf
  curl -F image=@photo.jpg -F objects=cat http://127.0.0.1:8080/v1/detect`,
		Args: argsBetween(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runServe(cmd.Context(), o) },
	}
	f := cmd.Flags()
	o.model.flags(f)
	o.limits.flags(f)
	f.StringVar(&o.Host, "host", "127.0.0.1", "`ADDRESS` to listen on")
	f.IntVar(&o.Port, "port", 8080, "`PORT` to listen on; 0: any that is free")
	f.IntVar(&o.Parallel, "parallel", engine.DefaultParallel, "decode `N` texts together")
	f.IntVar(&o.MaxQueue, "max-queue", 256, "let `N` requests wait; others are refused (429)")
	f.DurationVar(&o.Shutdown, "shutdown-timeout", 30*time.Second, "how long requests under way may take once the server is to end")
	f.StringVar(&o.MaskDecoder, "mask-decoder", "", "decode masks with `FILE`: vae-oid.npz, or a GGUF that has the decoder")
	return cmd
}

// serverOptions makes the options of a server.
func (a *app) serverOptions(o *serveOptions) server.Options {
	lim := a.limits("", o.limits)
	return server.Options{
		Version: version, Parallel: o.Parallel, MaxQueue: o.MaxQueue,
		ImageCache: 256 << 20, MaxBody: 128 << 20, MaxImages: 16,
		Limits: preprocess.Limits{MaxPixels: lim.MaxPixels, MaxBytes: lim.MaxBytes}, Fetch: fetch.Options{MaxBytes: lim.MaxBytes},
		Log: slog.New(slog.NewTextHandler(a.Err, nil)),
		Models: []server.Model{{
			Name:  o.model.name(),
			Open:  func([]string) (*engine.Engine, error) { return o.model.open(o.Parallel) },
			Masks: func(e *engine.Engine) (*engine.Masks, error) { return openMasks(e, o.MaskDecoder) },
		}},
	}
}

func (a *app) runServe(ctx context.Context, o *serveOptions) error {
	if err := o.model.check(); err != nil {
		return err
	}
	s, err := server.New(a.serverOptions(o))
	if err != nil {
		return err
	}
	defer s.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := s.Load(ctx); err != nil {
		return err
	}
	a.note("listening on http://%s", listener.Addr())
	return s.Serve(ctx, o.Shutdown, listener)
}
