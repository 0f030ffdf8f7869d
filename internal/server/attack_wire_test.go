package server

import (
	"fmt"
	"strings"
	"testing"
)

// attackSmuggle: a server and a proxy in front of it that find different ends of a
// request would take one's body for another's request. This one follows the chunks, or
// refuses.
func attackSmuggle(t *testing.T, v *victim) {
	const host, inner = "Host: localhost\r\n", "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: attacked\r\n\r\n"
	head := "POST /v1/caption HTTP/1.1\r\n" + host + "X-Api-Key: " + key + "\r\n"
	chunks := "0\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		first   string // status
	}{
		"length and chunks":     {head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s", 6, len(inner), inner, chunks), "400"},
		"chunks and length":     {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n%s", len(inner), inner, chunks), "400"},
		"two lengths":           {head + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner), "400"},
		"two in one":            {head + fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", len(inner), inner), "400"},
		"a length with a sign":  {head + fmt.Sprintf("Content-Length: +%d\r\n\r\n%s", len(inner), inner), "400"},
		"a negative length":     {head + "Content-Length: -1\r\n\r\n" + inner, "400"},
		"a length in hex":       {head + "Content-Length: 0x10\r\n\r\n" + inner, "400"},
		"other chunks":          {head + "Transfer-Encoding: xchunked\r\n\r\n" + chunks + inner, "501"},
		"chunks, twice":         {head + "Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks + inner, "501"},
		"chunks, identity":      {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks + inner, "501"},
		"a space before":        {head + "Transfer-Encoding : chunked\r\n\r\n" + chunks + inner, "400"},
		"a carriage return":     {head + "X: 1\rTransfer-Encoding: chunked\r\n\r\n" + inner, "400"},
		"a zero byte":           {head + "X: 1\x00Transfer-Encoding: chunked\r\n\r\n" + inner, "400"},
		"a size with a sign":    {head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + inner, "400"},
		"a size that overflows": {head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n" + inner, "400"},
		"two hosts":             {"GET / HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", "400"},
		"no host":               {"GET / HTTP/1.1\r\n\r\n", "400"},
		"an absolute address":   {"GET http://evil.example/ HTTP/1.1\r\n" + host + "\r\n", "403"},
	} {
		t.Run(name, func(t *testing.T) {
			before := strings.Count(v.log.String(), "path=/smuggled")
			answer := v.raw(t, c.request)
			if !strings.HasPrefix(answer, "HTTP/1.1 "+c.first) {
				t.Errorf("%.200q, want %s", answer, c.first)
			}
			if strings.Count(v.log.String(), "path=/smuggled") > before {
				t.Errorf("the body became a request: %.400q", answer)
			}
		})
	}
}

func attackMalformed(t *testing.T, v *victim) {
	for name, c := range map[string]struct{ request, status string }{
		"a long header":        {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 200_000), "431"},
		"many headers":         {"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: 1\r\n", 50_000), "431"},
		"a long path":          {"GET /" + strings.Repeat("x", 200_000), "431"},
		"HTTP/2 by surprise":   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "401"},
		"HTTP/0.9":             {"GET /\r\n\r\n", "400"},
		"HTTP/9":               {"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", "505"},
		"TLS":                  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"a proxy":              {"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", "401"},
		"options of all":       {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + key + "\r\nConnection: close\r\n\r\n", "400"},
		"a method of no one":   {"TRACE /v1/caption HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + key + "\r\n\r\n", "405"},
		"a path out of it":     {"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + key + "\r\n\r\n", "30"},
		"an expectation":       {"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + key + "\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n{}", "417"},
		"an upgrade":           {"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", ""},
		"a header of a future": {"GET /health HTTP/1.1\r\nHost: localhost\r\nX\x80: \xff\r\n\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := v.raw(t, c.request)
			if !strings.HasPrefix(answer, "HTTP/1.") || !strings.HasPrefix(answer[9:], c.status) {
				t.Errorf("%.200q, want %s", answer, c.status)
			}
		})
	}
}
