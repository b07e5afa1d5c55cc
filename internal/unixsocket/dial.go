package unixsocket

import (
	"context"
	"net"
)

// Dial connects to the server at a socket that Check accepts.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
