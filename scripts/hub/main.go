// Command hub serves folders of checkpoints as the Hugging Face Hub does, on this
// machine, to try `paligemma pull` and the official clients without the network:
//
//	go run ./scripts/hub [-address 127.0.0.1:8080] [-rate BYTES] DIR
//
// Each folder in DIR is a repository, test/FOLDER; large files come from a second
// port, as from the hub's storage. It prints the address for HF_ENDPOINT.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"paligemma/internal/hub/hubtest"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "listen here")
	rate := flag.Int("rate", 0, "bytes a second of each large answer; 0: any")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: hub [-address HOST:PORT] [-rate BYTES] DIR")
		os.Exit(2)
	}
	if err := serve(*address, *rate, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
}

func serve(address string, rate int, dir string) error {
	h := hubtest.New()
	h.SetRate(rate)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := h.AddFolder("test/"+e.Name(), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	storage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	h.Storage = "http://" + storage.Addr().String()
	go func() { _ = http.Serve(storage, h) }()
	fmt.Printf("http://%v\n", listener.Addr())
	return http.Serve(listener, h)
}
