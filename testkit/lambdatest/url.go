//go:build unix

package lambdatest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// maxPayload is Lambda's limit on what an invocation is given, bytes.
const maxPayload = 6 << 20

// URLEvent is the event of a Function URL for an HTTP request, payload format 2.0
// (https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html). A body that is no text is sent in base64.
func URLEvent(method, rawPath, rawQuery string, header http.Header, body []byte, sourceIP string) ([]byte, error) {
	const domain = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
	headers := map[string]string{"host": domain, "x-forwarded-proto": "https", "x-forwarded-port": "443", "x-forwarded-for": sourceIP}
	var cookies []string
	for name, values := range header {
		if strings.EqualFold(name, "Cookie") {
			for _, v := range values {
				cookies = append(cookies, strings.Split(v, "; ")...)
			}
		}
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	query := map[string]string{}
	if values, err := url.ParseQuery(rawQuery); err == nil {
		for name, v := range values {
			query[name] = strings.Join(v, ",")
		}
	}
	now := time.Now().UTC()
	e := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": rawPath, "rawQueryString": rawQuery, "headers": headers,
		"requestContext": map[string]any{
			"accountId": "anonymous", "apiId": "abcdefghijklmnopqrstuvwxyz012345", "domainName": domain,
			"domainPrefix": "abcdefghijklmnopqrstuvwxyz012345",
			"http": map[string]any{"method": method, "path": rawPath, "protocol": "HTTP/1.1", "sourceIp": sourceIP,
				"userAgent": header.Get("User-Agent")},
			"requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599", "routeKey": "$default", "stage": "$default",
			"time": now.Format("02/Jan/2006:15:04:05 -0700"), "timeEpoch": now.UnixMilli(),
		},
		"isBase64Encoded": false,
	}
	if len(cookies) > 0 {
		e["cookies"] = cookies
	}
	if len(query) > 0 {
		e["queryStringParameters"] = query
	}
	if len(body) > 0 {
		e["body"] = string(body)
		if !isText(header.Get("Content-Type")) || !utf8.Valid(body) {
			e["body"], e["isBase64Encoded"] = base64.StdEncoding.EncodeToString(body), true
		}
	}
	return json.Marshal(e)
}

func isText(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.HasPrefix(t, "text/") || t == "application/json" || t == "application/xml" || t == "application/javascript"
}

// URL serves the function over HTTP as its Function URL with InvokeMode RESPONSE_STREAM does, until the test ends. The
// server's address is what agents and readers are given.
func (f *Function) URL() *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(f.serveHTTP))
	f.t.Cleanup(s.Close)
	return s
}

func (f *Function) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	event, err := URLEvent(r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, body, ip)
	if err != nil || len(event) > maxPayload {
		http.Error(w, `{"message":"Request Entity Too Large"}`, http.StatusRequestEntityTooLarge)
		return
	}
	result, err := f.Invoke(r.Context(), event)
	if err != nil {
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
		return
	}
	prelude, err := result.Prelude()
	if err != nil {
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
		return
	}
	for name, value := range prelude.Headers {
		w.Header().Set(name, value)
	}
	for _, c := range prelude.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	w.WriteHeader(prelude.Status)
	to := flushing{w}
	if _, err := io.Copy(to, result.Body); err != nil {
		panic(http.ErrAbortHandler) // the answer broke off
	}
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// Prelude is what an answer of type application/vnd.awslambda.http-integration-response begins with.
type Prelude struct {
	Status  int               `json:"statusCode"`
	Headers map[string]string `json:"headers"`
	Cookies []string          `json:"cookies"`
}

// Prelude reads the begin of an HTTP answer: JSON and eight zero bytes. What follows in Body is the answer's body.
func (r *Result) Prelude() (Prelude, error) {
	var p Prelude
	if r.ContentType != "application/vnd.awslambda.http-integration-response" {
		return p, fmt.Errorf("the answer is %q, no HTTP integration response", r.ContentType)
	}
	in := bufio.NewReader(r.Body)
	text, err := in.ReadBytes(0)
	if err != nil {
		return p, fmt.Errorf("the prelude does not end: %w", err)
	}
	zeros := make([]byte, 7)
	if _, err := io.ReadFull(in, zeros); err != nil || !bytes.Equal(zeros, make([]byte, 7)) {
		return p, errors.New("the prelude is not followed by eight zero bytes")
	}
	r.Body = in
	if err := json.Unmarshal(text[:len(text)-1], &p); err != nil {
		return p, fmt.Errorf("the prelude %q: %w", text, err)
	}
	p.Headers = maps.Clone(p.Headers)
	return p, nil
}
