package client

import (
	"context"
	"net"
	"net/http"

	"github.com/fustor/fustor/internal/unixsocket"
)

// socketURL stands for the server at a socket: no name of a host can be it.
const (
	socketHost = "socket.invalid"
	socketURL  = "http://" + socketHost
)

// atSocket has a transport reach socketURL by a socket.
func atSocket(t *http.Transport, path string) {
	elsewhere := t.DialContext
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); host != socketHost {
			return elsewhere(ctx, network, address)
		}
		c, err := unixsocket.Dial(ctx, path)
		if err != nil {
			return nil, &socketError{path, err}
		}
		return c, nil
	}
}

// socketError is the failure to reach a socket.
type socketError struct {
	path string
	err  error
}

func (e *socketError) Error() string { return e.err.Error() }
func (e *socketError) Unwrap() error { return e.err }
