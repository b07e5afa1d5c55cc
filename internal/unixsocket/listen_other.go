//go:build !linux

package unixsocket

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
)

// Listener is for Linux alone.
type Listener struct{ net.Listener }

// Listen is for Linux alone: other kernels do not tell the groups of a peer.
func Listen(context.Context, string, fs.FileMode, *slog.Logger) (*Listener, error) {
	return nil, errors.New("a socket for users without a key needs Linux")
}
