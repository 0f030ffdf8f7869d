package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// mostLogged is how much of an output is kept in the log.
const mostLogged = 200 << 10

// child is a program to run.
type child struct {
	path  string
	args  []string
	dir   string
	env   []string // in addition
	stdin io.Reader
}

// ended is what a program left.
type ended struct {
	stdout, stderr string
	code           int // -1: ended by a signal
}

// lastLine returns the last line on standard error, or else on standard output.
func (e ended) lastLine() string {
	return lastOf(e.stderr, lastOf(e.stdout, fmt.Sprintf("exit status %d without a word", e.code)))
}

// panicOrLastLine returns the line that says why a Go program ended, of the many it writes.
func (e ended) panicOrLastLine() string {
	for _, line := range nonEmpty(e.stderr + "\n" + e.stdout) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG") {
			return line
		}
	}
	return e.lastLine()
}

// lastOf returns the last line of a text, or else something.
func lastOf(text, other string) string {
	if lines := nonEmpty(text); len(lines) > 0 {
		return lines[len(lines)-1]
	}
	return other
}

func nonEmpty(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
}

// command makes a command that is killed with all that it starts.
func (p child) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Dir, cmd.Stdin = p.dir, p.stdin
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PALIGEMMA_") { // what the user has set for other runs
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// exec runs a program to its end. An exit status other than 0 is no error.
func (c *check) exec(ctx context.Context, p child) (ended, error) {
	cmd := p.command(ctx)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	e := c.note(p, cmd, stdout.String(), stderr.String(), start)
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	if err != nil && !errors.As(err, &exit) {
		return e, err
	}
	return e, nil
}

// note logs a program that has ended.
func (c *check) note(p child, cmd *exec.Cmd, stdout, stderr string, start time.Time) ended {
	e := ended{stdout, stderr, -1}
	if cmd.ProcessState != nil {
		e.code = cmd.ProcessState.ExitCode()
	}
	fmt.Fprintf(c.log, "$ %s %s\n%s%sexit status %d after %.1f s\n\n", strings.Join(p.env, " "), cmd, clip(e.stdout), clip(e.stderr), e.code, time.Since(start).Seconds())
	return e
}

// dialog is a program that is asked and answers in lines.
type dialog struct {
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	end    func() error // waits for it, and logs it
}

// begin starts a program that is to be asked; end ends it. What cannot be started is left out.
func (c *check) begin(ctx context.Context, p child) (*dialog, error) {
	cmd, start := p.command(ctx), time.Now()
	var d dialog
	cmd.Stderr = &d.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, leftOutError(err.Error())
	}
	var said bytes.Buffer
	d.in, d.out = in, bufio.NewReader(io.TeeReader(out, &said))
	d.end = func() error {
		in.Close()
		err := cmd.Wait()
		c.note(p, cmd, said.String(), d.stderr.String(), start)
		return err
	}
	return &d, nil
}

// read returns the next line.
func (d *dialog) read() (string, error) { return d.out.ReadString('\n') }

// clip keeps both ends of a long text.
func clip(s string) string {
	if len(s) > mostLogged {
		s = s[:mostLogged/2] + "\n[…]\n" + s[len(s)-mostLogged/2:]
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return s
}

// paligemma returns a run of the program, or of another one that computes with its
// devices.
func (c *check) paligemma(args ...string) child {
	libraries := append([]string{}, c.libraries...)
	if old := os.Getenv("LD_LIBRARY_PATH"); old != "" {
		libraries = append([]string{old}, libraries...)
	}
	// What is killed leaves its files in the scratch folder.
	env := []string{"PALIGEMMA_BACKENDS=" + filepath.Join(c.programs, "bin"), "TMPDIR=" + c.scratch}
	if len(libraries) > 0 {
		env = append(env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	}
	return child{path: filepath.Join(c.programs, "bin", "paligemma"), args: args, env: env}
}

// works runs a program that should succeed; a machine with too little memory is
// no fault of it.
func (c *check) works(ctx context.Context, p child) (ended, error) {
	e, err := c.exec(ctx, p)
	switch {
	case err != nil:
		return e, err
	case e.code == 0:
		return e, nil
	case strings.Contains(e.stderr, "not enough memory"), strings.Contains(e.stderr, "no space left on device"):
		return e, leftOutError(e.lastLine())
	}
	return e, fmt.Errorf("exit status %d: %s", e.code, e.lastLine())
}
