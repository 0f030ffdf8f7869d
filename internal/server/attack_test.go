package server

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"paligemma/internal/server/fetch"
)

// victim is a server under attack: with a key, with pictures by address and by path,
// and with less patience than usual.
type victim struct {
	*running
	media  string       // the folder of pictures
	inside atomic.Int32 // connections to what only this machine reaches
	port   string       // where that listens
	scene  string
}

const key = "attacked"

func newVictim(t *testing.T) *victim {
	v := &victim{media: t.TempDir(), scene: dataURI(imageBytes(t, scene))}
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	go func() {
		for {
			conn, err := inside.Accept()
			if err != nil {
				return
			}
			v.inside.Add(1)
			conn.Close()
		}
	}()
	_, v.port, _ = net.SplitHostPort(inside.Addr().String())
	v.running = start(t, Options{
		Keys:    func() []string { return []string{key} },
		MaxBody: 2 << 20, MaxConnections: 50, Timeout: 20 * time.Second,
		Fetch:    fetch.Options{MaxBytes: 1 << 20, Hosts: []string{"*", "*:" + v.port}, Media: v.media, Timeout: 2 * time.Second},
		Patience: Patience{Header: time.Second, Body: time.Second, Write: time.Second, Idle: time.Second, Begin: 10 * time.Millisecond, Drop: time.Second},
	}, time.Second, nil)
	return v
}

