package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal is a terminal whose screen and keyboard a test has.
type pseudoTerminal struct {
	t      *testing.T
	master *os.File
	output chan string
	seen   string // not yet expected
	cmd    *exec.Cmd
	state  string // XDG_STATE_HOME
}

// startLook runs look in a pseudo-terminal of 80 columns.
func startLook(t *testing.T, dir string, args ...string) *pseudoTerminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pseudoTerminal{t: t, master: os.NewFile(uintptr(fd), "ptmx"), output: make(chan string, 1000), state: filepath.Join(dir, "state")}
	t.Cleanup(func() { p.master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 80}); err != nil {
		t.Fatal(err)
	}
	terminal := p.open()
	defer terminal.Close()
	p.cmd = exec.Command("paligemma", append([]string{"look"}, args...)...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), "NO_COLOR=1", "XDG_STATE_HOME="+p.state, "TERM=xterm", "TERM_PROGRAM=")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		defer close(p.output)
		for {
			var b [4096]byte
			n, err := p.master.Read(b[:])
			p.output <- string(b[:n])
			if err != nil {
				return
			}
		}
	}()
	return p
}

// send types keys.
func (p *pseudoTerminal) send(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for texts on the screen, one after the other.
func (p *pseudoTerminal) expect(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		for !strings.Contains(p.seen, text) {
			select {
			case part, ok := <-p.output:
				if !ok {
					p.t.Fatalf("the session ends, want %q: %q", text, p.seen)
				}
				p.seen += part
			case <-time.After(4 * time.Minute):
				p.t.Fatalf("want %q: %q", text, p.seen)
			}
		}
		_, p.seen, _ = strings.Cut(p.seen, text)
	}
}

// end waits for the end of the session, and checks its exit code.
func (p *pseudoTerminal) end(code int) {
	p.t.Helper()
	for part := range p.output {
		p.seen += part
	}
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d: %q", got, code, p.seen)
	}
}

// copyFiles copies files into a new folder.
func copyFiles(t *testing.T, paths ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLookSession asks the built-in model in a terminal, and edits what is typed.
func TestLookSession(t *testing.T) {
	scenes := "../../testdata/scenes"
	dir := copyFiles(t, filepath.Join(scenes, "shapes.jpg"), filepath.Join(scenes, "lemon.jpg"))
	p := startLook(t, dir, "shapes.jpg")
	p.expect("shapes.jpg: type a question", "> ")
	for _, step := range []struct{ keys, want string }{
		{"caption\r", "a small yellow square"},
		{"what color is the circel?\x7f\x7f\x7fle?\r", "green"},                  // backspace
		{"detect crss\x1b[D\x1b[Do\r", "109.8\t38.0\t295.7\t219.7"},              // arrows
		{":draw boxes.png\r", "drawn: boxes.png"},                                // the answer above
		{":draw boxes.png\r", ":draw! boxes.png replaces it"},                    // it exists
		{":draw! boxes.png\r", "drawn: boxes.png"},                               //
		{":show\r", "this terminal shows no pictures"},                           //
		{":hepl\r", "did you mean :help?"},                                       //
		{":help\r", ":image FILE"},                                               //
		{":image none.jpg\r", "none.jpg: no such file"},                          // the session goes on
		{strings.Repeat("\x1b[A", 7) + "\r", "109.8\t38.0"},                      // seven lines ago: detect
		{":image lemon.jpg\r", "now asking about lemon.jpg"},                     //
		{":draw other.png\r", "no objects to draw"},                              // of another image
		{"ocr\r", "lemon"},                                                       //
		{":add shapes.jpg\r", "now asking about 2 images"},                       //
		{"caption\r", "shapes.jpg\ta small yellow square"},                       // a line each
		{"detect circle\r", "shapes.jpg\tcircle\t"},                              //
		{":draw one.png\r", ":draw one.png is one file, but there are 2 images"}, //
		{":draw drawn/{}.png\r", "drawn: drawn/shapes.png"},                      //
		{"lost\x03", "lost^C\r\n> "},                                             // the line is given up
		{"\x03", "Ctrl-D or :quit ends"},                                         // it was empty
	} {
		p.send(step.keys)
		p.expect(step.want)
		if !strings.HasSuffix(step.want, "> ") {
			p.expect("> ")
		}
	}
	p.send("\x04")
	p.end(exitOK)
	for _, name := range []string{"boxes.png", "drawn/lemon.png", "drawn/shapes.png"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	path := filepath.Join(p.state, "paligemma", "history")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 3 || lines[0] != "caption" || lines[1] != "what color is the circle?" || lines[2] != "detect cross" || strings.Contains(string(data), "lost") {
		t.Errorf("history %q", lines)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("history: %v, %v", info.Mode(), err)
	}
}

// TestLookInterrupt checks that Ctrl-C stops an answer, and reading an image, and that
// the session goes on.
func TestLookInterrupt(t *testing.T) {
	dir := copyFiles(t, filepath.Join(fixture(t, "IMAGES"), "scene.png"))
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(slices.Repeat([]string{"scene.png"}, 30), // answers of a second or more
		"-m", fixture(t, "MODEL"), "--temperature", "5", "--seed", "3", "--max-tokens", "100000")
	p := startLook(t, dir, args...)
	p.expect("> ")
	p.send("x\r")
	p.expect("scene.png\t")
	p.send("\x03")
	p.expect("stopped\r\n", "> ")
	p.send(":image pipe\r")
	p.expect(":image pipe\r\n")
	time.Sleep(100 * time.Millisecond) // Ctrl-C while the line is read gives it up
	p.send("\x03")
	p.expect("stopped\r\n", "> ")
	p.send("\x1b[A\x1b[A") // the question is not lost
	p.expect("x")
	p.send("\x15:quit\r")
	p.end(exitOK)
}

// TestLookTerminated checks that a signal ends a session that waits for a line, and
// that the terminal is as before.
func TestLookTerminated(t *testing.T) {
	dir := copyFiles(t, filepath.Join(fixture(t, "IMAGES"), "scene.png"))
	p := startLook(t, dir, "scene.png", "-m", fixture(t, "MODEL"))
	p.expect("> ")
	mode := func() uint32 {
		termios, err := unix.IoctlGetTermios(int(p.master.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return termios.Lflag & (unix.ICANON | unix.ECHO | unix.ISIG)
	}
	if mode() != 0 {
		t.Error("the terminal is not in raw mode")
	}
	defer p.open().Close() // keeps its mode
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expect("terminated")
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", got)
	}
	if mode() != unix.ICANON|unix.ECHO|unix.ISIG {
		t.Error("the terminal is left in raw mode")
	}
}

// open opens the terminal's other end, which programs have.
func (p *pseudoTerminal) open() *os.File {
	p.t.Helper()
	number, err := unix.IoctlGetInt(int(p.master.Fd()), unix.TIOCGPTN)
	if err != nil {
		p.t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return terminal
}
