package unixsocket

import (
	"context"
	"net"
)

// Peer is who connected, as the kernel knows it: the effective uid and gid at that time, and all other groups.
type Peer struct {
	UID, GID uint32
	Groups   []uint32
}

// Conn is a connection whose peer is known.
type Conn struct {
	net.Conn
	Peer Peer
}

// CloseWrite serves http.Server, which ends connections so that the last answer arrives.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type peerKey struct{}

// WithPeer keeps the peer of a request's connection.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerOf is the peer that a request came from; false: it came otherwise than by such a socket.
func PeerOf(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}
