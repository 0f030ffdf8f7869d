package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// apiError is an error with a status of its own.
type apiError struct {
	status  int
	code    string // as in results
	param   string // of the request, the one that is wrong; "": not known
	message string
}

func (e *apiError) Error() string { return e.message }

// invalid is the error of a parameter.
func invalid(param, message string) error {
	return &apiError{http.StatusBadRequest, result.CodeInvalid, param, message}
}

// notFound is the error of something that a request names and nobody has.
func notFound(param, message string) error {
	return &apiError{http.StatusNotFound, result.CodeNotFound, param, message}
}

// errBusy is the error of a request for which the queue has no room.
var errBusy = &apiError{http.StatusTooManyRequests, "busy", "", "too many requests wait already"}

// retryAfter is how many seconds a client should wait that met a full queue.
const retryAfter = 1

// errorBody is an error in JSON, as OpenAI's clients read it.
type errorBody struct {
	Error errorObject `json:"error"`
}

type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// statusOf returns the status of an error, and its code in JSON.
func statusOf(err error) (status int, code string) {
	var own *apiError
	switch {
	case errors.As(err, &own):
		return own.status, own.code
	case errors.Is(err, engine.ErrClosed):
		return http.StatusServiceUnavailable, "closing"
	case errors.Is(err, engine.ErrLost):
		return http.StatusServiceUnavailable, "device"
	case errors.Is(err, context.Canceled):
		return statusGone, "canceled" // the client is gone, and does not read it
	}
	switch code = result.Code(err); code {
	case result.CodeTooLarge:
		return http.StatusRequestEntityTooLarge, code
	case result.CodeUnsupported:
		return http.StatusUnsupportedMediaType, code
	case result.CodeTimeout:
		return http.StatusGatewayTimeout, code
	case result.CodeFailed, result.CodeNaN:
		return http.StatusInternalServerError, code
	}
	return http.StatusBadRequest, code
}

// newErrorBody describes an error.
func newErrorBody(err error) (status int, body errorBody) {
	status, code := statusOf(err)
	body.Error = errorObject{Message: result.Message(err), Type: "invalid_request_error", Code: &code}
	switch {
	case status == http.StatusUnauthorized:
		body.Error.Type = "authentication_error"
	case status == http.StatusTooManyRequests:
		body.Error.Type = "rate_limit_error"
	case status >= 500:
		body.Error.Type = "server_error"
	}
	if param := paramOf(err); param != "" {
		body.Error.Param = &param
	}
	return status, body
}

// paramOf returns the field of a request that an error is about; "": not known.
func paramOf(err error) string {
	var own *apiError
	var field *ask.FieldError
	switch {
	case errors.As(err, &own):
		return own.param
	case errors.As(err, &field):
		return spelled(field.Field)
	}
	return ""
}

// spelled returns a flag's name as fields of JSON are called.
func spelled(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// fail answers a request with an error, in the form that clients of its endpoint read.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if strings.HasPrefix(r.URL.Path, ollamaPath) {
		s.failOllama(w, r, err)
		return
	}
	status, body := newErrorBody(because(r.Context(), err))
	setRetryAfter(w, status)
	s.reply(w, r, status, body)
}

// setRetryAfter says when a client should try again that met a full queue.
func setRetryAfter(w http.ResponseWriter, status int) {
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
}

// reply answers a request with JSON.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, status int, body any) {
	data, err := result.Marshal(body)
	if err != nil {
		s.log.ErrorContext(r.Context(), "no JSON can be made of an answer", "error", err)
		status, data = http.StatusInternalServerError, []byte(`{"error":{"message":"no JSON can be made of the answer","type":"server_error","param":null,"code":"failed"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	s.writeBody(w, status, append(data, '\n'))
}

// writeBody writes a whole body. A client that does not read it is cut off.
func (s *Server) writeBody(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(s.o.Patience.Write)) // where the connection has one
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// routeRest adds the answer to requests for what is not there.
func (s *Server) routeRest(mux *http.ServeMux) {
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if methods := allowedMethods(mux, r, r.URL.Path); len(methods) > 0 {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			s.fail(w, r, &apiError{http.StatusMethodNotAllowed, result.CodeInvalid, "", "want the method " + strings.Join(methods, " or ")})
			return
		}
		s.fail(w, r, notFound("", "there is nothing at "+quote.Short(r.URL.Path)+elsewhere(mux, r)))
	})
}

// instead are addresses of other interfaces (OpenAI's and Anthropic's) that clients may ask
// at, and those that have an answer here.
var instead = map[string]string{
	"/v1/responses": "/v1/chat/completions",
	"/v1/messages":  "/v1/chat/completions",
}

// elsewhere says where a request should have gone: most often an address was given with
// /v1 twice, or without.
func elsewhere(mux *http.ServeMux, r *http.Request) string {
	path := r.URL.Path
	if like, ok := instead[path]; ok {
		return ": ask at " + like
	}
	for _, like := range []string{"/v1" + path, strings.TrimPrefix(path, "/v1"), strings.TrimSuffix(path, "/")} {
		if like != path && like != "" && len(allowedMethods(mux, r, like)) > 0 {
			return ": did you mean " + like + "?"
		}
	}
	return ""
}

// allowedMethods returns the methods with which somebody answers at a path of the host of
// a request.
func allowedMethods(mux *http.ServeMux, r *http.Request, path string) []string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		with := &http.Request{Method: method, Host: r.Host, URL: &url.URL{Path: path}}
		if _, pattern := mux.Handler(with); pattern != "/" {
			methods = append(methods, method)
		}
	}
	return methods
}
