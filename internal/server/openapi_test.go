package server

import (
	"net/http"
	"testing"
)

func checkExchange(t *testing.T, r *http.Request, body []byte, resp *http.Response, data []byte) {}