// post asks for a caption with a body, and returns the answer.
func (v *victim) post(t *testing.T, body io.Reader, headers ...string) (status int, answer []byte) {
	t.Helper()
	r, err := http.NewRequest("POST", v.url("/v1/caption"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// refused fails a test unless a request for a picture is refused, with one of the
// statuses and JSON that says why.
func (v *victim) refused(t *testing.T, body string, statuses ...int) {
	t.Helper()
	status, answer := v.post(t, strings.NewReader(body))
	wantRefusal(t, status, answer, statuses...)
}

func wantRefusal(t *testing.T, status int, answer []byte, statuses ...int) {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal(answer, &e); err != nil || !utf8.Valid(answer) || e.Error.Message == "" || len(e.Error.Message) > 500 {
		t.Errorf("%.200q: %v", answer, err)
	}
	if !slices.Contains(statuses, status) {
		t.Errorf("%d %.200s, want %v", status, answer, statuses)
	}
}

// raw sends bytes over a connection of their own, and returns what comes back until
// the server closes it.
func (v *victim) raw(t *testing.T, text string) string {
	t.Helper()
	conn := dial(t, v.address)
	fmt.Fprint(conn, text)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// TestAttacks: what hostile clients try ends with an error for them, and the server
// goes on.
func TestAttacks(t *testing.T) {
	v := newVictim(t)
	for _, attack := range []struct {
		name string
		run  func(*testing.T, *victim)
	}{
		{"addresses of this machine", attackAddresses},
		{"paths", attackPaths},
		{"pictures that are too large", attackPictures},
		{"JSON", attackJSON},
		{"keys and hosts", attackKeys},
		{"a drip", attackDrip},
		{"a drip without a key", attackDripUnread},
		{"an endless body", attackEndless},
		{"smuggled requests", attackSmuggle},
		{"malformed requests", attackMalformed},
		{"slow headers", attackSlowHeader},
		{"idle connections", attackIdle},
		{"many pictures", attackMany},
	} {
		t.Run(attack.name, func(t *testing.T) {
			attack.run(t, v)
			status, answer := v.post(t, strings.NewReader(pictureJSON(v.scene)))
			if status != 200 || !bytes.Contains(answer, []byte(`"text"`)) {
				t.Errorf("and then %d %.200s", status, answer)
			}
		})
	}
	if n := v.inside.Load(); n > 0 {
		t.Errorf("the server connected %d times to what only this machine reaches", n)
	}
	if text := v.log.String(); strings.Contains(text, "msg=panic") {
		t.Errorf("a handler panicked: %s", text)
	}
}

func attackAddresses(t *testing.T, v *victim) {
	for _, host := range []string{
		"127.0.0.1", "127.1", "127.0.1", "2130706433", "0177.0.0.1", "017700000001", "0x7f000001", "0x7f.0.0.1", "0", "0.0.0.0", "localhost", "LOCALHOST.",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[0:0:0:0:0:ffff:127.0.0.1]",
		"169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "１２７.0.0.1", "127%2e0.0.1", "user@127.0.0.1", "localhost\\@example.org",
	} {
		for _, port := range []string{"", ":" + v.port} {
			v.refused(t, pictureJSON("https://"+host+port+"/a.png"), 400)
		}
	}
	for _, reference := range []string{"http://127.0.0.1:" + v.port, "gopher://127.0.0.1:" + v.port + "/x", "//127.0.0.1:" + v.port, "https:127.0.0.1:" + v.port, "https://", "unix:/x", "jar:file:///x", " https://127.0.0.1", "https://127.0.0.1:99999/"} {
		v.refused(t, pictureJSON(reference), 400)
	}
}

func attackPaths(t *testing.T, v *victim) {
	secret := filepath.Join(t.TempDir(), "secret")
	for _, err := range []error{
		os.WriteFile(secret, []byte("secret"), 0o600),
		os.Symlink(secret, filepath.Join(v.media, "link")),
		os.Symlink("/", filepath.Join(v.media, "root")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{secret, v.media + "/../" + secret, v.media + "/%2e%2e/%2e%2e/" + secret, v.media + "/link", v.media + "/root" + secret, v.media + "/..%2f..%2fetc/passwd", v.media, "/dev/zero", "/proc/self/environ", "/etc/passwd%00.png"} {
		v.refused(t, pictureJSON("file://"+path), 400)
	}
	v.refused(t, pictureJSON("file:"+secret), 400)
	v.refused(t, pictureJSON("file://127.0.0.1"+v.media+"/a.png"), 400)
}

// bomb is a PNG that says it has many pixels, and has none.
func bomb(width, height uint32) string {
	header := binary.BigEndian.AppendUint32(nil, width)
	header = append(binary.BigEndian.AppendUint32(header, height), 8, 2, 0, 0, 0)
	file := []byte("\x89PNG\r\n\x1a\n")
	for _, chunk := range []string{"IHDR" + string(header), "IDAT\x78\x9c\x03\x00\x00\x00\x00\x01", "IEND"} {
		file = binary.BigEndian.AppendUint32(file, uint32(len(chunk)-4))
		file = append(file, chunk...)
		file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE([]byte(chunk)))
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(file)
}

func attackPictures(t *testing.T, v *victim) {
	v.refused(t, pictureJSON(bomb(31623, 31623)), 413) // 10⁹ pixels
	v.refused(t, pictureJSON(bomb(1<<31-1, 1<<31-1)), 413, 400)
	v.refused(t, pictureJSON("data:image/png;base64,"+strings.Repeat("A", 1_500_000)), 413) // the limit is 1 MiB
	v.refused(t, pictureJSON("data:,"+strings.Repeat("A", 1_500_000)), 413)
	v.refused(t, pictureJSON(v.scene[:200]), 400)
	v.refused(t, pictureJSON("data:image/svg+xml,<svg/>"), 400, 415)
	v.refused(t, pictureJSON("data:,"), 400, 415)
}

func attackJSON(t *testing.T, v *victim) {
	for _, body := range []string{
		strings.Repeat("[", 1_000_000), strings.Repeat(`{"image":`, 100_000), `{"image":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		"", "null", "[]", `"x"`, "{", `{"image":1}`, `{"image":"\xff"}`, "{\"image\":\"\xff\xfe\"}", `{"image":"\ud800"}`, "\xef\xbb\xbf{}", "\x00", `{"image":null}`, "{}",
		"{\"lang\":\"\xff\x1b[2J\",\"image\":\"data:,\"}", `{"image":"` + strings.Repeat("x", 100_000) + `"}`, strings.Repeat("9", 100_000), `{"image":"data:,","image":"https://127.0.0.1"}`,
	} {
		v.refused(t, body, 400, 415)
	}
}

func attackKeys(t *testing.T, v *victim) {
	body := pictureJSON("data:,")
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"no key":              {[]string{"Authorization", ""}, 401},
		"a wrong key":         {[]string{"Authorization", "Bearer attacker"}, 401},
		"a long key":          {[]string{"Authorization", "Bearer " + strings.Repeat("x", 30_000)}, 401},
		"another scheme":      {[]string{"Authorization", "Basic " + key}, 401},
		"another host":        {[]string{"Host", "evil.example"}, 403},
		"another address":     {[]string{"Host", "93.184.216.34"}, 403},
		"a host that ends so": {[]string{"Host", "evillocalhost"}, 403},
		"another origin":      {[]string{"Origin", "https://evil.example"}, 403},
		"no origin":           {[]string{"Origin", "null"}, 403},
		"another site":        {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := v.post(t, strings.NewReader(body), c.headers...)
			wantRefusal(t, status, answer, c.status)
		})
	}
}

// drip sends a byte every few milliseconds until the server has enough of it, and
// returns what the server said.
func drip(t *testing.T, conn net.Conn, head string, next func() string) string {
	t.Helper()
	fmt.Fprint(conn, head)
	answer := make(chan string)
	go func() {
		text, _ := io.ReadAll(conn)
		answer <- string(text)
	}()
	for {
		select {
		case text := <-answer:
			return text
		case <-time.After(20 * time.Millisecond):
			fmt.Fprint(conn, next())
		}
	}
}

func attackDrip(t *testing.T, v *victim) {
	head := "POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + key + "\r\n"
	letter := func() string { return " " }
	answer := drip(t, dial(t, v.address), head+"Content-Length: 1000000\r\n\r\n", letter)
	if !strings.HasPrefix(answer, "HTTP/1.1 4") {
		t.Errorf("%q", answer)
	}
	answer = drip(t, dial(t, v.address), head+"Transfer-Encoding: chunked\r\n\r\n", func() string { return "1\r\n \r\n" })
	if !strings.HasPrefix(answer, "HTTP/1.1 4") {
		t.Errorf("%q", answer)
	}
	conn := dial(t, v.address) // silence
	fmt.Fprint(conn, head+"Content-Length: 1000000\r\n\r\n{")
	if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "HTTP/1.1 4") {
		t.Errorf("%q", text)
	}
}

// attackDripUnread: what is refused before its body is read does not wait for it,
// either.
func attackDripUnread(t *testing.T, v *victim) {
	for _, length := range []int{1000, 100_000} {
		answer := drip(t, dial(t, v.address), fmt.Sprintf("POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", length), func() string { return " " })
		if !strings.HasPrefix(answer, "HTTP/1.1 401") {
			t.Errorf("%q", answer)
		}
	}
}

func attackEndless(t *testing.T, v *victim) {
	for _, head := range []string{"Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 9223372036854775807\r\n\r\n", "Content-Length: 68157440\r\n\r\n"} {
		conn := dial(t, v.address)
		fmt.Fprint(conn, "POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: "+key+"\r\n"+head)
		part := strings.Repeat(" ", 1000)
		if strings.HasPrefix(head, "Transfer") {
			part = "3e8\r\n" + part + "\r\n"
		}
		sent := 0
		go func() { // until the server closes the connection
			for {
				n, err := io.WriteString(conn, part)
				if sent += n; err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 413 && resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%d, closed: %v", resp.StatusCode, resp.Close)
		}
	}
}

func attackSlowHeader(t *testing.T, v *victim) {
	n := 0
	answer := drip(t, dial(t, v.address), "GET / HTTP/1.1\r\nHost: localhost\r\n", func() string { n++; return fmt.Sprintf("X-%d: 1\r\n", n) })
	if strings.Contains(answer, "200") {
		t.Errorf("%q", answer)
	}
	// Nothing at all, and nothing after a request.
	for _, text := range []string{"", "\r\n", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		if answer := v.raw(t, text); strings.Count(answer, "HTTP/1.1") > 1 {
			t.Errorf("%q", answer)
		}
	}
}

// attackIdle opens 10,000 connections, of which the server keeps 50, as far as this process
// may have open files.
func attackIdle(t *testing.T, v *victim) {
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for range 10_000 {
		conn, err := net.Dial(v.address.Network(), v.address.String())
		if err != nil { // too many files: some for the server
			for _, conn := range open[:min(len(open), 100)] {
				conn.Close()
			}
			break
		}
		fmt.Fprint(conn, "POST /v1/caption HTTP/1.1\r\n")
		open = append(open, conn)
	}
	if status, _ := v.get(t, "/livez"); status != 200 || len(open) < 500 {
		t.Errorf("%d, with %d connections", status, len(open))
	}
}

// attackMany: pictures are counted before any is decoded.
func attackMany(t *testing.T, v *victim) {
	c := &call{task: "generate", pictures: make([]picture, 10_000)}
	for i := range c.pictures {
		c.pictures[i].reference = bomb(31623, 31623)
	}
	_, err := v.answer(t.Context(), c)
	if status, _ := statusOf(err); status != 400 || !strings.Contains(err.Error(), "10000 pictures") {
		t.Errorf("%v", err)
	}
}
