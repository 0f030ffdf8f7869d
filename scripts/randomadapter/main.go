// Command randomadapter writes a PEFT adapter of random F32 weights for a full-size
// PaliGemma: low-rank updates of all linear layers of the text model, with -tower of the
// vision tower, too. Speed is measured with it:
//
//	go run ./scripts/randomadapter -model 3b-224 -rank 8 -out DIR
//	paligemma bench --synthetic 3b-224 --type q4_k_m --lora DIR
//
// The same flags give the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"

	"paligemma/internal/adapter/random"
	"paligemma/internal/model"
)

func main() {
	name := flag.String("model", "3b-224", "3b-224, pg2-3b-224, pg2-10b-448, …")
	out := flag.String("out", "", "folder to write")
	rank := flag.Int("rank", 8, "of the updates")
	tower := flag.Bool("tower", false, "update the vision tower, too")
	seed := flag.Uint64("seed", 7, "of the weights")
	flag.Parse()
	if *out == "" || *rank < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	c, ok := model.Release(*name)
	err := fmt.Errorf("no model %q", *name)
	if ok {
		err = random.Write(*out, c, random.Options{Rank: *rank, Seed: *seed, Spread: 0.02, Text: true, Tower: *tower})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "randomadapter:", err)
		os.Exit(1)
	}
}
