package minio

import (
	"context"
	"io"
	"net/http"
)

// note takes down the header of the last answer to a request, which minio-go does not hand on.
type note struct {
	header http.Header
	status int
	// first is set for a stream of notices, and gets a word when the header of the answer has come.
	first chan struct{}
}

type noteKey struct{}

func withNote(ctx context.Context) (context.Context, *note) {
	n := &note{}
	return context.WithValue(ctx, noteKey{}, n), n
}

// noting is the transport that fills the note of a request's context.
type noting struct{ http.RoundTripper }

func (t noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n, _ := r.Context().Value(noteKey{}).(*note)
	if n == nil {
		return t.RoundTripper.RoundTrip(r)
	}
	n.header, n.status = nil, 0 // of an attempt before
	response, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	n.header, n.status = response.Header, response.StatusCode
	if n.first != nil {
		response.Body = smallReads{response.Body}
		select {
		case n.first <- struct{}{}:
		default:
		}
	}
	return response, nil
}

// smallReads reads a stream of notices piecemeal. net/http fills the reader's buffer, which is of 4 MiB in minio-go, for
// as long as the server's packets end within an HTTP chunk, as those of a server that does not flush do.
type smallReads struct{ io.ReadCloser }

func (s smallReads) Read(p []byte) (int, error) { return s.ReadCloser.Read(p[:min(len(p), 256)]) }
