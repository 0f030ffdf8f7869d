package batch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"paligemma/internal/engine"
	"paligemma/internal/result"
)

// Greet says hello to the process that started this one.
func Greet(out io.Writer, h Hello) error { return writeMessage(out, h) }

// Serve answers the questions of the process that started this one, until they end.
func Serve(ctx context.Context, e *engine.Engine, o Options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel() // nobody waits for what is under way
	var r *runner
	var mu sync.Mutex
	questions := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("questions: %w", err)
		}
		if r == nil {
			o.Task.Request.Sampling.Seed = q.Seed
			r = newRunner(e, &o)
		}
		answering.Go(func() {
			it := q.item()
			r.answer(ctx, it)
			mu.Lock()
			defer mu.Unlock()
			if writeMessage(out, newReply(q.Number, it)) != nil {
				cancel() // it is gone
			}
		})
	}
}

// writeMessage writes a line of JSON.
func writeMessage(w io.Writer, v any) error {
	data, err := result.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
