package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// weightBytes are what a weight takes in a file, or a little more.
var weightBytes = map[string]float64{"f32": 4, "bf16": 2, "f16": 2, "q8_0": 1.1, "q4_k_m": 0.7}

// modelFiles are the files that logits are computed of. They are made while the tests
// run, which the device is needed for and most of the processors are not.
type modelFiles struct {
	stop context.CancelFunc
	done chan struct{}
	errs map[string]error // by type; not to be read before done
}

// beginFiles starts to make the files, which the step that starts them does not wait for.
// They may take a third of the time limit.
func (c *check) beginFiles(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), c.deadline.Sub(c.start)/3)
	c.files = &modelFiles{stop, make(chan struct{}), map[string]error{}}
	go func() {
		defer close(c.files.done)
		checkpoint, err := c.makeCheckpoint(ctx)
		for _, typ := range c.compared {
			if err == nil {
				c.files.errs[typ] = c.convert(ctx, checkpoint, typ)
			} else {
				c.files.errs[typ] = leftOutError("no checkpoint: " + err.Error())
			}
		}
		if checkpoint != c.checkpoint {
			os.RemoveAll(checkpoint)
		}
	}()
}

// waitFiles waits for the files, so that nothing else runs when speed is measured.
func (c *check) waitFiles(ctx context.Context) error {
	select {
	case <-c.files.done:
		return nil
	case <-ctx.Done():
		return leftOutError("they were not ready in time")
	}
}

// of returns why there is no file of a type.
func (f *modelFiles) of(typ string) error {
	select {
	case <-f.done:
	default:
		return leftOutError("its file is not ready")
	}
	switch err, asked := f.errs[typ]; {
	case !asked:
		return leftOutError("no file was asked for")
	case err != nil:
		return leftOutError("no file: " + err.Error())
	}
	return nil
}

// end stops what is still being made.
func (f *modelFiles) end() {
	if f != nil {
		f.stop()
		<-f.done
	}
}

func (c *check) file(typ string) string { return filepath.Join(c.scratch, typ+".gguf") }

// makeCheckpoint returns the folder of the checkpoint, one of random weights if none was
// named.
func (c *check) makeCheckpoint(ctx context.Context) (string, error) {
	if c.checkpoint != "" {
		return c.checkpoint, nil
	}
	dir := filepath.Join(c.scratch, "checkpoint")
	_, err := c.works(ctx, child{path: filepath.Join(c.programs, "bin", "randomcheckpoint"), args: []string{"-model", c.models[0], "-out", dir}})
	return dir, err
}

// convert makes a file of a type, where there is room for it.
func (c *check) convert(ctx context.Context, checkpoint, typ string) error {
	size, err := folderSize(checkpoint)
	if err != nil {
		return err
	}
	if err := c.roomFor(float64(size) * weightBytes[typ] / weightBytes["bf16"]); err != nil {
		return err
	}
	_, err = c.works(ctx, c.paligemma("convert", checkpoint, c.file(typ), "--type", typ, "--quiet", "--overwrite"))
	return err
}

// roomFor makes sure that the scratch folder has room.
func (c *check) roomFor(bytes float64) error {
	if free := room(c.scratch); bytes > float64(free) {
		return fmt.Errorf("%s has room for %s, and it takes %s: -scratch names another folder", c.scratch, gigabytes(free), gigabytes(int64(bytes)))
	}
	return nil
}

// filesStep waits for the files.
func (c *check) filesStep() step {
	return step{part: "logits", what: "files for them", need: 40 * time.Second, run: c.waitFiles}
}
