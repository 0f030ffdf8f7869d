// Command busy measures binaries next to other work: threads of its own that do
// nothing but run, at normal priority. Binaries take turns, and so do numbers of
// such threads:
//
//	go run ./scripts/busy -loops 0,1,2 bin/paligemma old/paligemma
//
// It prints medians, the worst in brackets, of a caption of 20 tokens and of
// decoding alone by a synthetic model, and of the built-in model's decoding. Run
// it on a quiet machine, with as many cores as the table is to stand for.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

func main() {
	rounds := flag.Int("rounds", 3, "runs of each binary with each number of loops")
	model := flag.String("model", "3b-224", "shapes, as paligemma bench --synthetic names them; \"\" for none")
	kind := flag.String("type", "q4_k_m", "type of the weights")
	loops := flag.String("loops", "0,1,2", "numbers of busy loops")
	builtin := flag.Int("builtin", 20, "answers of the built-in model in each run")
	flag.Parse()
	if err := run(flag.Args(), *loops, *rounds, *builtin, *model, *kind); err != nil {
		fmt.Fprintln(os.Stderr, "busy:", err)
		os.Exit(1)
	}
}

// measures names what is measured, in milliseconds.
var measures = []string{"caption20", "vision", "prefill", "step", "built-in token"}

func run(binaries []string, loops string, rounds, builtin int, model, kind string) error {
	var counts []int
	for text := range strings.SplitSeq(loops, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("loops: %q is not a number", text)
		}
		counts = append(counts, n)
	}
	runtime.GOMAXPROCS(slices.Max(counts) + 2)
	results := map[string][]float64{}
	for range rounds {
		for _, n := range counts {
			for _, binary := range binaries {
				stop := burn(n)
				err := measure(binary, model, kind, builtin, func(what string, ms float64) {
					key := fmt.Sprint(binary, n, what)
					results[key] = append(results[key], ms)
				})
				stop()
				if err != nil {
					return fmt.Errorf("%s: %w", binary, err)
				}
			}
		}
	}
	table(binaries, counts, results)
	return nil
}

// burn starts n threads that run until stop is called.
func burn(n int) (stop func()) {
	var ended atomic.Bool
	for range n {
		go func() {
			runtime.LockOSThread()
			for !ended.Load() {
			}
		}()
	}
	return func() { ended.Store(true) }
}

// measure reports milliseconds of a synthetic model and of the built-in one.
func measure(binary, model, kind string, builtin int, report func(what string, ms float64)) error {
	if model != "" {
		var out struct {
			Caption float64 `json:"caption20_ms"`
			Vision  float64 `json:"vision_ms"`
			Prefill float64 `json:"prefill_ms"`
			Rate    float64 `json:"decode_tok_s"`
		}
		if err := answer(&out, binary, "bench", "--synthetic", model, "--type", kind, "--repetitions", "1", "--no-probe"); err != nil {
			return err
		}
		report("caption20", out.Caption)
		report("vision", out.Vision)
		report("prefill", out.Prefill)
		report("step", 1000/out.Rate)
	}
	for range builtin {
		var out struct {
			Timings struct {
				Tokens int     `json:"decode_tokens"`
				Decode float64 `json:"decode_ms"`
			} `json:"timings"`
		}
		if err := answer(&out, binary, "detect", "ring ; star ; sign", "testdata/scenes/demo.png"); err != nil {
			return err
		}
		if out.Timings.Tokens == 0 {
			return fmt.Errorf("no tokens")
		}
		report("built-in token", out.Timings.Decode/float64(out.Timings.Tokens))
	}
	return nil
}

func answer(out any, binary string, args ...string) error {
	cmd := exec.Command(binary, append(args, "--quiet", "--format", "json")...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// table prints, as Markdown, a row for each measure, binary and number of loops.
func table(binaries []string, counts []int, results map[string][]float64) {
	fmt.Println("| ms | binary | loops | median | least to worst | to the first number of loops |\n|---|---|---|---|---|---|")
	for _, what := range measures {
		for _, binary := range binaries {
			var first float64
			for i, n := range counts {
				all := results[fmt.Sprint(binary, n, what)]
				if len(all) == 0 {
					continue
				}
				slices.Sort(all)
				median := all[len(all)/2]
				if i == 0 {
					first = median
				}
				fmt.Printf("| %s | %s | %d | %.4g | %.4g–%.4g | %.2f |\n", what, binary, n, median, all[0], all[len(all)-1], median/first)
			}
		}
	}
}
